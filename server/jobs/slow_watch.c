/* slow_watch.c: see slow_watch.h. */
#include "jobs/slow_watch.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Short layers may well be held up by the machine. */
static const double times = 3, least_seconds = 10;

void qd_slow_watch_hear(qd_slow_watch *watch, const json_t *progress)
{
    const char *layer = json_string_value(json_object_get(progress, "layer"));
    if (layer == NULL || strlen(layer) >= sizeof watch->layer)
        layer = "";
    if (strcmp(layer, watch->layer) != 0) {
        *watch = (qd_slow_watch){ .since = qd_clock_seconds() };
        snprintf(watch->layer, sizeof watch->layer, "%s", layer);
    }
    watch->expected = json_number_value(json_object_get(progress, "expected"));
}

bool qd_slow_watch_look(qd_slow_watch *watch, char *out, size_t size)
{
    double spent = qd_clock_seconds() - watch->since;
    if (watch->told || watch->layer[0] == '\0' || !(watch->expected > 0) || spent < least_seconds ||
        spent < times * watch->expected)
        return false;
    watch->told = true;
    snprintf(out, size, "layer '%.200s' has taken %.0f seconds so far; those before it let %.1f expect", watch->layer,
             spent, watch->expected);
    return true;
}
