/* checkpoint.c: see checkpoint.h. */
#include "engine/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { RECORD_DEPTH = 8, PARTS = 5 /* of a grid */ };

void qd_checkpoint_fini(qd_checkpoint *checkpoint)
{
    qd_grid_fini(&checkpoint->grid);
    free(checkpoint->codes);
    json_decref(checkpoint->record);
    *checkpoint = (qd_checkpoint){ 0 };
}

qd_code qd_checkpoint_next_key(const char *previous, const char *layer_name, char *out_key, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_str_addf(&text, "%s\n%s\n", previous, layer_name);
    qd_code code = qd_str_check(&text, err);
    return code == QD_OK ? qd_sha256(text.data, text.length, out_key, err) : code;
}

/* Of everything the file says: a flipped bit makes the layer be made again. */
static qd_code digest_of(const char *record, const uint8_t *codes, const qd_grid *grid, size_t out, size_t in,
                         char *hex, qd_error *err)
{
    QD_AUTO(qd_digest_fini) qd_digest digest = { 0 };
    const char *name;
    const qd_matf_buf *part;
    qd_code code = qd_digest_init(&digest, QD_SHA256, err);
    if (code == QD_OK)
        code = qd_digest_add(&digest, record, strlen(record), err);
    if (code == QD_OK)
        code = qd_digest_add(&digest, codes, out * in, err);
    for (size_t i = 0; code == QD_OK && (part = qd_grid_part(grid, i, &name)) != NULL; i++)
        code = qd_digest_add(&digest, part->view.data, part->view.rows * part->view.cols * sizeof(float), err);
    if (code == QD_OK)
        qd_digest_hex(&digest, hex);
    return code;
}

static qd_code path_of(const char *work_dir, size_t index, qd_str *out, qd_error *err)
{
    qd_str_addf(out, "%s/layers/%05zu.safetensors", work_dir, index);
    return qd_str_check(out, err);
}

qd_code qd_checkpoint_write(const char *work_dir, size_t index, const char *key, const qd_linear *linear,
                            const qd_checkpoint *c, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    QD_AUTO(qd_free_pointer) char *record = qd_json_print(c->record);
    qd_code code = record == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : path_of(work_dir, index, &path, err);
    if (code == QD_OK)
        code = digest_of(record, c->codes, &c->grid, linear->out, linear->in, digest, err);
    if (code != QD_OK)
        return code;
    qd_tensor_out tensors[1 + PARTS] = {
        { "codes", qd_dtype_find("U8"), 2, { linear->out, linear->in }, c->codes },
    };
    size_t count = 1;
    const char *name;
    const qd_matf_buf *part;
    for (size_t i = 0; (part = qd_grid_part(&c->grid, i, &name)) != NULL; i++)
        if (part->view.rows > 0)
            tensors[count++] =
                (qd_tensor_out){ name, qd_dtype_find("F32"), 2, { part->view.rows, part->view.cols }, part->view.data };
    const char *const keys[] = { "digest", "key", "record" }, *const values[] = { digest, key, record };
    return qd_safetensors_write(path.data, tensors, count, keys, values, QD_LENGTH(keys), err);
}

static qd_code read_grid(const qd_safetensors *file, const qd_linear *linear, const qd_grid_spec *spec, qd_grid *grid,
                         qd_error *err)
{
    const char *name;
    const qd_matf_buf *part;
    qd_grid_shape(spec, linear->in, grid);
    qd_code code = qd_grid_allocate(spec->scale_type, linear->out, grid, err);
    for (size_t i = 0; code == QD_OK && (part = qd_grid_part(grid, i, &name)) != NULL; i++) {
        const qd_tensor *t = qd_safetensors_find(file, name);
        if ((t != NULL) != (part->view.rows > 0) ||
            (t != NULL && (t->rank != 2 || t->shape[0] != part->view.rows || t->shape[1] != part->view.cols ||
                           strcmp(t->dtype->name, "F32") != 0)))
            return qd_fail(err, QD_ENOTFOUND, "checkpoint without a fitting '%s'", name);
        if (t != NULL)
            code = qd_tensor_to_floats(t, part->view.data, err);
    }
    return code;
}

static qd_code read_codes(const qd_safetensors *file, const qd_linear *linear, const qd_grid *grid, uint8_t **out,
                          qd_error *err)
{
    const qd_tensor *t = qd_safetensors_find(file, "codes");
    if (t == NULL || t->bytes != linear->out * linear->in || strcmp(t->dtype->name, "U8") != 0)
        return qd_fail(err, QD_ENOTFOUND, "checkpoint without fitting 'codes'");
    for (size_t i = 0; i < t->bytes; i++)
        if (t->data[i] > grid->high - grid->low)
            return qd_fail(err, QD_ENOTFOUND, "checkpoint with a code beyond its grid");
    qd_code code = qd_alloc(t->bytes, 1, (void **)out, err);
    if (code == QD_OK)
        memcpy(*out, t->data, t->bytes);
    return code;
}

static qd_code read_file(const qd_safetensors *file, const char *key, const qd_linear *linear, const qd_grid_spec *spec,
                         qd_checkpoint *c, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    const char *found = qd_safetensors_metadata(file, "key"), *record = qd_safetensors_metadata(file, "record"),
               *wanted = qd_safetensors_metadata(file, "digest");
    if (found == NULL || record == NULL || wanted == NULL || strcmp(found, key) != 0)
        return qd_fail(err, QD_ENOTFOUND, "checkpoint of another job");
    qd_code code = qd_json_parse_object(record, strlen(record), RECORD_DEPTH, &c->record, err);
    if (code == QD_OK)
        code = read_grid(file, linear, spec, &c->grid, err);
    if (code == QD_OK)
        code = read_codes(file, linear, &c->grid, &c->codes, err);
    if (code == QD_OK)
        code = digest_of(record, c->codes, &c->grid, linear->out, linear->in, digest, err);
    if (code == QD_OK && strcmp(digest, wanted) != 0)
        code = qd_fail(err, QD_ENOTFOUND, "checkpoint with other bytes than were written");
    return code;
}

qd_code qd_checkpoint_read(const char *work_dir, size_t index, const char *key, const qd_linear *linear,
                           const qd_grid_spec *spec, qd_checkpoint *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    qd_safetensors *file = NULL;
    qd_checkpoint c = { 0 };
    qd_code code = path_of(work_dir, index, &path, err);
    if (code == QD_OK)
        code = qd_safetensors_open(path.data, &file, err);
    if (code == QD_OK)
        code = read_file(file, key, linear, spec, &c, err);
    qd_safetensors_destroy(file);
    if (code != QD_OK) {
        qd_checkpoint_fini(&c);
        return code == QD_ENOMEM ? code : qd_within(err, QD_ENOTFOUND, "layer %zu", index);
    }
    *out = c;
    return QD_OK;
}
