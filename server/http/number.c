/* number.c: see number.h. */
#include "http/number.h"

#include <inttypes.h>
#include <string.h>

/* At most 19 digits: always below 2^64. */
enum { DIGITS_MAX = 19 };

qd_code qd_number_read(const char *field, const char *text, uint64_t low, uint64_t high, uint64_t *out, qd_error *err)
{
    uint64_t value = 0;
    if (text == NULL)
        return QD_OK;
    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; i < digits && digits <= DIGITS_MAX; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    if (digits == 0 || digits > DIGITS_MAX || text[digits] != '\0' || value < low || value > high)
        return qd_fail(err, QD_EINVAL, "%s: '%.60s' is not a whole number from %" PRIu64 " to %" PRIu64, field, text,
                       low, high);
    *out = value;
    return QD_OK;
}
