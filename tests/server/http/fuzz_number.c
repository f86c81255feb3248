/* fuzz_number.c: any text as Last-Event-ID, ?after=, ?limit=: refused with a sentence, or a number within its range that says what the text
 * says. */
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(const char *field, const char *text, uint64_t low, uint64_t high)
{
    const uint64_t untouched = 77;
    uint64_t value = untouched;
    char again[32];
    qd_error err = { 0 };
    if (qd_number_read(field, text, low, high, &value, &err) != QD_OK) {
        assert(err.code == QD_EINVAL && strstr(err.text, field) != NULL && value == untouched);
        return;
    }
    assert(value >= low && value <= high);
    snprintf(again, sizeof again, "%" PRIu64, value);
    assert(strcmp(text + strspn(text, "0") - (value == 0 && text[strspn(text, "0")] == '\0'), again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    read_as("Last-Event-ID", text, 0, INT64_MAX);
    read_as("limit", text, 1, 200);
    read_as("after", text, 0, UINT64_MAX);
    free(text);
    return 0;
}
