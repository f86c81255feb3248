/* text.c: see text.h. */
#include "api/text.h"

#include "base/clock.h"
#include "base/str.h"

/* Length of the well-formed UTF-8 sequence at `s`, 0 when there is none (Unicode 15, table 3-7). */
static size_t sequence_length(const unsigned char *s)
{
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 4;
    if (length == 1)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static json_t *print_repaired(const char *text)
{
    QD_AUTO(qd_str_fini) qd_str out = { 0 };
    for (const unsigned char *s = (const unsigned char *)text; *s != 0;) {
        size_t length = sequence_length(s);
        if (length == 0)
            qd_str_add(&out, "\xef\xbf\xbd");
        else
            qd_str_add_bytes(&out, s, length);
        s += length == 0 ? 1 : length;
    }
    return out.failed ? NULL : json_string(qd_str_borrow(&out));
}

json_t *qd_text_print(const char *text)
{
    if (text == NULL)
        return json_null();
    json_t *value = json_string(text);
    return value == NULL ? print_repaired(text) : value;
}

json_t *qd_time_print(int64_t wall_ms)
{
    char text[QD_TIME_TEXT];
    if (wall_ms == 0)
        return json_null();
    qd_clock_format(wall_ms, text);
    return json_string(text);
}
