/* fuzz_tokenizer.c: a hostile tokenizer.json, and a text for the tokenizer it makes. The input is the file, a NUL,
 * the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

enum { FILE_BYTES = 64 << 10, TEXT_BYTES = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_and_decode(const qd_tokenizer *tokenizer, const char *text, size_t length)
{
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    QD_AUTO(qd_str_fini) qd_str back = { 0 };
    if (qd_tokenizer_encode(tokenizer, text, length, QD_SPECIAL_ADD, &ids, &err) != QD_OK)
        return;
    for (size_t i = 0; i < ids.count; i++)
        if (ids.data[i] >= qd_tokenizer_vocabulary(tokenizer))
            abort();
    /* Every id that encode gives is a token, so decode may fail for memory only. */
    qd_code code = qd_tokenizer_decode(tokenizer, ids.data, ids.count, &back, &err);
    if (code == QD_EINVAL || code == QD_EINTERNAL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    qd_tokenizer *tokenizer = NULL;
    const uint8_t *end = memchr(data, 0, size);
    size_t length = end == NULL ? size : (size_t)(end - data);
    if (length > FILE_BYTES || qd_tokenizer_parse((const char *)data, length, &tokenizer, &err) != QD_OK)
        return 0;
    size_t rest = end == NULL ? 0 : size - length - 1;
    rest = rest > TEXT_BYTES ? TEXT_BYTES : rest;
    if (rest > 0)
        encode_and_decode(tokenizer, (const char *)end + 1, rest);
    static const char text[] = "Hello, w\xC3\xB6rld! 12 <s>  \xE2\x96\x81\n";
    encode_and_decode(tokenizer, text, sizeof text - 1);
    qd_tokenizer_destroy(tokenizer);
    return 0;
}
