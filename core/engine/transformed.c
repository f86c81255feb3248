/* transformed.c: see transformed.h. */
#include "engine/transformed.h"

#include <math.h>

#include "base/rng.h"
#include "engine/recipe_transforms.h"
#include "engine/records.h"
#include "model/arch.h"

/* First layer with the same input: what random numbers of an input are keyed by. */
static size_t first_of_input(const qd_model *model, size_t index)
{
    size_t block = 0, first = index;
    while (qd_model_block_first(model, block) + qd_model_block_size(model, block) <= index)
        block++;
    size_t group = qd_model_linear_at(model, index)->group;
    while (first > qd_model_block_first(model, block) && qd_model_linear_at(model, first - 1)->group == group)
        first--;
    return first;
}

qd_code qd_basis_create(const qd_recipe *recipe, const qd_model *model, size_t index, qd_hadamard **out, qd_error *err)
{
    static const uint64_t signs = 0x5349474E53; /* "SIGNS": apart from the keys of rounding */
    const qd_transform_use *use = qd_transforms_turning(&recipe->transforms);
    *out = NULL;
    if (use == NULL)
        return QD_OK;
    return use->row->turn(use->values, qd_model_linear_at(model, index)->in,
                          qd_rng_key(recipe->seed, first_of_input(model, index), signs), out, err);
}

qd_code qd_layer_weights(const qd_recipe *recipe, const qd_model *model, size_t index, const qd_grid *grid,
                         const uint8_t *codes, qd_pool *pool, qd_matf out, qd_error *err)
{
    qd_hadamard *basis = NULL;
    qd_grid_dequantize(grid, codes, out);
    qd_code code = qd_basis_create(recipe, model, index, &basis, err);
    if (code == QD_OK && basis != NULL)
        code = qd_hadamard_weights(basis, QD_TURN_BACK, qd_matf_const(out), out, pool, err);
    qd_hadamard_destroy(basis);
    return code;
}

qd_code qd_layer_read(const qd_model *model, size_t index, qd_matf_buf *out, qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(model, index);
    qd_code code = qd_matf_buf_init(out, linear->out, linear->in, err);
    return code == QD_OK ? qd_linear_read(model, index, NULL, out->view, err) : code;
}

bool qd_transforms_move_target(const qd_transforms *transforms, const qd_algorithm *algorithm)
{
    const qd_transform_use *shaping = qd_transforms_shaping(transforms);
    return shaping != NULL && algorithm->needs != QD_NEEDS_MISMATCH && !shaping->row->keeps_target(shaping->values);
}

void qd_input_basis_fini(qd_input_basis *input)
{
    qd_hadamard_destroy(input->basis);
    qd_matd_buf_fini(&input->reference);
    *input = (qd_input_basis){ 0 };
}

qd_code qd_input_basis_settle(const qd_recipe *recipe, qd_input_basis *input, qd_pool *pool, qd_error *err)
{
    for (size_t i = 0; i < recipe->transforms.count; i++) {
        if (recipe->transforms.items[i].row->shape != NULL)
            return QD_OK;
        if (recipe->transforms.items[i].row->turn != NULL)
            return qd_hadamard_gram(input->basis, input->reference.view, pool, err);
    }
    return QD_OK;
}

void qd_transformed_fini(qd_transformed *transformed)
{
    qd_matf_buf_fini(&transformed->turned);
    qd_matf_buf_fini(&transformed->shaped);
    json_decref(transformed->record);
    *transformed = (qd_transformed){ 0 };
}

/* Both views turn; a shaped one in place. */
static qd_code turn(const qd_hadamard *basis, qd_pool *pool, qd_transformed *t, json_t *record, qd_error *err)
{
    bool apart = t->shaped.view.rows > 0;
    qd_code code = qd_matf_buf_init(&t->turned, t->w.rows, t->w.cols, err);
    if (code == QD_OK)
        code = qd_hadamard_weights(basis, QD_TURN, t->w, t->turned.view, pool, err);
    if (code == QD_OK && apart)
        code = qd_hadamard_weights(basis, QD_TURN, t->v, t->shaped.view, pool, err);
    t->w = qd_matf_const(t->turned.view);
    t->v = apart ? t->v : t->w;
    json_object_set_new(record, "order", json_integer((json_int_t)basis->order));
    json_object_set_new(record, "run", json_integer((json_int_t)basis->run));
    json_object_set_new(record, "mixed", json_boolean(basis->mix.view.rows > 0 || basis->order == 1));
    return code;
}

static double over(double a, double b)
{
    return b > 0.0 ? a / b : 0.0;
}

static qd_code shape(const qd_transform_use *use, size_t group_size, qd_cmatd reference, qd_pool *pool,
                     qd_transformed *t, json_t *record, qd_error *err)
{
    qd_magr_report report = { 0 };
    qd_code code = qd_matf_buf_init(&t->shaped, t->w.rows, t->w.cols, err);
    if (code == QD_OK)
        code = use->row->shape(use->values, group_size, t->w, reference, pool, t->shaped.view, &report, err);
    t->v = qd_matf_const(t->shaped.view);
    json_object_set_new(record, "relative_change",
                        qd_number_print(sqrt(fmax(0.0, over(report.change_sq, report.output_sq)))));
    json_object_set_new(record, "range_ratio", qd_number_print(over(report.range_after, report.range_before)));
    return code;
}

qd_code qd_transform_layer(const qd_recipe *recipe, size_t group_size, const qd_input_basis *input, qd_cmatf w,
                           qd_pool *pool, qd_transformed *out, qd_error *err)
{
    qd_transformed t = { .w = w, .v = w, .record = qd_transforms_print(&recipe->transforms) };
    qd_code code = t.record == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : QD_OK;
    bool aims_at_v = false;
    for (size_t i = 0; code == QD_OK && i < recipe->transforms.count; i++) {
        const qd_transform_use *use = &recipe->transforms.items[i];
        json_t *record = json_array_get(t.record, i);
        if (use->row->turn != NULL)
            code = turn(input->basis, pool, &t, record, err);
        else if (input->reference.view.rows > 0) {
            code = shape(use, group_size, qd_matd_const(input->reference.view), pool, &t, record, err);
            aims_at_v = qd_transforms_move_target(&recipe->transforms, recipe->algorithm);
            json_object_set_new(record, "rounded", json_boolean(aims_at_v));
        }
    }
    t.rounded = aims_at_v ? t.v : t.w;
    if (code != QD_OK) {
        qd_transformed_fini(&t);
        return code;
    }
    *out = t;
    return QD_OK;
}
