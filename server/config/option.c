/* option.c: see option.h. */
#include "config/option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const qd_option *qd_option_find(const char *name, size_t length)
{
    for (size_t i = 0; qd_option_at(i) != NULL; i++)
        if (strlen(qd_option_at(i)->name) == length && strncmp(qd_option_at(i)->name, name, length) == 0)
            return qd_option_at(i);
    return NULL;
}

enum { NAME_MAX_BYTES = 40 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to add, drop or replace, two neighbours that changed places counting once; `length` <= NAME_MAX_BYTES. */
static size_t distance(const char *name, size_t length, const char *other)
{
    size_t rows[3][NAME_MAX_BYTES + 1], width = strlen(other);
    if (width > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= width; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= length; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (name[i - 1] != other[j - 1]));
            if (i > 1 && j > 1 && name[i - 1] == other[j - 2] && name[i - 2] == other[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return rows[length % 3][width];
}

const qd_option *qd_option_nearest(const char *name, size_t length)
{
    const qd_option *nearest = NULL;
    size_t best = length / 3 + 1; /* farther than a third of its letters is another word */
    if (length > NAME_MAX_BYTES)
        return NULL;
    for (size_t i = 0; qd_option_at(i) != NULL; i++) {
        size_t far = distance(name, length, qd_option_at(i)->name);
        if (far <= best) {
            nearest = qd_option_at(i);
            best = far == 0 ? 0 : far - 1;
        }
    }
    return nearest;
}

void qd_option_environment(const qd_option *option, char out[QD_OPTION_ENVIRONMENT])
{
    snprintf(out, QD_OPTION_ENVIRONMENT, "QUANTD_%s", option->name);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static void add_choices(const qd_option *option, qd_str *out)
{
    for (size_t i = 0; option->choices[i] != NULL; i++)
        qd_str_addf(out, "%s%s", i == 0 ? "" : option->choices[i + 1] == NULL ? " or " : ", ", option->choices[i]);
}

/* The largest unit that divides the number: what an operator would write. */
static void add_quantity(const qd_option *option, uint64_t value, qd_str *out)
{
    static const struct {
        qd_option_kind kind;
        uint64_t factor;
        char suffix;
    } units[] = {
        { QD_OPTION_BYTES, UINT64_C(1) << 40, 'T' },
        { QD_OPTION_BYTES, 1 << 30, 'G' },
        { QD_OPTION_BYTES, 1 << 20, 'M' },
        { QD_OPTION_BYTES, 1 << 10, 'K' },
        { QD_OPTION_DURATION, 24 * 3600, 'd' },
        { QD_OPTION_DURATION, 3600, 'h' },
        { QD_OPTION_DURATION, 60, 'm' },
        { QD_OPTION_DURATION, 1, 's' },
    };
    for (size_t i = 0; i < QD_LENGTH(units); i++)
        if (units[i].kind == option->kind && value >= units[i].factor && value % units[i].factor == 0) {
            qd_str_addf(out, "%" PRIu64 "%c", value / units[i].factor, units[i].suffix);
            return;
        }
    qd_str_addf(out, "%" PRIu64, value);
}

void qd_option_range(const qd_option *option, qd_str *out)
{
    switch (option->kind) {
    case QD_OPTION_NUMBER:
    case QD_OPTION_BYTES:
    case QD_OPTION_DURATION:
        add_quantity(option, option->min, out);
        if (option->max == UINT64_MAX)
            qd_str_add(out, " or more");
        else {
            qd_str_add(out, "..");
            add_quantity(option, option->max, out);
        }
        if (option->kind == QD_OPTION_BYTES)
            qd_str_add(out, " bytes");
        for (const char *c = option->argument; option->kind == QD_OPTION_NUMBER && *c != '\0'; c++)
            qd_str_addf(out, "%s%c", c == option->argument ? " " : "", tolower((unsigned char)*c));
        return;
    case QD_OPTION_CHOICE:
        add_choices(option, out);
        return;
    case QD_OPTION_SWITCH:
        qd_str_add(out, "yes or no");
        return;
    case QD_OPTION_TEXT:
    case QD_OPTION_LIST:
    case QD_OPTION_WORDS:
        return;
    }
}
