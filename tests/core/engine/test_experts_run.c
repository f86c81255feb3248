/* test_experts_run.c: models with experts through a whole run: whose tokens the statistics of an expert are of, what
 * starved experts get, the same bytes whatever happens. */
#include "job.h"
#include "moe.h"
#include "recipe.h"

#include "engine/streams.h"
#include "engine/verify.h"

/* ---- statistics ---- */

enum { COUNT = 11, LENGTH = 24, PLACE = 2 };

typedef struct passage {
    char folder[200], model_folder[300];
    uint32_t ids[COUNT * LENGTH], routes[COUNT * LENGTH * MOE_K];
    qd_model *model;
    qd_pool *pool;
    qd_block *block, *other; /* the second with other weights, as if rounded */
    qd_scratch *scratch;
    qd_streams streams;
    qd_matf_buf input[QD_STREAM_COUNT]; /* as it is at the place */
} passage;

/* Both streams at the place of the first block's experts, and where the quantized one's router sends its rows. */
static void walk_init(passage *w, qd_first_position first, size_t threads)
{
    qd_error err = { 0 };
    const moe_model m = { .family = MOE_MIXTRAL };
    *w = (passage){ 0 };
    for (uint32_t i = 0; i < COUNT * LENGTH; i++)
        w->ids[i] = 10 + i * 7 % 300;
    const qd_windows windows = { .ids = w->ids, .count = COUNT, .length = LENGTH };
    make_folder(w->folder, sizeof w->folder);
    snprintf(w->model_folder, sizeof w->model_folder, "%s/model", w->folder);
    check_ok(qd_dir_make(w->model_folder, &err));
    write_moe(&m, w->model_folder);
    check_ok(qd_pool_create(threads, &w->pool, &err));
    check_ok(qd_model_open(w->model_folder, &w->model, &err));
    check_ok(qd_scratch_create(w->model, COUNT * LENGTH, &w->scratch, &err));
    check_ok(qd_streams_init(w->model, &windows, w->folder, w->pool, NULL, (qd_streams_way){ .first = first },
                             &w->streams, &err));
    check_ok(qd_block_load(w->model, 0, NULL, QD_ARITHMETIC_FLOAT32, &w->block, &err));
    check_ok(qd_block_load(w->model, 0, NULL, QD_ARITHMETIC_FLOAT32, &w->other, &err));
    for (size_t k = 0; k < qd_model_block_size(w->model, 0); k++) {
        qd_matf weight = qd_block_weight(w->other, k);
        for (size_t i = 0; i < weight.rows; i++)
            for (size_t j = 0; j < weight.cols; j++)
                qd_matf_row(weight, i)[j] *= 1.0f + 0.3f * (float)((i + j + k) % 3);
    }
    check_ok(qd_streams_enter(&w->streams, w->block, w->other, &err));
    for (size_t g = 0; g < PLACE; g++)
        check_ok(qd_streams_advance(&w->streams, g, &err));
    for (size_t i = 0; i < QD_STREAM_COUNT; i++)
        read_input(&w->streams, (qd_stream)i, &w->input[i]);
    check_ok(qd_block_route(w->other, PLACE, qd_matf_const(w->input[QD_STREAM_QUANTIZED].view), w->scratch, w->routes,
                            &err));
}

static void walk_fini(passage *w)
{
    for (size_t i = 0; i < QD_STREAM_COUNT; i++)
        qd_matf_buf_fini(&w->input[i]);
    qd_streams_fini(&w->streams);
    qd_scratch_destroy(w->scratch);
    qd_block_destroy(w->block);
    qd_block_destroy(w->other);
    qd_model_destroy(w->model);
    qd_pool_destroy(w->pool);
    remove_folder(w->folder);
}

static bool sees(const passage *w, size_t row, size_t expert)
{
    for (size_t i = 0; i < MOE_K; i++)
        if (w->routes[row * MOE_K + i] == expert)
            return true;
    return false;
}

/* The rows of all sequences of one kind that the group's expert sees, one below the other, as the group wants them. */
static size_t picked_rows(const passage *w, qd_stream stream, size_t group, size_t first, qd_part part,
                          qd_matf_buf *out)
{
    qd_error err = { 0 };
    size_t count = 0;
    qd_matf_buf picked = { 0 };
    check_ok(qd_matf_buf_init(&picked, COUNT * LENGTH, MOE_D, &err));
    for (size_t row = 0; row < COUNT * LENGTH; row++)
        if (row % LENGTH >= first && sees(w, row, (group - PLACE) / 2) &&
            (part == QD_PART_COUNT || qd_part_of(row / LENGTH, COUNT) == part))
            memcpy(qd_matf_row(picked.view, count++), qd_matf_row(w->input[stream].view, row), MOE_D * sizeof(float));
    const qd_block *block = stream == QD_STREAM_FLOAT ? w->block : w->other;
    check_ok(qd_matf_buf_init(out, qd_max_size(count, 1), qd_block_group_width(block, group), &err));
    check_ok(qd_block_derive(block, group, qd_cmatf_block(qd_matf_const(picked.view), 0, 0, count, MOE_D), w->scratch,
                             qd_matf_block(out->view, 0, 0, count, out->view.cols), &err));
    qd_matf_buf_fini(&picked);
    return count;
}

/* left^T right over the rows, in double, against the sum. */
static void check_sum(qd_cmatd got, qd_cmatf left, qd_cmatf right, size_t rows, double divisor)
{
    for (size_t i = 0; i < got.rows; i += 3)
        for (size_t j = 0; j < got.cols; j += 5) {
            double sum = 0, size = 0;
            for (size_t t = 0; t < rows; t++) {
                double one = (double)qd_cmatf_row(left, t)[i] * (double)qd_cmatf_row(right, t)[j];
                sum += one;
                size += fabs(one);
            }
            check_near(qd_cmatd_row(got, i)[j], sum / divisor, 5e-6 * (size / divisor + 1e-6));
        }
}

static void statistics_of_an_expert_are_of_the_rows_routed_to_it(void **state)
{
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        passage w;
        walk_init(&w, first == 0 ? QD_FIRST_COUNTED : QD_FIRST_LEFT_OUT, 2);
        for (size_t group = PLACE; group < qd_block_groups(w.block); group++) {
            qd_error err = { 0 };
            qd_gram fit = { 0 }, held = { 0 };
            qd_matf_buf rows = { 0 }, judged = { 0 };
            size_t n = qd_block_group_width(w.block, group);
            check_ok(qd_gram_init(&fit, n, &err));
            check_ok(qd_gram_init(&held, n, &err));
            check_ok(qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, group, QD_TOKENS_ROUTED, &fit, &held, &err));
            qd_gram_complete(&fit);
            qd_gram_complete(&held);
            size_t fitted = picked_rows(&w, QD_STREAM_QUANTIZED, group, first, QD_PART_FIT, &rows);
            size_t others = picked_rows(&w, QD_STREAM_QUANTIZED, group, first, QD_PART_JUDGE, &judged);
            assert_true(fitted > 0 && fitted < 9 * LENGTH);
            assert_int_equal(fit.tokens, fitted);
            assert_int_equal(held.tokens, others);
            check_sum(qd_matd_const(fit.sum.view), qd_matf_const(rows.view), qd_matf_const(rows.view), fitted, 1);
            check_sum(qd_matd_const(held.sum.view), qd_matf_const(judged.view), qd_matf_const(judged.view), others, 1);
            qd_gram_fini(&fit);
            qd_gram_fini(&held);
            qd_matf_buf_fini(&rows);
            qd_matf_buf_fini(&judged);
        }
        walk_fini(&w);
    }
}

/* Both streams take the tokens that the quantized one's router sends there. */
static void pairs_of_an_expert_are_of_the_same_tokens(void **state)
{
    (void)state;
    passage w;
    walk_init(&w, QD_FIRST_COUNTED, 1);
    for (size_t group = PLACE; group < qd_block_groups(w.block); group++) {
        qd_error err = { 0 };
        qd_mismatch m;
        qd_matf_buf x = { 0 }, d = { 0 };
        check_ok(qd_mismatch_init(&m, qd_block_group_width(w.block, group), 0, &err));
        check_ok(qd_streams_mismatch(&w.streams, group, QD_TOKENS_ROUTED, &m, &err));
        check_ok(qd_mismatch_finish(&m, &err));
        size_t count = picked_rows(&w, QD_STREAM_QUANTIZED, group, 0, QD_PART_COUNT, &x);
        assert_int_equal(picked_rows(&w, QD_STREAM_FLOAT, group, 0, QD_PART_COUNT, &d), count);
        assert_int_equal(m.tokens, count);
        for (size_t t = 0; t < count; t++)
            for (size_t j = 0; j < x.view.cols; j++)
                qd_matf_row(d.view, t)[j] -= qd_matf_row(x.view, t)[j];
        qd_cmatf tilde = qd_matf_const(x.view), difference = qd_matf_const(d.view);
        check_sum(qd_matd_const(m.hessian.view), tilde, tilde, count, (double)count);
        check_sum(qd_matd_const(m.cross.view), difference, tilde, count, (double)count);
        check_sum(qd_matd_const(m.own.view), difference, difference, count, (double)count);
        qd_mismatch_fini(&m);
        qd_matf_buf_fini(&x);
        qd_matf_buf_fini(&d);
    }
    walk_fini(&w);
}

static void traffic_is_counted_and_every_token_goes_to_k_experts(void **state)
{
    (void)state;
    qd_error err = { 0 };
    passage w;
    const qd_traffic *traffic = NULL;
    size_t tokens = 0, judged = 0;
    walk_init(&w, QD_FIRST_LEFT_OUT, 1);
    check_ok(qd_streams_traffic(&w.streams, 7, &traffic, &err));
    for (size_t e = 0; e < MOE_E; e++) {
        size_t count = 0;
        for (size_t row = 0; row < COUNT * LENGTH; row++)
            count += row % LENGTH >= 1 && sees(&w, row, e);
        assert_int_equal(traffic[e].tokens, count);
        tokens += traffic[e].tokens;
        judged += traffic[e].judged;
    }
    assert_int_equal(tokens, COUNT * (LENGTH - 1) * MOE_K);
    assert_int_equal(judged, 2 * (LENGTH - 1) * MOE_K);
    walk_fini(&w);
}

/* What starved experts get: the derived rows of all tokens, in one expert as in another where the layers are gate and
 * up. */
static void all_tokens_are_there_for_those_that_want_them(void **state)
{
    (void)state;
    qd_error err = { 0 };
    passage w;
    walk_init(&w, QD_FIRST_COUNTED, 2);
    qd_gram gram[3] = { 0 };
    static const size_t groups[] = { 2, 6, 7 };
    for (size_t i = 0; i < 3; i++) {
        check_ok(qd_gram_init(&gram[i], qd_block_group_width(w.block, groups[i]), &err));
        check_ok(qd_streams_gram(&w.streams, QD_STREAM_QUANTIZED, groups[i], QD_TOKENS_ALL, &gram[i], NULL, &err));
        assert_int_equal(gram[i].tokens, COUNT * LENGTH);
        qd_gram_complete(&gram[i]);
    }
    assert_memory_equal(gram[0].sum.view.data, gram[1].sum.view.data, MOE_D * MOE_D * sizeof(double));
    qd_matf_buf derived = { 0 };
    qd_cmatf input = qd_matf_const(w.input[QD_STREAM_QUANTIZED].view);
    check_ok(qd_matf_buf_init(&derived, COUNT * LENGTH, MOE_F, &err));
    check_ok(
        qd_block_derive(w.other, 7, qd_cmatf_block(input, 0, 0, input.rows, MOE_D), w.scratch, derived.view, &err));
    check_sum(qd_matd_const(gram[2].sum.view), qd_matf_const(derived.view), qd_matf_const(derived.view), COUNT * LENGTH,
              1);
    for (size_t i = 0; i < 3; i++)
        qd_gram_fini(&gram[i]);
    qd_matf_buf_fini(&derived);
    walk_fini(&w);
}

static void any_number_of_threads_adds_the_same_bytes(void **state)
{
    (void)state;
    static const size_t threads[] = { 1, 2, 5 };
    char digests[QD_LENGTH(threads)][QD_DIGEST_HEX];
    for (size_t k = 0; k < QD_LENGTH(threads); k++) {
        passage w;
        QD_AUTO(qd_str_fini) qd_str all = { 0 };
        qd_error err = { 0 };
        char hex[QD_DIGEST_HEX];
        walk_init(&w, QD_FIRST_LEFT_OUT, threads[k]);
        for (size_t group = PLACE; group < qd_block_groups(w.block); group++) {
            qd_mismatch m;
            size_t n = qd_block_group_width(w.block, group);
            check_ok(qd_mismatch_init(&m, n, 0, &err));
            check_ok(qd_streams_mismatch(&w.streams, group, QD_TOKENS_ROUTED, &m, &err));
            check_ok(qd_mismatch_finish(&m, &err));
            check_ok(qd_sha256(m.hessian.view.data, n * n * sizeof(double), hex, &err));
            qd_str_addf(&all, "%s\n", hex);
            check_ok(qd_sha256(m.cross.view.data, n * n * sizeof(double), hex, &err));
            qd_str_addf(&all, "%s\n", hex);
            qd_mismatch_fini(&m);
            check_ok(qd_streams_advance(&w.streams, group, &err));
        }
        const qd_matf residual = w.streams.residual[QD_STREAM_QUANTIZED];
        check_ok(qd_sha256(residual.data, residual.rows * residual.cols * sizeof(float), hex, &err));
        qd_str_addf(&all, "%s\n", hex);
        check_ok(qd_sha256(all.data, all.length, digests[k], &err));
        walk_fini(&w);
    }
    assert_string_equal(digests[1], digests[0]);
    assert_string_equal(digests[2], digests[0]);
}

/* Routed groups leave the streams where they are, but for the last: then the residual is the block's output. */
static void streams_move_on_at_the_last_routed_group(void **state)
{
    (void)state;
    qd_error err = { 0 };
    passage w;
    walk_init(&w, QD_FIRST_COUNTED, 2);
    enum { BYTES = COUNT * LENGTH * MOE_D * sizeof(float) };
    float *before = malloc(BYTES);
    memcpy(before, w.streams.residual[QD_STREAM_FLOAT].data, BYTES);
    size_t groups = qd_block_groups(w.block);
    for (size_t g = PLACE; g + 1 < groups; g++)
        check_ok(qd_streams_advance(&w.streams, g, &err));
    assert_memory_equal(w.streams.residual[QD_STREAM_FLOAT].data, before, BYTES);
    assert_int_equal(w.streams.stored, PLACE);
    check_ok(qd_streams_advance(&w.streams, groups - 1, &err));
    qd_matf_buf whole = { 0 };
    check_ok(qd_matf_buf_init(&whole, LENGTH, MOE_D, &err));
    check_ok(qd_model_embed(w.model, w.ids, whole.view, &err));
    check_ok(qd_block_forward(w.block, whole.view, w.scratch, &err));
    assert_memory_equal(w.streams.residual[QD_STREAM_FLOAT].data, whole.view.data, LENGTH * MOE_D * sizeof(float));
    free(before);
    qd_matf_buf_fini(&whole);
    walk_fini(&w);
}

/* ---- whole runs ---- */

/* 2 blocks of q, k, v, o and six experts of gate, up, down. */
enum { MOE_LAYERS = MOE_BLOCKS * (4 + 3 * MOE_E) };
#define TEXTS "\"calibration\":{\"samples\":5,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1}"
#define BITS "\"bits\":4,\"group_size\":32,"
#define OPTQ BITS "\"algorithm\":\"optq\"," TEXTS
#define QRONOS BITS "\"algorithm\":\"qronos\",\"effort\":\"balanced\"," TEXTS

typedef struct moe_run {
    char folder[200], model[300];
    small_run job;
} moe_run;

static void run_init(moe_run *r, const moe_model *m, const char *request)
{
    qd_error err = { 0 };
    *r = (moe_run){ 0 };
    make_folder(r->folder, sizeof r->folder);
    snprintf(r->model, sizeof r->model, "%s/model", r->folder);
    check_ok(qd_dir_make(r->model, &err));
    write_moe(m, r->model);
    r->job = (small_run){ .request = request, .folder = r->folder, .model = r->model, .texts = SHORT_TEXTS };
}

static void run_fini(moe_run *r)
{
    job_fini(&r->job);
    remove_folder(r->folder);
}

static json_int_t whole(const json_t *object, const char *key)
{
    if (!json_is_integer(json_object_get(object, key)))
        fail_msg("'%s' is no whole number", key);
    return json_integer_value(json_object_get(object, key));
}

/* Tokens of every expert of a block, by what its layers say; each says the same. all: tokens that count. */
static void check_routing(const json_t *layers, size_t wanted, json_int_t all)
{
    json_int_t sum[MOE_BLOCKS] = { 0 };
    for (size_t i = 0; i < MOE_LAYERS; i++) {
        const json_t *layer = json_array_get(layers, i), *routing = json_object_get(layer, "routing");
        size_t within = i % (4 + 3 * MOE_E);
        assert_true((routing != NULL) == (within >= 4));
        if (routing == NULL)
            continue;
        json_int_t block = whole(routing, "block"), tokens = whole(routing, "tokens");
        assert_int_equal(block, i / (4 + 3 * MOE_E));
        assert_int_equal(whole(routing, "expert"), (within - 4) / 3);
        bool starved = (size_t)tokens < wanted;
        assert_int_equal(json_is_true(json_object_get(routing, "starved")), starved);
        sum[block] += (within - 4) % 3 == 0 ? tokens : 0;
        json_int_t m = whole(json_object_get(layer, "certificate"), "m");
        const char *fallback = json_string_value(json_object_get(routing, "fallback"));
        assert_true(starved == (fallback != NULL));
        assert_int_equal(m, !starved ? tokens : strcmp(fallback, "shared") == 0 ? all : 0);
        assert_int_equal(json_is_true(json_object_get(layer, "degraded")), starved && strcmp(fallback, "rtn") == 0);
    }
    for (size_t b = 0; b < MOE_BLOCKS; b++)
        assert_int_equal(sum[b], all * MOE_K);
}

static size_t warnings_with(const small_run *job, const char *part)
{
    size_t count = 0;
    QD_AUTO(qd_json_fini) json_t *warnings = events_of(&job->log, "warning");
    for (size_t i = 0; i < json_array_size(warnings); i++)
        count += strstr(json_string_value(json_object_get(json_array_get(warnings, i), "detail")), part) != NULL;
    return count;
}

static void check_verified(const moe_run *r)
{
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *report = NULL;
    QD_AUTO(qd_free_pointer) char *out = qd_path_join(r->folder, "out");
    check_ok(qd_verify(out, r->model, &report, &err));
    if (!json_is_true(json_object_get(report, "ok"))) {
        QD_AUTO(qd_free_pointer) char *text = json_dumps(report, JSON_INDENT(1));
        fail_msg("%s", text);
    }
}

/* An expert to which no token goes, and others with few: by the statistics of all tokens, no layer degraded. */
static void starved_experts_share_the_statistics_of_all_tokens(void **state)
{
    (void)state;
    static const char *const requests[] = { OPTQ, QRONOS };
    for (size_t i = 0; i < QD_LENGTH(requests); i++) {
        qd_error err = { 0 };
        moe_run r;
        const moe_model m = { .family = MOE_QWEN3, .unloved = 1u << 4 };
        run_init(&r, &m, requests[i]);
        check_ok(run_job(&r.job, &err));
        QD_AUTO(qd_json_fini) json_t *layers = events_of(&r.job.log, "layer");
        assert_int_equal(json_array_size(layers), MOE_LAYERS);
        check_routing(layers, 2 * MOE_F, i == 0 ? 5 * 64 : 5 * 63); /* balanced leaves the first position out */
        const json_t *experts = json_object_get(r.job.result, "experts");
        assert_int_equal(whole(experts, "count"), MOE_BLOCKS * MOE_E);
        assert_true(whole(experts, "starved") >= MOE_BLOCKS);
        assert_int_equal(whole(experts, "fewest_tokens"), 0);
        assert_int_equal(whole(r.job.result, "degraded_layers"), 0);
        assert_int_equal(whole(r.job.result, "certified_layers"), MOE_LAYERS);
        assert_int_equal(
            warnings_with(&r.job, "experts are starved: expert 4 got 0 calibration tokens, 192 are wanted"),
            MOE_BLOCKS);
        assert_int_equal(warnings_with(&r.job, "mismatch.residual"), i);
        check_verified(&r);
        run_fini(&r);
    }
}

static void starved_experts_may_be_rounded_to_nearest_and_are_degraded_then(void **state)
{
    (void)state;
    qd_error err = { 0 };
    moe_run r;
    const moe_model m = { .family = MOE_MIXTRAL, .unloved = 1u << 1 };
    run_init(&r, &m, "\"experts\":{\"min_tokens\":1,\"fallback\":\"rtn\"}," OPTQ);
    check_ok(run_job(&r.job, &err));
    QD_AUTO(qd_json_fini) json_t *layers = events_of(&r.job.log, "layer");
    check_routing(layers, 1, 5 * 64);
    assert_int_equal(whole(json_object_get(r.job.result, "experts"), "starved"), MOE_BLOCKS);
    assert_int_equal(whole(r.job.result, "degraded_layers"), 3 * MOE_BLOCKS);
    const json_t *gate = json_array_get(layers, 4 + 3);
    check_contains(json_string_value(json_object_get(gate, "degraded_reason")), "expert 1 got 0 calibration tokens");
    /* one format for all experts, fed or not */
    const json_t *other = json_array_get(layers, 4);
    assert_string_equal(json_string_value(json_object_get(json_object_get(gate, "grid"), "alphabet")),
                        json_string_value(json_object_get(json_object_get(other, "grid"), "alphabet")));
    assert_int_equal(whole(gate, "bits"), whole(other, "bits"));
    assert_int_equal(warnings_with(&r.job, "they are rounded to nearest"), MOE_BLOCKS);
    check_verified(&r);
    run_fini(&r);
    run_init(&r, &m, "\"experts\":{\"fallback\":\"rtn\"},\"on_degraded\":\"fail\"," OPTQ);
    check_fails(run_job(&r.job, &err), QD_ENUMERIC);
    check_contains(err.text, "calibration tokens");
    run_fini(&r);
}

/* Fewer tokens than features, by the job's own wish: said once a block. */
static void experts_with_few_tokens_are_said_once_a_block(void **state)
{
    (void)state;
    qd_error err = { 0 };
    moe_run r;
    const moe_model m = { .family = MOE_MIXTRAL };
    run_init(&r, &m,
             "\"experts\":{\"min_tokens\":1}," BITS "\"algorithm\":\"optq\",\"calibration\":{\"samples\":5,"
             "\"length\":24},\"evaluation\":{\"length\":64,\"windows\":1}");
    check_ok(run_job(&r.job, &err));
    assert_int_equal(warnings_with(&r.job, "fewer calibration tokens than their inputs have features"), MOE_BLOCKS);
    assert_int_equal(warnings_with(&r.job, "H has rank"), 0);
    assert_int_equal(whole(json_object_get(r.job.result, "experts"), "starved"), 0);
    run_fini(&r);
}

static void threads_and_stops_change_no_byte(void **state)
{
    (void)state;
    static const char *const requests[] = { OPTQ, QRONOS };
    const moe_model m = { .family = MOE_QWEN3, .dense = 1, .unloved = 1u << 2 };
    for (size_t i = 0; i < QD_LENGTH(requests); i++) {
        qd_error err = { 0 };
        moe_run r;
        char want[QD_DIGEST_HEX], got[QD_DIGEST_HEX];
        run_init(&r, &m, requests[i]);
        check_ok(run_job(&r.job, &err));
        digest_out(&r.job, want);
        run_fini(&r);
        static const size_t stops[] = { 0, 9, 20 }; /* dense, within the experts, at the end of one's group */
        for (size_t k = 0; k < QD_LENGTH(stops); k++) {
            run_init(&r, &m, requests[i]);
            r.job.threads = 2;
            r.job.log.cancel_after = stops[k];
            if (stops[k] > 0) {
                check_fails(run_job(&r.job, &err), QD_ECANCELLED);
                job_fini(&r.job);
                r.job.log.cancel_after = 0;
                r.job.log.layers = 0;
            }
            check_ok(run_job(&r.job, &err));
            assert_int_equal(whole(r.job.result, "resumed_layers"), stops[k]);
            digest_out(&r.job, got);
            assert_string_equal(got, want);
            run_fini(&r);
        }
    }
}

/* The weights, that is; records name the files they were made from. */
static void both_layouts_give_the_same_weights(void **state)
{
    (void)state;
    static const moe_family families[] = { MOE_MIXTRAL, MOE_QWEN3 };
    for (size_t f = 0; f < QD_LENGTH(families); f++) {
        char digests[2][QD_DIGEST_HEX];
        for (size_t layout = 0; layout < 2; layout++) {
            qd_error err = { 0 };
            moe_run r;
            const moe_model m = { .family = families[f], .layout = (moe_layout)layout };
            run_init(&r, &m, OPTQ);
            check_ok(run_job(&r.job, &err));
            check_verified(&r);
            QD_AUTO(qd_free_pointer) char *file = qd_path_join(r.folder, "out/model.safetensors");
            check_ok(qd_sha256_file(file, digests[layout], &err));
            run_fini(&r);
        }
        assert_string_equal(digests[0], digests[1]);
    }
}

/* Loaders would look for the packed tensors of every linear module. */
static void loaders_are_told_that_routers_are_plain(void **state)
{
    (void)state;
    static const char *const formats[] = { "compressed-tensors", "gptq", "awq" };
    static const char *const members[] = { "ignore", "dynamic", "modules_to_not_convert" };
    static const char *const words[] = { "\"model.layers.1.mlp.gate\"",
                                         "\"-:^model\\\\.layers\\\\.1\\\\.mlp\\\\.gate$\"",
                                         "\"model.layers.1.mlp.gate\"" };
    const moe_model m = { .family = MOE_QWEN3, .layout = MOE_STACKED };
    for (size_t i = 0; i < QD_LENGTH(formats); i++) {
        qd_error err = { 0 };
        char request[500];
        moe_run r;
        QD_AUTO(qd_json_fini) json_t *config = NULL;
        snprintf(request, sizeof request, "\"format\":\"%s\"," OPTQ, formats[i]);
        run_init(&r, &m, request);
        check_ok(run_job(&r.job, &err));
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(r.folder, "out/config.json");
        check_ok(qd_json_read_object(path, 1 << 20, 16, &config, &err));
        const json_t *plain = json_object_get(json_object_get(config, "quantization_config"), members[i]);
        QD_AUTO(qd_free_pointer) char *text = json_dumps(plain, JSON_COMPACT);
        check_contains(text, words[i]);
        assert_null(strstr(text, "experts"));
        check_verified(&r);
        run_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_of_an_expert_are_of_the_rows_routed_to_it),
        cmocka_unit_test(pairs_of_an_expert_are_of_the_same_tokens),
        cmocka_unit_test(traffic_is_counted_and_every_token_goes_to_k_experts),
        cmocka_unit_test(all_tokens_are_there_for_those_that_want_them),
        cmocka_unit_test(any_number_of_threads_adds_the_same_bytes),
        cmocka_unit_test(streams_move_on_at_the_last_routed_group),
        cmocka_unit_test(starved_experts_share_the_statistics_of_all_tokens),
        cmocka_unit_test(starved_experts_may_be_rounded_to_nearest_and_are_degraded_then),
        cmocka_unit_test(experts_with_few_tokens_are_said_once_a_block),
        cmocka_unit_test(threads_and_stops_change_no_byte),
        cmocka_unit_test(both_layouts_give_the_same_weights),
        cmocka_unit_test(loaders_are_told_that_routers_are_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
