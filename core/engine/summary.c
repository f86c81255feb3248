/* summary.c: see summary.h. */
#include "engine/summary.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void qd_summary_add(qd_summary *s, const json_t *record)
{
    const json_t *certificate = json_object_get(record, "certificate");
    const char *status = json_string_value(json_object_get(certificate, "status"));
    bool has_data = json_number_value(json_object_get(certificate, "m")) > 0;
    if (has_data && s->measured == 0) /* what was added before is in other units */
        s->error_sq = s->output_sq = 0;
    if (has_data || s->measured == 0) {
        s->error_sq += json_number_value(json_object_get(certificate, "error_sq"));
        s->output_sq += json_number_value(json_object_get(certificate, "output_sq"));
    }
    s->measured += has_data;
    s->layers++;
    s->degraded += json_is_true(json_object_get(record, "degraded"));
    s->certified += status != NULL && (strcmp(status, "CERTIFIED") == 0 || strcmp(status, "CERTIFIED_OVERLOAD") == 0);
}

double qd_summary_relative_error(const qd_summary *s)
{
    return s->output_sq > 0 ? sqrt(fmax(s->error_sq, 0) / s->output_sq) : 0;
}
