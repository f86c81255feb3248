/* text_sizes.c: see text_sizes.h. */
#include "engine/text_sizes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/source.h"

enum { SAMPLE_BYTES = 128 << 10 };

static qd_code size_of(const char *path, uint64_t *out, qd_error *err)
{
    *out = 0;
    return path == NULL ? QD_OK : qd_file_size(path, out, err);
}

/* The first bytes of a text, without a character that is cut. */
static qd_code read_sample(const char *path, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *bytes = NULL;
    QD_AUTO(qd_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    qd_code code = qd_alloc(SAMPLE_BYTES, 1, (void **)&bytes, err);
    if (code != QD_OK)
        return code;
    ssize_t got = read(fd, bytes, SAMPLE_BYTES);
    if (got < 0)
        return qd_fail_errno(err, "read '%s'", path);
    while (got == SAMPLE_BYTES && got > 0 && ((unsigned char)bytes[got - 1] & 0x80) != 0)
        got--;
    qd_str_add_bytes(out, bytes, (size_t)got);
    return qd_str_check(out, err);
}

static qd_code measure_rate(const char *model_dir, const char *path, double *out, qd_error *err)
{
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(qd_str_fini) qd_str sample = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    qd_code code = qd_source_tokenizer(model_dir, &tokenizer, err);
    if (code == QD_OK)
        code = read_sample(path, &sample, err);
    if (code == QD_OK)
        code = qd_tokenizer_encode(tokenizer, qd_str_borrow(&sample), sample.length, QD_SPECIAL_NONE, &ids, err);
    qd_tokenizer_destroy(tokenizer);
    if (code == QD_OK && ids.count > 0)
        *out = (double)sample.length / (double)ids.count;
    return code;
}

qd_code qd_text_sizes_of(const char *model_dir, const char *calibration_text, const char *evaluation_text,
                         qd_text_sizes *out, qd_error *err)
{
    qd_text_sizes sizes = { 0 };
    const char *text = evaluation_text != NULL ? evaluation_text : calibration_text;
    qd_code code = size_of(calibration_text, &sizes.calibration, err);
    if (code == QD_OK)
        code = size_of(evaluation_text, &sizes.evaluation, err);
    if (code == QD_OK && text != NULL)
        code = measure_rate(model_dir, text, &sizes.bytes_per_token, err);
    if (code == QD_OK)
        *out = sizes;
    return code;
}
