/* fuzz_range.c: any text as Range, If-Range and If-None-Match: a part always lies within the file. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t sizes[] = { 0, 1, 100, UINT64_MAX };
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        qd_range range = qd_range_parse(text, sizes[i]);
        if (range.kind == QD_RANGE_PART)
            assert(range.length > 0 && range.first < sizes[i] && range.length <= sizes[i] - range.first);
        if (range.kind == QD_RANGE_WHOLE)
            assert(range.first == 0 && range.length == sizes[i]);
    }
    if (qd_if_range_ok(text, "\"tag\""))
        assert(strcmp(text, "\"tag\"") == 0);
    if (qd_if_none_match(text, "\"tag\""))
        assert(strstr(text, "\"tag\"") != NULL || strchr(text, '*') != NULL);
    free(text);
    return 0;
}
