/* fuzz_documents.c: a hostile text file, as itself and as JSON lines: packed, cut, damaged, or a bomb. Whatever comes out is UTF-8, within the
 * limit, and the same when a sample is all of it. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/documents.h"
#include "text/utf8.h"

enum { LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("documents", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    return fd;
}

/* All documents, each ended by a NUL; their bytes before an error too. */
static qd_code read_all(const uint8_t *data, size_t size, const qd_documents_way *way, qd_str *out)
{
    qd_error err = { 0 };
    qd_documents *documents = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_code code = qd_documents_attach(file_of(data, size), "input", way, &documents, &err);
    for (bool found = true; code == QD_OK && found;) {
        code = qd_documents_next(documents, &text, &found, &err);
        if (code != QD_OK || !found)
            break;
        if (qd_utf8_valid_prefix(qd_str_borrow(&text), text.length) != text.length)
            abort();
        qd_str_add_bytes(out, qd_str_borrow(&text), text.length + 1);
    }
    if (code == QD_OK && qd_documents_bytes(documents) > LIMIT)
        abort();
    if (code == QD_EINTERNAL || (code != QD_OK && err.text[0] == '\0'))
        abort();
    qd_documents_close(documents);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; qd_text_format_name(i) != NULL; i++) {
        qd_documents_way way = { .format = (qd_text_format)i, .renderer = &qd_renderer_plain, .limit = LIMIT };
        QD_AUTO(qd_str_fini) qd_str all = { 0 }, sample = { 0 };
        qd_code code = read_all(data, size, &way, &all);
        way.sample = LIMIT;
        if (read_all(data, size, &way, &sample) != code && code == QD_OK)
            abort();
        if (code == QD_OK && all.length < LIMIT &&
            (all.length != sample.length || (all.length > 0 && memcmp(all.data, sample.data, all.length) != 0)))
            abort();
    }
    return 0;
}
