/* timestamp.c: see timestamp.h. */
#include "base/timestamp.h"

#include <stddef.h>

/* `digits` of them to a number; NULL when there are fewer. */
static const char *read_digits(const char *text, int digits, int *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++, text++) {
        if (*text < '0' || *text > '9')
            return NULL;
        *out = *out * 10 + (*text - '0');
    }
    return text;
}

/* Numbers of so many digits with a separator between. */
static const char *read_parts(const char *text, char separator, const int *digits, int *out, size_t count)
{
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (i > 0 && *text++ != separator)
            return NULL;
        text = read_digits(text, digits[i], &out[i]);
    }
    return text;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the leap day is the last. */
static int64_t days_of(const int date[3])
{
    int64_t year = date[0] - (date[1] <= 2), era = year / 400, of_era = year - era * 400;
    int64_t month = (date[1] + 9) % 12, day = (153 * month + 2) / 5 + date[2] - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;
}

static bool date_ok(const int date[3])
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = date[0] % 4 == 0 && (date[0] % 100 != 0 || date[0] % 400 == 0);
    return date[0] >= 1970 && date[1] >= 1 && date[1] <= 12 && date[2] >= 1 &&
           date[2] <= days[date[1] - 1] + (leap && date[1] == 2);
}

/* Digits after the point, of which three count. */
static const char *read_fraction(const char *text, int *out_ms)
{
    int scale = 100;
    if (*text != '.')
        return text;
    if (*++text < '0' || *text > '9')
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++, scale /= 10)
        *out_ms += (*text - '0') * scale;
    return text;
}

/* "Z" or "+hh:mm", to the end of the text. */
static bool read_offset(const char *text, int64_t *out_minutes)
{
    static const int digits[] = { 2, 2 };
    int parts[2];
    if ((*text == 'Z' || *text == 'z') && text[1] == '\0')
        return true;
    if (*text != '+' && *text != '-')
        return false;
    const char *end = read_parts(text + 1, ':', digits, parts, 2);
    if (end == NULL || *end != '\0' || parts[0] > 23 || parts[1] > 59)
        return false;
    *out_minutes = (*text == '-' ? -1 : 1) * (parts[0] * 60 + parts[1]);
    return true;
}

bool qd_timestamp_parse(const char *text, int64_t *out_wall_ms)
{
    static const int date_digits[] = { 4, 2, 2 }, time_digits[] = { 2, 2, 2 };
    int date[3], time[3] = { 0 }, ms = 0;
    int64_t offset = 0;
    text = read_parts(text, '-', date_digits, date, 3);
    if (text == NULL || !date_ok(date))
        return false;
    if (*text != '\0') {
        if (*text != 'T' && *text != 't' && *text != ' ')
            return false;
        text = read_parts(text + 1, ':', time_digits, time, 3);
        text = text == NULL ? NULL : read_fraction(text, &ms);
        if (text == NULL || !read_offset(text, &offset) || time[0] > 23 || time[1] > 59 || time[2] > 60)
            return false;
    }
    int64_t minutes = days_of(date) * 1440 + time[0] * 60 + time[1] - offset;
    int64_t found = (minutes * 60 + time[2]) * 1000 + ms;
    if (found >= 0)
        *out_wall_ms = found;
    return found >= 0;
}
