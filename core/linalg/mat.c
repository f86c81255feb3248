/* mat.c: see mat.h. */
#include "linalg/mat.h"

#include <stdlib.h>

#include "base/mem.h"

static qd_code allocate(size_t rows, size_t cols, size_t size, void **out, qd_error *err)
{
    size_t count;
    if (!qd_mul_size(rows, cols, &count))
        return qd_fail(err, QD_ENOMEM, "matrix of %zu x %zu overflows", rows, cols);
    qd_code code = qd_alloc(count, size, out, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "matrix of %zu x %zu", rows, cols);
}

qd_code qd_matf_buf_init(qd_matf_buf *buf, size_t rows, size_t cols, qd_error *err)
{
    void *data = NULL;
    qd_code code = allocate(rows, cols, sizeof(float), &data, err);
    if (code == QD_OK)
        buf->view = qd_matf_view(data, rows, cols);
    return code;
}

void qd_matf_buf_fini(qd_matf_buf *buf)
{
    free(buf->view.data);
    *buf = (qd_matf_buf){ 0 };
}

qd_code qd_matd_buf_init_in(qd_matd_buf *buf, size_t rows, size_t cols, const char *folder, qd_error *err)
{
    size_t count, bytes;
    if (folder == NULL)
        return qd_matd_buf_init(buf, rows, cols, err);
    if (!qd_mul_size(rows, cols, &count) || !qd_mul_size(count, sizeof(double), &bytes))
        return qd_fail(err, QD_ENOMEM, "matrix of %zu x %zu overflows", rows, cols);
    qd_code code = qd_scratch_file_init(&buf->file, folder, bytes, "a matrix", err);
    if (code == QD_OK && bytes > 0)
        buf->view = (qd_matd){ rows, cols, cols, buf->file.data };
    else
        qd_scratch_file_fini(&buf->file);
    return code == QD_OK && bytes == 0 ? qd_matd_buf_init(buf, rows, cols, err) : code;
}

void qd_matd_buf_release(const qd_matd_buf *buf)
{
    qd_pages_release(buf->file.data, buf->file.size);
}

void qd_matd_buf_release_rows(const qd_matd_buf *buf, size_t first, size_t count)
{
    if (buf->file.data != NULL)
        qd_pages_release(qd_matd_row(buf->view, first), count * buf->view.ld * sizeof(double));
}

qd_code qd_matd_buf_init(qd_matd_buf *buf, size_t rows, size_t cols, qd_error *err)
{
    void *data = NULL;
    qd_code code = allocate(rows, cols, sizeof(double), &data, err);
    if (code == QD_OK)
        *buf = (qd_matd_buf){ .view = { rows, cols, cols, data } };
    return code;
}

void qd_matd_buf_fini(qd_matd_buf *buf)
{
    if (buf->file.data == NULL)
        free(buf->view.data);
    qd_scratch_file_fini(&buf->file);
    *buf = (qd_matd_buf){ 0 };
}
