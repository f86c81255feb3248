/* test_real_layer.c: what stochastic rounding promises with probability 0.95, over 2,000 seeds on one layer of a trained model (theory.md §10 13).
 * The layer: k_proj of the second block, its inputs as the first block, rounded to 3 bits, leaves them. With QUANTD_SHARED the model is
 * stories260K, else the tests' own. Under a sanitizer fewer seeds, and the limit that goes with them. */
#include "job.h"

#include "base/rng.h"
#include "engine/streams.h"
#include "linalg/gemm.h"
#include "quant/guarantee.h"
#include "quant/target.h"

enum { SEQUENCES = 8, LENGTH = 64, K_PROJ = 1 };
#define ETA 0.05

typedef struct real_layer {
    qd_matf_buf w, x; /* x: inputs of the quantized stream */
    qd_mismatch mismatch;
    qd_factor *factor;
} real_layer;

/* Tokens of the model's own kind of text. */
static void sample_ids(const char *model, const char *text, qd_windows *out)
{
    qd_error err = { 0 };
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    check_ok(qd_tokenizer_open(model, &tokenizer, &err));
    check_ok(
        qd_corpus_read(tokenizer, text, &(qd_corpus_way){ .split = QD_SPLIT_LINES, .limit = 1 << 24 }, &corpus, &err));
    const qd_window_request request = { .count = SEQUENCES, .length = LENGTH, .bos = 1 };
    check_ok(qd_windows_sample(&corpus.ids, &request, out, &err));
    qd_tokenizer_destroy(tokenizer);
}

static void round_block(qd_block *block, size_t layers)
{
    qd_error err = { 0 };
    const qd_grid_spec spec = { .alphabet = qd_alphabet_find("int"),
                                .bits = 3,
                                .rule = qd_scale_rule_find("minmax"),
                                .shrink = 1.0,
                                .scale_type = qd_scale_type_find("f32") };
    for (size_t k = 0; k < layers; k++) {
        qd_matf w = qd_block_weight(block, k);
        qd_certificate certificate;
        QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
        QD_AUTO(qd_free_pointer) uint8_t *codes = malloc(w.rows * w.cols);
        check_ok(qd_grid_build(&spec, qd_matf_const(w), NULL, NULL, &grid, &err));
        const qd_layer_input input = { .w = qd_matf_const(w), .grid = &grid };
        check_ok(qd_layer_round(qd_algorithm_find("rtn"), &input, codes, &certificate, &err));
        qd_grid_dequantize(&grid, codes, w);
    }
}

/* Both streams at the second block. */
static void reach_second_block(const qd_model *model, qd_streams *streams, qd_block **exact, qd_block **rounded)
{
    qd_error err = { 0 };
    for (size_t at = 0; at < 2; at++) {
        qd_block_destroy(*exact);
        qd_block_destroy(*rounded);
        check_ok(qd_block_load(model, at, NULL, QD_ARITHMETIC_FLOAT32, exact, &err));
        check_ok(qd_block_load(model, at, NULL, QD_ARITHMETIC_FLOAT32, rounded, &err));
        if (at == 0)
            round_block(*rounded, qd_model_block_size(model, 0));
        check_ok(qd_streams_enter(streams, *exact, *rounded, &err));
        for (size_t group = 0; at == 0 && group < qd_block_groups(*exact); group++)
            check_ok(qd_streams_advance(streams, group, &err));
    }
}

static void copy_matrix(qd_cmatf from, qd_matf_buf *out)
{
    qd_error err = { 0 };
    check_ok(qd_matf_buf_init(out, from.rows, from.cols, &err));
    for (size_t i = 0; i < from.rows; i++)
        memcpy(qd_matf_row(out->view, i), qd_cmatf_row(from, i), from.cols * sizeof(float));
}

static real_layer load_layer(void)
{
    char model_path[4096], text[4096], folder[200];
    const char *shared = getenv("QUANTD_SHARED");
    qd_error err = { 0 };
    real_layer l = { 0 };
    qd_model *model = NULL;
    qd_block *exact = NULL, *rounded = NULL;
    QD_AUTO(qd_windows_fini) qd_windows windows = { 0 };
    QD_AUTO(qd_streams_fini) qd_streams streams = { 0 };
    qd_pool *pool = NULL;
    SOURCE_PATH(model_path, "tests/models/novella-1m");
    SOURCE_PATH(text, "tests/texts/novella-calibration.txt");
    if (shared != NULL && shared[0] != '\0') {
        snprintf(model_path, sizeof model_path, "%s/models/stories260K", shared);
        snprintf(text, sizeof text, "%s/data/text/tinystories-sample.txt", shared);
    }
    check_ok(qd_pool_create(1, &pool, &err));
    check_ok(qd_model_open(model_path, &model, &err));
    sample_ids(model_path, text, &windows);
    check_ok(qd_streams_init(model, &windows, make_folder(folder, sizeof folder), pool, NULL,
                             (qd_streams_way){ .scope = QD_SCOPE_MODEL }, &streams, &err));
    reach_second_block(model, &streams, &exact, &rounded);
    qd_matf w = qd_block_weight(exact, K_PROJ);
    copy_matrix(qd_matf_const(w), &l.w);
    read_input(&streams, QD_STREAM_QUANTIZED, &l.x);
    check_ok(qd_mismatch_init(&l.mismatch, w.cols, 0, &err));
    check_ok(qd_streams_mismatch(&streams, 0, QD_TOKENS_ROUTED, &l.mismatch, &err));
    check_ok(qd_mismatch_finish(&l.mismatch, &err));
    check_ok(qd_factor_create(qd_matd_const(l.mismatch.hessian.view), qd_order_find("norm-descending"),
                              qd_regularizer_find("mean_diagonal"), 0.01, NULL, &l.factor, &err));
    qd_block_destroy(exact);
    qd_block_destroy(rounded);
    qd_model_destroy(model);
    qd_pool_destroy(pool);
    remove_folder(folder);
    return l;
}

static void layer_fini(real_layer *l)
{
    qd_matf_buf_fini(&l->w);
    qd_matf_buf_fini(&l->x);
    qd_mismatch_fini(&l->mismatch);
    qd_factor_destroy(l->factor);
}

/* What a draw is compared with: the target and the matrix of the feedback, in processing order. */
typedef struct reference {
    qd_matd_buf target, upper, x, error, output;
    qd_grid grid;
} reference;

static void reference_fini(reference *r)
{
    qd_matd_buf *const all[] = { &r->target, &r->upper, &r->x, &r->error, &r->output };
    for (size_t i = 0; i < QD_LENGTH(all); i++)
        qd_matd_buf_fini(all[i]);
    qd_grid_fini(&r->grid);
}

static void take_target(const qd_layer_input *input, qd_solver solver, reference *r)
{
    qd_error err = { 0 };
    qd_steps steps = { 0 };
    qd_weight_target target = { 0 };
    qd_cmatd upper = qd_matd_const(r->upper.view);
    check_ok(qd_steps_init(input, QD_DEAD_ZERO, &steps, &err));
    check_ok(qd_weight_target_init(input, &steps, solver, &upper, &target, &err));
    memcpy(r->target.view.data, target.rows, input->w.rows * input->w.cols * sizeof(double));
    qd_weight_target_fini(&target);
    qd_steps_fini(&steps);
}

static reference reference_of(const real_layer *l, const qd_algorithm *algorithm, qd_layer_input *input)
{
    qd_error err = { 0 };
    qd_growth growth = { 0 };
    reference r = { 0 };
    size_t d = l->w.view.rows, n = l->w.view.cols, m = l->x.view.rows;
    const qd_grid_spec spec = { .alphabet = qd_alphabet_find("int"),
                                .bits = 8,
                                .rule = qd_scale_rule_find("minmax"),
                                .shrink = 1.0,
                                .scale_type = qd_scale_type_find("f32") };
    const uint32_t *column = l->factor->permutation;
    bool path = algorithm->drift == QD_DRIFT_PATH;
    check_ok(qd_matd_buf_init(&r.target, d, n, &err));
    check_ok(qd_matd_buf_init(&r.upper, n, n, &err));
    check_ok(qd_matd_buf_init(&r.x, m, n, &err));
    check_ok(qd_matd_buf_init(&r.error, d, n, &err));
    check_ok(qd_matd_buf_init(&r.output, d, m, &err));
    for (size_t k = 0; k < n; k++)
        for (size_t t = k; t < n; t++)
            qd_matd_row(r.upper.view, k)[t] = qd_matd_row(path ? l->factor->hessian.view : l->factor->c.view, k)[t];
    for (size_t i = 0; i < m; i++)
        for (size_t t = 0; t < n; t++)
            qd_matd_row(r.x.view, i)[t] = (double)qd_matf_row(l->x.view, i)[column[t]];
    for (size_t i = 0; i < d; i++)
        for (size_t t = 0; t < n; t++)
            qd_matd_row(r.target.view, i)[t] = (double)qd_matf_row(l->w.view, i)[column[t]];
    check_ok(qd_grid_build(&spec, qd_matf_const(l->w.view), NULL, NULL, &r.grid, &err));
    input->grid = &r.grid;
    if (algorithm->needs == QD_NEEDS_MISMATCH)
        take_target(input, path ? QD_SOLVE_PATH : QD_SOLVE_LEAST_SQUARES, &r);
    check_ok(qd_layer_guarantee(algorithm, input, spec.scale_type, &r.grid, &growth, &err));
    return r;
}

/* Largest |X~ (target - q)| and largest |z - target| in steps, from the codes alone. */
static void measure(const real_layer *l, reference *r, const uint8_t *codes, double *out_output, double *out_drift)
{
    size_t d = l->w.view.rows, n = l->w.view.cols;
    *out_output = *out_drift = 0.0;
    for (size_t i = 0; i < d; i++) {
        double step = (double)qd_matf_row(r->grid.scale.view, i)[0], *e = qd_matd_row(r->error.view, i);
        for (size_t t = 0; t < n; t++)
            e[t] = qd_matd_row(r->target.view, i)[t] -
                   qd_grid_level(&r->grid, codes[i * n + l->factor->permutation[t]]) * step;
        for (size_t t = 0; t < n; t++) {
            double drift = 0.0;
            for (size_t k = 0; k < t; k++)
                drift += e[k] * qd_matd_row(r->upper.view, k)[t];
            *out_drift = fmax(*out_drift, fabs(drift / qd_matd_row(r->upper.view, t)[t]) / step);
        }
    }
    qd_gemm_f64(QD_PLAIN, QD_TRANSPOSED, 1.0, qd_matd_const(r->error.view), qd_matd_const(r->x.view), 0.0,
                r->output.view);
    for (size_t i = 0; i < d * r->x.view.rows; i++)
        *out_output = fmax(*out_output, fabs(r->output.view.data[i]));
}

/* Least count that a binomial of that many trials stays at or below with probability 0.999. */
static size_t limit_of(size_t trials)
{
    double term = pow(1.0 - ETA, (double)trials), sum = term;
    size_t count = 0;
    while (sum < 0.999) {
        term *= (double)(trials - count) / (double)(count + 1) * ETA / (1.0 - ETA);
        sum += term;
        count++;
    }
    return count;
}

static void draw_often(const real_layer *l, const qd_algorithm *algorithm, size_t seeds)
{
    qd_layer_input input = { .w = qd_matf_const(l->w.view),
                             .factor = l->factor,
                             .mismatch = &l->mismatch,
                             .use = { QD_SHRINK_FIXED, 1.0, QD_START_PROJECTED },
                             .tokens = l->x.view.rows,
                             .rounding = QD_ROUND_STOCHASTIC };
    reference r = reference_of(l, algorithm, &input);
    QD_AUTO(qd_free_pointer) uint8_t *codes = malloc(l->w.view.rows * l->w.view.cols);
    size_t energy = 0, output = 0, drift = 0, clips = 0;
    double near_output = 0.0, near_drift = 0.0, near_energy = 0.0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        qd_error err = { 0 };
        qd_certificate c;
        double largest, deviation;
        input.grid = &r.grid;
        input.seed = qd_rng_key(seed, 1, 2);
        check_ok(qd_layer_round(algorithm, &input, codes, &c, &err));
        measure(l, &r, codes, &largest, &deviation);
        assert_true(c.identity_residual < 1e-9 && c.energy_sq <= c.bound_sq);
        assert_int_equal(c.chance.guarantee, QD_GUARANTEED);
        energy += c.energy_sq > c.chance.probable_bound_sq;
        output += largest > c.chance.output_bound;
        drift += deviation > c.chance.kappa_max;
        clips += c.clip_count > 0;
        near_energy = fmax(near_energy, sqrt(c.energy_sq / c.chance.probable_bound_sq));
        near_output = fmax(near_output, largest / c.chance.output_bound);
        near_drift = fmax(near_drift, deviation / c.chance.kappa_max);
    }
    print_message("%s, %zu x %zu: of %zu seeds (limit %zu) energy %zu, outputs %zu, drift %zu, clips %zu; "
                  "nearest to the bound %.2f, %.2f, %.2f\n",
                  algorithm->name, l->w.view.rows, l->w.view.cols, seeds, limit_of(seeds), energy, output, drift, clips,
                  near_energy, near_output, near_drift);
    assert_true(energy <= limit_of(seeds) && output <= limit_of(seeds) && drift <= limit_of(seeds));
    assert_int_equal(clips, 0);
    assert_true(near_drift > 0.2 && near_energy > 0.5); /* the bounds are about something */
    qd_grid_fini(&r.grid);
    r.grid = (qd_grid){ 0 };
    reference_fini(&r);
}

static void promises_hold_on_a_real_layer(void **state)
{
    (void)state;
    const char *slow = getenv("QUANTD_TEST_SLOW");
    real_layer l = load_layer();
    assert_int_equal(limit_of(2000), 131);
    assert_true(l.mismatch.tokens == SEQUENCES * LENGTH);
    for (size_t a = 0; qd_algorithm_at(a) != NULL; a++)
        if (qd_algorithm_at(a)->drift != QD_DRIFT_NONE)
            draw_often(&l, qd_algorithm_at(a), slow == NULL ? 2000 : 100);
    layer_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(promises_hold_on_a_real_layer) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
