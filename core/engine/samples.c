/* samples.c: see samples.h. */
#include "engine/samples.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "generate/generate.h"
#include "model/safetensors.h"

/* Part of the key: raised when the same request would give other tokens. */
static const char version[] = "quantd-samples-1";
/* Why these: QUALITY.md, "Calibration without a text". */
static const qd_draw_rule rule = { .temperature = 1, .top_k = 0, .top_p = 1 };
static const qd_opening opening = QD_OPEN_PREDICTED;

static const char *const stream_names[] = {
    [QD_SAMPLES_CALIBRATION] = "calibration", [QD_SAMPLES_EVALUATION] = "evaluation"
};
static const char *const opening_names[] = { [QD_OPEN_PREDICTED] = "predicted", [QD_OPEN_PIECES] = "pieces" };

static json_t *print(const qd_context *c, qd_samples_use use, int64_t bos)
{
    return json_pack("{s:I, s:s, s:f, s:I, s:f, s:s}", "seed", (json_int_t)c->recipe->seed, "stream", stream_names[use],
                     "temperature", rule.temperature, "top_k", (json_int_t)rule.top_k, "top_p", rule.top_p, "opening",
                     opening_names[bos < 0 ? QD_OPEN_PIECES : opening]);
}

json_t *qd_samples_print(const qd_context *c, qd_samples_use use)
{
    bool calibration = use == QD_SAMPLES_CALIBRATION;
    if ((calibration ? c->calibration_origin : c->evaluation_origin) != QD_FROM_MODEL)
        return json_null();
    return print(c, use, !calibration ? qd_evaluation_bos(c) : c->recipe->calibration_bos ? c->bos : -1);
}

static qd_code make_key(const qd_context *c, qd_samples_use use, const qd_generation *r, char *out, qd_error *err)
{
    QD_AUTO(qd_json_fini)
    json_t *all = json_pack("{s:s, s:O, s:o, s:I, s:I, s:I}", "version", version, "files", c->model_files, "samples",
                            print(c, use, r->bos), "count", (json_int_t)r->count, "length", (json_int_t)r->length,
                            "bos", (json_int_t)r->bos);
    QD_AUTO(qd_free_pointer) char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    return text == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256(text, strlen(text), out, err);
}

static qd_code path_of(const qd_context *c, qd_samples_use use, qd_str *out, qd_error *err)
{
    qd_str_addf(out, "%s/samples-%s.safetensors", c->paths->work_dir, stream_names[use]);
    return qd_str_check(out, err);
}

static qd_code keep(const char *path, const char *key, const qd_windows *w, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    const qd_tensor_out tensor = { "ids", qd_dtype_find("U32"), 2, { w->count, w->length }, w->ids };
    qd_code code = qd_windows_digest(w, digest, err);
    const char *const keys[] = { "digest", "key" }, *const values[] = { digest, key };
    return code == QD_OK ? qd_safetensors_write(path, &tensor, 1, keys, values, QD_LENGTH(keys), err) : code;
}

/* QD_ENOTFOUND: not there, or not what was written for this key. */
static qd_code read_kept(const qd_safetensors *file, const char *key, const qd_windows *w, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    const char *found = qd_safetensors_metadata(file, "key"), *wanted = qd_safetensors_metadata(file, "digest");
    const qd_tensor *ids = qd_safetensors_find(file, "ids");
    if (found == NULL || wanted == NULL || ids == NULL || strcmp(found, key) != 0 ||
        strcmp(ids->dtype->name, "U32") != 0 || ids->bytes != w->count * w->length * sizeof *w->ids)
        return qd_fail(err, QD_ENOTFOUND, "samples of another job");
    memcpy(w->ids, ids->data, ids->bytes);
    qd_code code = qd_windows_digest(w, digest, err);
    if (code == QD_OK && strcmp(digest, wanted) != 0)
        return qd_fail(err, QD_ENOTFOUND, "samples with other bytes than were written");
    return code;
}

/* true: the windows are filled. */
static bool find_kept(const char *path, const char *key, const qd_windows *w)
{
    qd_error why = { 0 };
    qd_safetensors *file = NULL;
    qd_code code = qd_safetensors_open(path, &file, &why);
    if (code == QD_OK)
        code = read_kept(file, key, w, &why);
    qd_safetensors_destroy(file);
    return code == QD_OK;
}

static qd_code sample(const qd_context *c, const qd_generation *request, const qd_windows *w, qd_error *err)
{
    qd_meter meter;
    const qd_progress progress = qd_meter_progress(&meter);
    qd_meter_start(&meter, c->sink, "quantizing", "tokens", request->count * request->length);
    return qd_generate(c->model, request, c->pool, &progress, c->cancel, w->ids, err);
}

static qd_code fill(const qd_context *c, qd_samples_use use, const qd_generation *request, const qd_windows *w,
                    qd_error *err)
{
    char key[QD_DIGEST_HEX];
    QD_AUTO(qd_str_fini) qd_str path = { 0 };
    qd_code code = path_of(c, use, &path, err);
    if (code == QD_OK)
        code = make_key(c, use, request, key, err);
    if (code != QD_OK || find_kept(path.data, key, w))
        return code;
    code = sample(c, request, w, err);
    return code == QD_OK ? keep(path.data, key, w, err) : code;
}

qd_code qd_samples_make(const qd_context *c, qd_samples_use use, size_t count, size_t length, int64_t bos,
                        qd_windows *out, qd_error *err)
{
    QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
    const qd_generation request = { .count = count,
                                    .length = length,
                                    .seed = c->recipe->seed,
                                    .stream = use,
                                    .bos = bos,
                                    .opening = opening,
                                    .rule = rule };
    qd_code code = qd_windows_init(&w, count, length, err);
    if (code == QD_OK)
        code = fill(c, use, &request, &w, err);
    if (code != QD_OK)
        return code == QD_ECANCELLED ? code : qd_within(err, code, "sampling from the source model");
    w.tokens_available = w.tokens_used = count * (length - (bos >= 0 ? 1 : 0));
    *out = w;
    w = (qd_windows){ 0 };
    return QD_OK;
}
