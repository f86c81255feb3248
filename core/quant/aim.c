/* aim.c: see aim.h. */
#include "quant/aim.h"

#include <stdlib.h>

#include "base/mem.h"
#include "quant/target.h"

void qd_aim_destroy(qd_weight_target *target)
{
    if (target != NULL)
        qd_weight_target_fini(target);
    free(target);
}

qd_code qd_aim_create(const qd_algorithm *algorithm, const qd_layer_input *input, qd_weight_target **out, qd_error *err)
{
    void *memory = NULL;
    qd_layer_input bare = *input;
    bare.grid = NULL; /* it comes after this */
    *out = NULL;
    if (algorithm->aim == NULL || input->factor == NULL)
        return QD_OK;
    qd_code code = qd_alloc(1, sizeof **out, &memory, err);
    if (code == QD_OK)
        code = algorithm->aim(&bare, memory, err);
    if (code != QD_OK) {
        free(memory);
        return code;
    }
    *out = memory;
    return QD_OK;
}

bool qd_aim_guides(const qd_scale_rule *rule)
{
    return rule->candidate != NULL; /* the rules whose choice depends on importance */
}

qd_code qd_aim_grid(const qd_layer_input *input, const qd_grid_spec *spec, qd_cmatf weights, const double *diagonal,
                    qd_grid *out, qd_error *err)
{
    if (input->target == NULL || !qd_aim_guides(spec->rule))
        return qd_grid_build(spec, weights, diagonal, input->pool, out, err);
    size_t features = weights.cols;
    const uint32_t *column = input->factor->permutation;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf target = { 0 };
    qd_code code = qd_matf_buf_init(&target, weights.rows, features, err);
    for (size_t i = 0; code == QD_OK && i < weights.rows; i++)
        for (size_t t = 0; t < features; t++)
            qd_matf_row(target.view, i)[column[t]] = (float)input->target->rows[i * features + t];
    return code == QD_OK ? qd_grid_build(spec, qd_matf_const(target.view), diagonal, input->pool, out, err) : code;
}
