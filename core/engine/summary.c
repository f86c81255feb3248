/* summary.c: see summary.h. */
#include "engine/summary.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* An expert's layers come one after the other, and all say the same of it. */
static void add_expert(qd_summary *s, const json_t *routing)
{
    int64_t block = json_integer_value(json_object_get(routing, "block")),
            expert = json_integer_value(json_object_get(routing, "expert"));
    size_t tokens = (size_t)json_integer_value(json_object_get(routing, "tokens"));
    if (!json_is_object(routing) || (s->experts > 0 && s->last[0] == block && s->last[1] == expert))
        return;
    s->last[0] = block;
    s->last[1] = expert;
    s->fewest = s->experts == 0 || tokens < s->fewest ? tokens : s->fewest;
    s->experts++;
    s->starved += json_is_true(json_object_get(routing, "starved"));
}

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
    add_expert(s, json_object_get(record, "routing"));
    s->degraded += json_is_true(json_object_get(record, "degraded"));
    s->certified += status != NULL && (strcmp(status, "CERTIFIED") == 0 || strcmp(status, "CERTIFIED_OVERLOAD") == 0);
}

double qd_summary_relative_error(const qd_summary *s)
{
    return s->output_sq > 0 ? sqrt(fmax(s->error_sq, 0) / s->output_sq) : 0;
}

json_t *qd_summary_experts(const qd_summary *s)
{
    if (s->experts == 0)
        return json_null();
    return json_pack("{s:I, s:I, s:I}", "count", (json_int_t)s->experts, "starved", (json_int_t)s->starved,
                     "fewest_tokens", (json_int_t)s->fewest);
}
