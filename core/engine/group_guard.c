/* group_guard.c: see group_guard.h. */
#include "engine/group_guard.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quant/drift.h"

void qd_group_guard_fini(qd_group_guard *guard)
{
    free(guard->reach);
    *guard = (qd_group_guard){ 0 };
}

const qd_guard *qd_group_guard_borrow(const qd_group_guard *guard)
{
    return guard->reach == NULL ? NULL : &guard->guard;
}

static void add_reach(qd_cmatf w, double *reach)
{
    for (size_t i = 0; i < w.rows; i++)
        for (size_t j = 0; j < w.cols; j++)
            reach[j] = fmax(reach[j], fabs((double)qd_cmatf_row(w, i)[j]));
}

/* Of the layers of the group; out_most: neurons of the largest; out_room: of the narrowest grid. */
static qd_code reach_of_group(const qd_context *c, size_t first, size_t group, const qd_input_basis *input,
                              double *reach, size_t *out_most, double *out_room, qd_error *err)
{
    size_t count = qd_model_linear_count(c->model);
    qd_code code = QD_OK;
    *out_most = 0;
    *out_room = INFINITY;
    for (size_t at = first, last = 0; code == QD_OK && at < count; at++) {
        size_t own = qd_model_linear_at(c->model, at)->group;
        if (own < last || own > group) /* the next block, or past the group */
            break;
        last = own;
        if (own < group)
            continue;
        QD_AUTO(qd_transformed_fini) qd_transformed t = { 0 };
        QD_AUTO(qd_matf_buf_fini) qd_matf_buf stored = { 0 };
        int32_t low = 0, high = 0;
        qd_grid_spec spec = { 0 };
        code = qd_layer_read(c->model, at, &stored, err);
        qd_cmatf w = qd_matf_const(stored.view);
        if (code == QD_OK)
            code = qd_recipe_layer_spec(c->recipe, qd_model_linear_at(c->model, at), &spec, err);
        if (code == QD_OK)
            code = qd_transform_layer(c->recipe, spec.group_size, input, w, c->pool, &t, err);
        *out_most = qd_max_size(*out_most, w.rows);
        if (code != QD_OK)
            return code;
        qd_grid_range(&spec, &low, &high);
        *out_room = fmin(*out_room, qd_drift_room(low, high, spec.zero));
        add_reach(t.rounded, reach);
    }
    return code;
}

qd_code qd_group_guard_init(const qd_context *c, size_t first, size_t group, const qd_input_basis *input,
                            qd_group_guard *out, qd_error *err)
{
    const qd_recipe *r = c->recipe;
    double room = 0.0;
    size_t most = 0, at = first;
    if (!r->certified || r->algorithm->drift == QD_DRIFT_NONE)
        return QD_OK;
    while (qd_model_linear_at(c->model, at)->group != group)
        at++;
    size_t width = qd_model_linear_at(c->model, at)->in;
    qd_code code = qd_alloc(width, sizeof *out->reach, (void **)&out->reach, err);
    if (code == QD_OK)
        code = reach_of_group(c, first, group, input, out->reach, &most, &room, err);
    if (code != QD_OK) {
        qd_group_guard_fini(out);
        return code;
    }
    out->guard = (qd_guard){
        .drift = r->algorithm->drift, .room = room, .deviation = qd_drift_deviation(width, most), .reach = out->reach
    };
    return QD_OK;
}
