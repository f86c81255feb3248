/* safetensors_write.c: the writer: see safetensors.h; order and padding as formats.md §1.3. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/safetensors.h"

/* Whole bytes that fit in size_t, so that byte_count is right. */
static qd_code check_size(const qd_tensor_out *t, qd_error *err)
{
    uint64_t bits = t->dtype->bits;
    bool fits = t->rank <= QD_TENSOR_MAX_RANK;
    for (size_t i = 0; fits && i < t->rank; i++)
        fits = !__builtin_mul_overflow(bits, t->shape[i], &bits);
    if (!fits || bits % 8 != 0)
        return qd_fail(err, QD_ESHAPE, "safetensors: tensor '%s': its shape makes no whole number of bytes", t->name);
    return QD_OK;
}

static size_t byte_count(const qd_tensor_out *t)
{
    size_t elements = 1;
    for (size_t i = 0; i < t->rank; i++)
        elements *= (size_t)t->shape[i];
    return elements * t->dtype->bits / 8;
}

/* Widest dtype first (the table's order), then by name. dtype rows are one array: their addresses are their order. */
static int by_width_then_name(const void *a, const void *b)
{
    const qd_tensor_out *x = *(const qd_tensor_out *const *)a, *y = *(const qd_tensor_out *const *)b;
    if (x->dtype->bits != y->dtype->bits)
        return x->dtype->bits > y->dtype->bits ? -1 : 1;
    if (x->dtype != y->dtype)
        return x->dtype < y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static json_t *entry_of(const qd_tensor_out *t, size_t begin)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype->name, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + byte_count(t)));
}

static qd_code build_header(const qd_tensor_out *const *sorted, size_t count, const char *const *keys,
                            const char *const *values, size_t pairs, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *header = json_object();
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    int failed = header == NULL || metadata == NULL;
    for (size_t i = 0; i < pairs; i++)
        failed |= json_object_set_new(metadata, keys[i], json_string(values[i]));
    failed |= json_object_set_new(header, "__metadata__", metadata);
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        /* A second entry would replace the first in the header while both lie in the data. */
        if (json_object_get(header, sorted[i]->name) != NULL)
            return qd_fail(err, QD_EINVAL, "safetensors: two tensors are called '%s'", sorted[i]->name);
        failed |= json_object_set_new(header, sorted[i]->name, entry_of(sorted[i], offset));
        offset += byte_count(sorted[i]);
    }
    QD_AUTO(qd_free_pointer) char *text = failed ? NULL : qd_json_print(header);
    if (text == NULL)
        return qd_fail(err, QD_ENOMEM, "safetensors header: out of memory, or a name that is not UTF-8");
    uint64_t length = (strlen(text) + 7) / 8 * 8;
    if (length > QD_HEADER_LIMIT)
        return qd_fail(err, QD_ETOOBIG, "safetensors: a header of %llu bytes, the limit is %d",
                       (unsigned long long)length, QD_HEADER_LIMIT);
    qd_str_add_bytes(out, &length, sizeof length);
    qd_str_add(out, text);
    while ((out->length & 7) != 0 && !out->failed)
        qd_str_add(out, " ");
    return qd_str_check(out, err);
}

static qd_code write_stream(const char *path, const qd_str *header, const qd_tensor_out *const *sorted, size_t count,
                            qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || QD_FAULT_FAILS("tensors.created"))
        return qd_fail_errno(err, "create '%s'", path);
    qd_code code = qd_write_all(fd, header->data, header->length, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_write_all(fd, sorted[i]->data, byte_count(sorted[i]), err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    return !QD_FAULT_FAILS("tensors.sync") && fsync(fd) == 0 ? QD_OK : qd_fail_errno(err, "fsync '%s'", path);
}

qd_code qd_safetensors_write(const char *path, const qd_tensor_out *tensors, size_t count, const char *const *keys,
                             const char *const *values, size_t pairs, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str header = { 0 }, temporary = { 0 };
    QD_AUTO(qd_free_pointer) const qd_tensor_out **sorted = NULL;
    qd_code code = qd_alloc(count, sizeof *sorted, (void **)&sorted, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &tensors[i];
    if (count > 1)
        qsort(sorted, count, sizeof *sorted, by_width_then_name);
    qd_str_addf(&temporary, "%s.tmp.%ld", path, (long)getpid());
    code = qd_str_check(&temporary, err);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = check_size(&tensors[i], err);
    if (code == QD_OK)
        code = build_header(sorted, count, keys, values, pairs, &header, err);
    if (code == QD_OK)
        code = write_stream(temporary.data, &header, sorted, count, err);
    if (code == QD_OK)
        code = qd_file_rename(temporary.data, path, err);
    if (code != QD_OK && temporary.data != NULL)
        unlink(temporary.data);
    return code;
}
