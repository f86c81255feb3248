/* fuzz_target.c: any bytes as a request target: a decoded path begins with '/', holds no control character, and every
 * part is within bounds. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const char *part)
{
    for (const char *c = part; *c != '\0'; c++)
        assert((unsigned char)*c >= 0x20 && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_error err;
    qd_target target = { 0 };
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (qd_target_parse(text, &target, &err) == QD_OK) {
        assert(target.path[0] == '/');
        assert(strlen(target.path) <= strlen(text));
        check_part(target.path);
        for (size_t i = 0; i < target.parameter_count; i++) {
            check_part(target.parameters[i].name);
            check_part(target.parameters[i].value);
        }
    }
    qd_target_fini(&target);
    free(text);
    return 0;
}
