/* evaluation_json.c: see evaluation_json.h. */
#include "engine/evaluation_json.h"

#include <math.h>

json_t *qd_number_print(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *qd_window_mean_print(const qd_window_mean *m)
{
    return json_pack("{s:o, s:o}", "mean", qd_number_print(m->mean), "standard_error",
                     qd_number_print(m->standard_error));
}

json_t *qd_divergence_print(const qd_divergence *d)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean", qd_number_print(d->mean), "standard_error",
                     qd_number_print(d->standard_error), "median", qd_number_print(d->median), "p99",
                     qd_number_print(d->percentile_99), "max", qd_number_print(d->max), "same_top",
                     qd_number_print(d->same_top), "same_top_error", qd_number_print(d->same_top_error));
}

json_t *qd_protocol_print(const qd_protocol_use *use, const qd_window_cut *cut, const qd_windows *windows)
{
    size_t side_by_side = cut->length - (cut->policy == QD_BOS_INSERTED ? 1 : 0);
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "protocol", use->row->name, "length", (json_int_t)cut->length,
                     "stride", (json_int_t)(cut->stride == 0 ? side_by_side : cut->stride), "context",
                     (json_int_t)qd_windows_from(windows, 0), "bos", qd_bos_policy_name(cut->policy), "split",
                     qd_split_name(use->split));
}
