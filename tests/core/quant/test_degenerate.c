/* test_degenerate.c: inputs and weights at the edge of what there is: a defined result for every algorithm, rounding, order and regularizer. */
#include "layer.h"

#include "quant/guarantee.h"

enum { ROWS = 5, COLUMNS = 12, TOKENS = 40, HELD = 8 };

typedef struct edge {
    const char *name;
    size_t rows, columns, tokens;
    void (*spoil)(qd_matf w, qd_matf x);
    enum { ROUNDED, REFUSED } end; /* REFUSED: as numbers that float32 cannot hold, by the statistics */
} edge;

static void keep(qd_matf w, qd_matf x)
{
    (void)w;
    (void)x;
}

static void zero_some_columns(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t t = 0; t < x.rows; t++)
        qd_matf_row(x, t)[0] = qd_matf_row(x, t)[7] = qd_matf_row(x, t)[11] = 0.0f;
}

static void zero_inputs(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t i = 0; i < x.rows * x.cols; i++)
        x.data[i] = 0.0f;
}

static void equal_features(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t i = 0; i < x.rows * x.cols; i++)
        x.data[i] = 0.7f;
}

static void equal_tokens(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t t = 1; t < x.rows; t++)
        memcpy(qd_matf_row(x, t), qd_matf_row(x, 0), x.cols * sizeof(float));
}

static void duplicate_columns(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t t = 0; t < x.rows; t++)
        for (size_t j = 1; j < x.cols; j += 2)
            qd_matf_row(x, t)[j] = qd_matf_row(x, t)[j - 1];
}

static void one_direction(qd_matf w, qd_matf x)
{
    (void)w;
    for (size_t t = 0; t < x.rows; t++)
        for (size_t j = 1; j < x.cols; j++)
            qd_matf_row(x, t)[j] = qd_matf_row(x, t)[0] * (float)(j % 3 == 0 ? -2.0 : 1.0 + (double)j);
}

static void zero_rows(qd_matf w, qd_matf x)
{
    (void)x;
    memset(qd_matf_row(w, 0), 0, w.cols * sizeof(float));
    memset(qd_matf_row(w, 3), 0, w.cols * sizeof(float));
}

static void zero_weights(qd_matf w, qd_matf x)
{
    (void)x;
    for (size_t i = 0; i < w.rows * w.cols; i++)
        w.data[i] = 0.0f;
}

static void equal_weights(qd_matf w, qd_matf x)
{
    (void)x;
    for (size_t i = 0; i < w.rows * w.cols; i++)
        w.data[i] = -3.0f;
}

static void scale_both(qd_matf w, qd_matf x, float of_w, float of_x)
{
    for (size_t i = 0; i < w.rows * w.cols; i++)
        w.data[i] *= of_w;
    for (size_t i = 0; i < x.rows * x.cols; i++)
        x.data[i] *= of_x;
}

static void huge_weights(qd_matf w, qd_matf x)
{
    scale_both(w, x, 1e30f, 1.0f);
}

static void tiny_weights(qd_matf w, qd_matf x)
{
    scale_both(w, x, 1e-30f, 1.0f);
}

static void large_inputs(qd_matf w, qd_matf x)
{
    scale_both(w, x, 1.0f, 1e15f);
}

static void huge_inputs(qd_matf w, qd_matf x)
{
    scale_both(w, x, 1.0f, 1e30f);
}

static void tiny_inputs(qd_matf w, qd_matf x)
{
    scale_both(w, x, 1.0f, 1e-30f);
}

static void rows_of_every_size(qd_matf w, qd_matf x)
{
    (void)x;
    for (size_t i = 0; i < w.rows; i++)
        for (size_t j = 0; j < w.cols; j++)
            qd_matf_row(w, i)[j] *= (float)pow(10.0, 12.0 * (double)i - 24.0);
}

static void one_outlier(qd_matf w, qd_matf x)
{
    qd_matf_row(w, 1)[4] = 1e6f;
    qd_matf_row(x, 3)[2] = -1e6f;
}

static const edge edges[] = {
    { "nothing special", ROWS, COLUMNS, TOKENS, keep, ROUNDED },
    { "one row", 1, COLUMNS, TOKENS, keep, ROUNDED },
    { "one column", ROWS, 1, TOKENS, keep, ROUNDED },
    { "one by one", 1, 1, TOKENS, keep, ROUNDED },
    { "one by one, no input", 1, 1, TOKENS, zero_inputs, ROUNDED },
    { "one by one, no weight", 1, 1, TOKENS, zero_weights, ROUNDED },
    { "one token a part", ROWS, COLUMNS, 2, keep, ROUNDED },
    { "fewer tokens than columns", ROWS, COLUMNS, 7, keep, ROUNDED },
    { "some columns without input", ROWS, COLUMNS, TOKENS, zero_some_columns, ROUNDED },
    { "no input at all", ROWS, COLUMNS, TOKENS, zero_inputs, ROUNDED },
    { "features that are equal and constant", ROWS, COLUMNS, TOKENS, equal_features, ROUNDED },
    { "tokens that are equal", ROWS, COLUMNS, TOKENS, equal_tokens, ROUNDED },
    { "columns in equal pairs", ROWS, COLUMNS, TOKENS, duplicate_columns, ROUNDED },
    { "columns that are multiples of one", ROWS, COLUMNS, TOKENS, one_direction, ROUNDED },
    { "rows without weights", ROWS, COLUMNS, TOKENS, zero_rows, ROUNDED },
    { "no weights at all", ROWS, COLUMNS, TOKENS, zero_weights, ROUNDED },
    { "equal weights", ROWS, COLUMNS, TOKENS, equal_weights, ROUNDED },
    { "weights of 1e30", ROWS, COLUMNS, TOKENS, huge_weights, ROUNDED },
    { "weights of 1e-30", ROWS, COLUMNS, TOKENS, tiny_weights, ROUNDED },
    { "weights from 1e-24 to 1e24", ROWS, COLUMNS, TOKENS, rows_of_every_size, ROUNDED },
    { "inputs of 1e15", ROWS, COLUMNS, TOKENS, large_inputs, ROUNDED },
    { "inputs of 1e30", ROWS, COLUMNS, TOKENS, huge_inputs, REFUSED },
    { "inputs of 1e-30", ROWS, COLUMNS, TOKENS, tiny_inputs, ROUNDED },
    { "an outlier in both", ROWS, COLUMNS, TOKENS, one_outlier, ROUNDED },
};

/* Both streams, the quantized one a little off; the second part of the tokens is held out. */
typedef struct statistics {
    qd_matf_buf w, x, difference;
    qd_mismatch mismatch;
    size_t held;
} statistics;

static void statistics_free(statistics *s)
{
    qd_matf_buf_fini(&s->w);
    qd_matf_buf_fini(&s->x);
    qd_matf_buf_fini(&s->difference);
    qd_mismatch_fini(&s->mismatch);
}

static qd_code gather(const edge *e, statistics *out, qd_error *why)
{
    qd_error err = { 0 };
    statistics s = { .held = qd_max_size(1, e->tokens / 5) };
    check_ok(qd_matf_buf_init(&s.w, e->rows, e->columns, &err));
    check_ok(qd_matf_buf_init(&s.x, e->tokens, e->columns, &err));
    check_ok(qd_matf_buf_init(&s.difference, e->tokens, e->columns, &err));
    for (size_t i = 0; i < e->rows * e->columns; i++)
        s.w.view.data[i] = (float)normal(1, i);
    for (size_t i = 0; i < e->tokens * e->columns; i++)
        s.x.view.data[i] = (float)normal(2, i);
    e->spoil(s.w.view, s.x.view);
    for (size_t i = 0; i < e->tokens * e->columns; i++)
        s.difference.view.data[i] = (float)(0.05 * normal(3, i)) * s.x.view.data[i];
    check_ok(qd_mismatch_init(&s.mismatch, e->columns, 0, &err));
    size_t fit = e->tokens - s.held;
    qd_cmatf x = qd_matf_const(s.x.view), d = qd_matf_const(s.difference.view);
    const qd_pairs first = { .difference = qd_cmatf_block(d, 0, 0, fit, e->columns),
                             .x = qd_cmatf_block(x, 0, 0, fit, e->columns) },
                   second = { .difference = qd_cmatf_block(d, fit, 0, s.held, e->columns),
                              .x = qd_cmatf_block(x, fit, 0, s.held, e->columns) };
    qd_code code = qd_mismatch_add(&s.mismatch, QD_PART_FIT, &first, NULL, why);
    if (code == QD_OK)
        code = qd_mismatch_add(&s.mismatch, QD_PART_JUDGE, &second, NULL, why);
    if (code == QD_OK)
        code = qd_mismatch_finish(&s.mismatch, why);
    *out = s;
    return code;
}

static qd_holdout hold_out(const statistics *s, const qd_order *order)
{
    qd_error err = { 0 };
    qd_holdout found = { 0 };
    qd_gram held = { .tokens = s->held };
    size_t n = s->w.view.cols;
    check_ok(qd_matd_buf_init(&held.sum, n, n, &err));
    memcpy(held.sum.view.data, s->mismatch.part[QD_PART_JUDGE].hessian.sum.view.data, n * n * sizeof(double));
    check_ok(qd_holdout_search(qd_matd_const(s->mismatch.part[QD_PART_FIT].hessian.sum.view), &held, order, NULL, NULL,
                               &found, &err));
    return found;
}

static void check_record(const edge *e, const qd_layer_input *input, const uint8_t *codes, const qd_certificate *c)
{
    const double values[] = { c->energy_sq,      c->bound_sq, c->expected_sq,     c->overload_bound_sq, c->error_sq,
                              c->relative_error, c->sqnr_db,  c->weight_error_sq, c->identity_residual, c->output_sq,
                              c->max_excess,     c->ratio,    c->lambda,          c->heldout_sq,        c->s };
    for (size_t i = 0; i < QD_LENGTH(values); i++)
        assert_true(isfinite(values[i]));
    if (!(c->status == (c->clip_count > 0 ? QD_CERTIFIED_OVERLOAD : QD_CERTIFIED)))
        fail_msg("%s: %s %s is %s, residual %g", e->name, c->method, c->rounding, qd_certificate_status_name(c->status),
                 c->identity_residual);
    assert_true(c->identity_residual <= 1e-9);
    assert_true(c->energy_sq <= c->overload_bound_sq * (1.0 + 1e-9));
    for (size_t i = 0; i < e->rows * e->columns; i++)
        assert_true(codes[i] <= input->grid->high - input->grid->low);
}

static void round_one(const edge *e, const statistics *s, const qd_order *order, const qd_regularizer *regularizer,
                      const qd_grid *grid)
{
    qd_error err = { 0 };
    qd_factor *factor = NULL;
    qd_holdout held = { 0 };
    double value = regularizer->value == QD_VALUE_GIVEN ? regularizer->params[0].def : 0.0;
    if (regularizer->value == QD_VALUE_HELD_OUT) {
        held = hold_out(s, order);
        value = held.value;
    }
    check_ok(qd_factor_create(qd_matd_const(s->mismatch.hessian.view), order, regularizer, value, NULL, &factor, &err));
    for (size_t a = 0; qd_algorithm_at(a) != NULL; a++)
        for (size_t k = 0; k < 4; k++) {
            size_t r = k / 2; /* both starts of each rounding */
            uint8_t codes[ROWS * COLUMNS];
            qd_certificate certificate = { 0 };
            const qd_layer_input input = { .w = qd_matf_const(s->w.view),
                                           .grid = grid,
                                           .factor = factor,
                                           .holdout = held.tokens == 0 ? NULL : &held,
                                           .mismatch = &s->mismatch,
                                           .use = { QD_SHRINK_FIXED, 1.0,
                                                    k % 2 == 0 ? QD_START_PROJECTED : QD_START_ORIGINAL },
                                           .tokens = e->tokens,
                                           .rounding = (qd_rounding)r,
                                           .seed = 5 };
            qd_code code = qd_layer_round(qd_algorithm_at(a), &input, codes, &certificate, &err);
            if (code != QD_OK)
                fail_msg("%s: %s %s %s %s: %s", e->name, qd_algorithm_at(a)->name, qd_rounding_name(r), order->name,
                         regularizer->name, err.text);
            check_record(e, &input, codes, &certificate);
        }
    qd_factor_destroy(factor);
    qd_holdout_fini(&held);
}

static void every_edge_is_rounded_and_certified_or_refused(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(edges); k++) {
        qd_error err = { 0 };
        statistics s = { 0 };
        qd_code code = gather(&edges[k], &s, &err);
        if (edges[k].end == REFUSED) {
            check_fails(code, QD_ENUMERIC);
            check_contains(err.text, "not finite");
            statistics_free(&s);
            continue;
        }
        check_ok(code);
        for (size_t alphabet = 0; qd_alphabet_at(alphabet) != NULL; alphabet++) {
            static const double own[] = { -7, -3, -1, 0.5, 2, 7 };
            layer_spec spec = { .bits = 4,
                                .alphabet = qd_alphabet_at(alphabet)->name,
                                .levels = own,
                                .level_count = QD_LENGTH(own),
                                .group_size = 5 };
            qd_grid_spec grid_spec = grid_spec_of(&spec);
            QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
            check_ok(qd_grid_build(&grid_spec, qd_matf_const(s.w.view), NULL, NULL, &grid, &err));
            for (size_t o = 0; qd_order_at(o) != NULL; o++)
                for (size_t r = 0; qd_regularizer_at(r) != NULL; r++)
                    round_one(&edges[k], &s, qd_order_at(o), qd_regularizer_at(r), &grid);
        }
        statistics_free(&s);
    }
}

/* Steps with a guarantee, or why there are none. */
static void certify_one(const edge *e, const statistics *s, const qd_factor *factor, const qd_algorithm *algorithm,
                        const qd_grid_spec *spec, size_t *out_certified)
{
    qd_error err = { 0 };
    uint8_t codes[ROWS * COLUMNS];
    qd_certificate certificate = { 0 };
    qd_growth growth = { 0 };
    QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
    check_ok(qd_grid_build(spec, qd_matf_const(s->w.view), NULL, NULL, &grid, &err));
    const qd_layer_input input = { .w = qd_matf_const(s->w.view),
                                   .grid = &grid,
                                   .factor = factor,
                                   .mismatch = &s->mismatch,
                                   .use = { QD_SHRINK_FIXED, 1.0, QD_START_PROJECTED },
                                   .tokens = e->tokens,
                                   .rounding = QD_ROUND_STOCHASTIC };
    qd_code code = qd_layer_guarantee(algorithm, &input, spec->scale_type, &grid, &growth, &err);
    if (code != QD_OK) {
        bool too_large = code == QD_ENUMERIC && strstr(err.text, "does not fit f32") != NULL; /* three levels of 1e30 */
        if (!too_large && (code != QD_EINVAL || strstr(err.text, QD_GUARANTEE_INFEASIBLE) == NULL))
            fail_msg("%s: %s: %s", e->name, algorithm->name, err.text);
        return;
    }
    check_ok(qd_layer_round(algorithm, &input, codes, &certificate, &err));
    check_record(e, &input, codes, &certificate);
    assert_int_equal(certificate.clip_count, 0);
    if (certificate.chance.guarantee != QD_GUARANTEED)
        fail_msg("%s: %s: %s, ratio %.17g", e->name, algorithm->name, qd_guarantee_name(certificate.chance.guarantee),
                 certificate.chance.step_ratio);
    (*out_certified)++;
}

static void every_edge_has_its_guarantee_or_none_for_a_reason(void **state)
{
    (void)state;
    for (size_t k = 0; k < QD_LENGTH(edges); k++) {
        qd_error err = { 0 };
        qd_factor *factor = NULL;
        statistics s = { 0 };
        size_t certified = 0;
        if (gather(&edges[k], &s, &err) == QD_OK) {
            check_ok(qd_factor_create(qd_matd_const(s.mismatch.hessian.view), qd_order_find("norm-descending"),
                                      qd_regularizer_find("mean_diagonal"), 0.1, NULL, &factor, &err));
            for (size_t a = 0; qd_algorithm_at(a) != NULL; a++)
                for (size_t alphabet = 0; qd_alphabet_at(alphabet) != NULL; alphabet++) {
                    if (qd_alphabet_at(alphabet)->codes != QD_CODES_INTEGER)
                        continue; /* unequal steps: refused */
                    layer_spec spec = { .bits = 8, .alphabet = qd_alphabet_at(alphabet)->name, .group_size = 5 };
                    qd_grid_spec grid_spec = grid_spec_of(&spec);
                    certify_one(&edges[k], &s, factor, qd_algorithm_at(a), &grid_spec, &certified);
                }
            assert_true(certified > 0); /* RTN has no drift */
        }
        qd_factor_destroy(factor);
        statistics_free(&s);
    }
}

static void inputs_that_are_not_finite_are_refused_by_the_statistics(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_gram_fini) qd_gram gram = { 0 };
        float x[6] = { 1, 2, 3, 4, bad[i], 6 };
        check_ok(qd_gram_init(&gram, 3, &err));
        qd_code code = qd_gram_add(&gram, (qd_cmatf){ 2, 3, 3, x }, NULL, &err);
        if (code == QD_OK)
            code = qd_gram_finish(&gram, &err);
        check_fails(code, QD_ENUMERIC);
        check_contains(err.text, "not finite");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_edge_is_rounded_and_certified_or_refused),
        cmocka_unit_test(every_edge_has_its_guarantee_or_none_for_a_reason),
        cmocka_unit_test(inputs_that_are_not_finite_are_refused_by_the_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
