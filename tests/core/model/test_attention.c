/* test_attention.c: every kernel of attention beside its definition in double; a position's output is the same bits however the
 * sequence is cut. */
#include <float.h>

#include "check.h"

#include "base/mem.h"
#include "base/rng.h"
#include "core/linalg/tiles_emulated.h"
#include "linalg/half.h"
#include "model/attention_kernels.h"

#include "linalg/product_amx.c"

typedef struct scene {
    qd_attention attention;
    size_t length;
    qd_matf_buf q, k, v, room, out;
} scene;

static void fill(qd_matf m, uint64_t key, double scale)
{
    for (size_t i = 0; i < m.rows * m.cols; i++)
        m.data[i] = (float)(scale * (2 * qd_rng_uniform(key, i) - 1));
}

/* loud: queries so long that few keys have nearly all the weight. */
static void open_scene(const qd_attention *a, size_t length, double loud, scene *s)
{
    qd_error err = { 0 };
    *s = (scene){ .attention = *a, .length = length };
    check_ok(qd_matf_buf_init(&s->q, length, a->heads * a->head_dim, &err));
    check_ok(qd_matf_buf_init(&s->k, length, a->kv_heads * a->head_dim, &err));
    check_ok(qd_matf_buf_init(&s->v, length, a->kv_heads * a->head_dim, &err));
    check_ok(qd_matf_buf_init(&s->out, length, a->heads * a->head_dim, &err));
    check_ok(qd_matf_buf_init(&s->room, qd_attention_room(a->head_dim, length), QD_ATTENTION_LANES, &err));
    fill(s->q.view, 4, loud);
    fill(s->k.view, 5, 2);
    fill(s->v.view, 6, 2);
}

static void close_scene(scene *s)
{
    qd_matf_buf *parts[] = { &s->q, &s->k, &s->v, &s->out, &s->room };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
}

/* As the arithmetic takes it. */
static double value(const scene *s, float x)
{
    return (double)(s->attention.arithmetic == QD_ARITHMETIC_BFLOAT16 ? qd_bf16_to_float(qd_float_to_bf16(x)) : x);
}

static double score(const scene *s, size_t t, size_t at, size_t head)
{
    const qd_attention *a = &s->attention;
    const float *q = qd_matf_row(s->q.view, t) + head * a->head_dim;
    const float *k = qd_matf_row(s->k.view, at) + head * a->kv_heads / a->heads * a->head_dim;
    double sum = 0;
    for (size_t i = 0; i < a->head_dim; i++)
        sum += value(s, q[i]) * value(s, k[i]);
    sum *= (double)a->scale;
    return a->cap > 0 ? (double)a->cap * tanh(sum / (double)a->cap) : sum;
}

static void check_position(const scene *s, size_t t, size_t head)
{
    const qd_attention *a = &s->attention;
    double total = 0, top = -INFINITY, want[512] = { 0 }, size[512] = { 0 };
    double relative = a->arithmetic == QD_ARITHMETIC_BFLOAT16 ? 1.01 / 256 : 0; /* half a step of a weight's bf16 */
    size_t from = a->window > 0 && t + 1 > a->window ? t + 1 - a->window : 0;
    for (size_t at = from; at <= t; at++)
        top = fmax(top, score(s, t, at, head));
    for (size_t at = from; at <= t; at++) {
        const float *v = qd_matf_row(s->v.view, at) + head * a->kv_heads / a->heads * a->head_dim;
        double weight = exp(score(s, t, at, head) - top);
        total += weight;
        for (size_t i = 0; i < a->head_dim; i++) {
            want[i] += weight * value(s, v[i]);
            size[i] += weight * fabs(value(s, v[i]));
        }
    }
    for (size_t i = 0; i < a->head_dim; i++) /* float32 scores have an error of their own size */
        check_near((double)qd_matf_row(s->out.view, t)[head * a->head_dim + i], want[i] / total,
                   3e-6 + 6e-7 * fabs(top) + relative * size[i] / total);
}

/* heads, key/value heads, head_dim, window, scale, cap; tokens. Heads that share make tiles of every size; widths that no vector divides;
 * windows shorter and longer than a block of keys; blocks that some lanes of a tile do not see at all. */
static const struct {
    qd_attention attention;
    size_t length;
    double loud;
} cases[] = {
    { { 1, 1, 1, 0, 1, 0, 0 }, 1, 2 },          { { 4, 2, 6, 0, 0.4f, 0, 0 }, 70, 2 },
    { { 4, 2, 6, 5, 0.4f, 0, 0 }, 70, 2 },      { { 4, 2, 6, 0, 0.4f, 1.5f, 0 }, 70, 2 },
    { { 4, 2, 6, 9, 1, 0.7f, 0 }, 70, 2 },      { { 4, 2, 6, 1, 1, 0, 0 }, 70, 2 },
    { { 9, 3, 64, 0, 0.125f, 0, 0 }, 150, 2 },  { { 9, 3, 64, 0, 0.125f, 0, 0 }, 40, 60 },
    { { 7, 1, 33, 65, 0.2f, 0, 0 }, 201, 2 },   { { 3, 3, 80, 64, 0.1f, 0, 0 }, 140, 2 },
    { { 5, 1, 17, 200, 0.3f, 30, 0 }, 260, 2 }, { { 32, 2, 16, 0, 0.25f, 50, 0 }, 67, 40 },
};

/* Of every kernel in float32, and in bf16 with rounded values and with panels. */
typedef struct way {
    const qd_attention_kernel *kernel;
    const qd_product_kernel *products;
    qd_arithmetic arithmetic;
} way;

static bool way_at(size_t index, way *out)
{
    const qd_attention_kernel *kernel = qd_attention_kernel_at(index / 3);
    *out = (way){ kernel, NULL, index % 3 == 0 ? QD_ARITHMETIC_FLOAT32 : QD_ARITHMETIC_BFLOAT16 };
#ifdef QD_PRODUCT_X86
    if (index % 3 == 2 && qd_has_avx512_bf16()) /* which AMX's panels are packed with */
        out->products = &qd_product_emulated;
#endif
    return kernel != NULL;
}

static void every_kernel_gives_the_definition(void **state)
{
    (void)state;
    way w;
    for (size_t c = 0; c < QD_LENGTH(cases); c++) {
        scene s;
        open_scene(&cases[c].attention, cases[c].length, cases[c].loud, &s);
        for (size_t n = 0; way_at(n, &w); n++) {
            if (!w.kernel->supported())
                continue;
            s.attention.arithmetic = w.arithmetic;
            memset(s.room.view.data, 0xff, s.room.view.rows * s.room.view.cols * sizeof(float)); /* no numbers */
            qd_attention_apply_with(w.kernel, w.products, &s.attention, qd_matf_const(s.q.view),
                                    qd_matf_const(s.k.view), qd_matf_const(s.v.view), s.room.view, s.out.view);
            for (size_t t = 0; t < s.length; t++)
                for (size_t head = 0; head < s.attention.heads; head++)
                    check_position(&s, t, head);
        }
        close_scene(&s);
    }
}

static void attend_all(scene *s, const way *w)
{
    s->attention.arithmetic = w->arithmetic;
    qd_attention_apply_with(w->kernel, w->products, &s->attention, qd_matf_const(s->q.view), qd_matf_const(s->k.view),
                            qd_matf_const(s->v.view), s->room.view, s->out.view);
}

/* Also of a scale at which the largest product is the smallest score, or none is larger than another. */
static void scales_have_any_sign(void **state)
{
    (void)state;
    static const float scales[] = { -0.3f, 0 };
    way w;
    for (size_t c = 0; c < QD_LENGTH(scales); c++)
        for (size_t n = 0; way_at(n, &w); n++) {
            scene s;
            if (!w.kernel->supported())
                continue;
            open_scene(&(qd_attention){ 2, 1, 40, 90, scales[c], 0, 0 }, 150, 4, &s);
            attend_all(&s, &w);
            for (size_t t = 0; t < s.length; t++)
                for (size_t head = 0; head < s.attention.heads; head++)
                    check_position(&s, t, head);
            close_scene(&s);
        }
}

/* A score of -inf weighs nothing; one that is no number is in every output of those that see it, and in no other. */
static void scores_without_a_number_are_not_hidden(void **state)
{
    (void)state;
    enum { LOWEST = 70, BROKEN = 75, BROKEN_QUERY = 72, WINDOW = 66 };
    static const float caps[] = { 0, 3 };
    way w;
    for (size_t c = 0; c < QD_LENGTH(caps); c++)
        for (size_t n = 0; way_at(n, &w); n++) {
            scene s;
            if (!w.kernel->supported())
                continue;
            open_scene(&(qd_attention){ 2, 2, 20, WINDOW, 0.3f, caps[c], 0 }, 200, 2, &s);
            for (size_t i = 0; i < s.q.view.rows * s.q.view.cols; i++)
                s.q.view.data[i] = fabsf(s.q.view.data[i]) + 0.5f;
            qd_matf_row(s.k.view, LOWEST)[3] = -INFINITY;
            qd_matf_row(s.k.view, BROKEN)[5] = NAN; /* of the first head */
            qd_matf_row(s.q.view, BROKEN_QUERY)[7] = NAN;
            attend_all(&s, &w);
            for (size_t t = 0; t < s.length; t++)
                if (t == BROKEN_QUERY || (t >= BROKEN && t < BROKEN + WINDOW))
                    for (size_t i = 0; i < s.attention.head_dim; i++)
                        assert_true(isnan(qd_matf_row(s.out.view, t)[i]));
                else
                    check_position(&s, t, 0);
            for (size_t t = 0; t < s.length; t++)
                check_position(&s, t, 1);
            close_scene(&s);
        }
}

#ifdef QD_PRODUCT_X86
/* Of which attention's weights are made in place. */
static void left_panels_are_rows_where_they_are_said_to_be(void **state)
{
    (void)state;
    enum { PRODUCTS = 3 * QD_PANEL_STEP, MOST = 96 };
    const qd_product_kernel *kernels[] = { &qd_product_emulated, &qd_product_avx512 };
    float x[MOST * PRODUCTS];
    uint16_t panel[MOST * PRODUCTS];
    if (!qd_has_avx512_bf16())
        skip();
    fill(qd_matf_view(x, MOST, PRODUCTS), 7, 1);
    for (size_t n = 0; n < QD_LENGTH(kernels); n++) {
        size_t width = kernels[n]->width;
        assert_true(kernels[n]->left_rows && width <= MOST);
        kernels[n]->pack_rows(qd_cmatf_view(x, width, PRODUCTS), QD_PANEL_LEFT, panel);
        for (size_t i = 0; i < width; i++)
            for (size_t k = 0; k < PRODUCTS; k++)
                assert_int_equal(
                    panel[k / QD_PANEL_STEP * QD_PANEL_STEP * width + i * QD_PANEL_STEP + k % QD_PANEL_STEP],
                    qd_float_to_bf16(x[i * PRODUCTS + k]));
    }
}

/* Its exponential: all of a range closely, 1 at 0 so that sums keep their bits while the largest score stays, and the ends. */
static void weights_are_powers_of_two(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16 };
    static float x[COUNT], power[COUNT];
    double worst = 0;
    if (!qd_has_avx512_bf16())
        skip();
    for (size_t i = 0; i < COUNT; i++)
        x[i] = (float)(-(i % 2 == 0 ? 126 : 2) * qd_rng_uniform(8, i));
    qd_attention_powers(x, COUNT, power);
    for (size_t i = 0; i < COUNT; i++)
        worst = fmax(worst, fabs((double)power[i] / exp((double)x[i] * log(2)) - 1));
    check_near(worst, 0, 1.7e-7);
    float ends[16] = { 0, -0.0f, -1, -2, -126, -0x1p-40f, -200, -1e30f, -FLT_MAX, -INFINITY, NAN };
    static const float want[] = { 1, 1, 0.5f, 0.25f, 0x1p-126f, 1, 0, 0, 0, 0 };
    qd_attention_powers(ends, QD_LENGTH(ends), power);
    for (size_t i = 0; i < QD_LENGTH(want); i++)
        check_near((double)power[i], (double)want[i], i < 2 || i > 5 ? 0 : 1.7e-7 * (double)want[i]);
    assert_true(isnan(power[QD_LENGTH(want)]));
}
#endif

/* The same numbers but for the order of sums, which now and then rounds a weight the other way. */
static void ways_of_bf16_agree(void **state)
{
    (void)state;
    way w;
    qd_error err = { 0 };
    for (size_t c = 0; c < QD_LENGTH(cases); c++) {
        scene s;
        qd_matf_buf first = { 0 };
        open_scene(&cases[c].attention, cases[c].length, 2, &s);
        check_ok(qd_matf_buf_init(&first, s.out.view.rows, s.out.view.cols, &err));
        s.attention.arithmetic = QD_ARITHMETIC_BFLOAT16;
        size_t count = first.view.rows * first.view.cols, found = 0;
        for (size_t n = 0; way_at(n, &w); n++) {
            if (!w.kernel->supported() || w.arithmetic != QD_ARITHMETIC_BFLOAT16)
                continue;
            qd_attention_apply_with(w.kernel, w.products, &s.attention, qd_matf_const(s.q.view),
                                    qd_matf_const(s.k.view), qd_matf_const(s.v.view), s.room.view,
                                    found++ == 0 ? first.view : s.out.view);
            double above = 0, below = 0;
            for (size_t i = 0; found > 1 && i < count; i++) {
                double difference = (double)(s.out.view.data[i] - first.view.data[i]);
                above += difference * difference;
                below += (double)first.view.data[i] * (double)first.view.data[i];
            }
            check_near(found > 1 ? sqrt(above / below) : 0, 0, 3e-5);
        }
        qd_matf_buf_fini(&first);
        close_scene(&s);
    }
}

/* Positions [first, first + count) alone, behind everything before them. */
static void attend_part(scene *s, const way *w, size_t first, size_t count, qd_matf out)
{
    size_t kept = s->k.view.cols, wide = s->q.view.cols, seen = first + count;
    qd_attention_apply_with(w->kernel, w->products, &s->attention,
                            qd_matf_const(qd_matf_block(s->q.view, first, 0, count, wide)),
                            qd_matf_const(qd_matf_block(s->k.view, 0, 0, seen, kept)),
                            qd_matf_const(qd_matf_block(s->v.view, 0, 0, seen, kept)), s->room.view,
                            qd_matf_block(out, first, 0, count, wide));
}

static void parts_of_a_sequence_give_the_bits_of_the_whole(void **state)
{
    (void)state;
    static const size_t steps[] = { 1, 3, 50, 64, 129 };
    way w;
    qd_error err = { 0 };
    for (size_t c = 0; c < QD_LENGTH(cases); c++)
        for (size_t n = 0; way_at(n, &w); n++) {
            scene s;
            qd_matf_buf parts = { 0 };
            if (!w.kernel->supported())
                continue;
            open_scene(&cases[c].attention, cases[c].length, cases[c].loud, &s);
            s.attention.arithmetic = w.arithmetic;
            check_ok(qd_matf_buf_init(&parts, s.out.view.rows, s.out.view.cols, &err));
            attend_part(&s, &w, 0, s.length, s.out.view);
            for (size_t k = 0; k < QD_LENGTH(steps); k++) {
                for (size_t first = 0; first < s.length; first += steps[k])
                    attend_part(&s, &w, first, qd_min_size(steps[k], s.length - first), parts.view);
                assert_memory_equal(parts.view.data, s.out.view.data,
                                    s.out.view.rows * s.out.view.cols * sizeof(float));
            }
            qd_matf_buf_fini(&parts);
            close_scene(&s);
        }
}

static void the_last_position_alone_is_the_last_of_all(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t c = 0; c < QD_LENGTH(cases); c++) {
        scene s;
        qd_matf_buf scores = { 0 };
        const qd_attention *a = &cases[c].attention;
        open_scene(a, cases[c].length, cases[c].loud, &s);
        check_ok(qd_matf_buf_init(&scores, a->heads / a->kv_heads, s.length, &err));
        qd_attention_last(a, qd_matf_const(qd_matf_block(s.q.view, s.length - 1, 0, 1, s.q.view.cols)),
                          qd_matf_const(s.k.view), qd_matf_const(s.v.view), scores.view,
                          qd_matf_block(s.out.view, s.length - 1, 0, 1, s.out.view.cols));
        for (size_t head = 0; head < a->heads; head++)
            check_position(&s, s.length - 1, head);
        qd_matf_buf_fini(&scores);
        close_scene(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_gives_the_definition),
        cmocka_unit_test(scales_have_any_sign),
        cmocka_unit_test(scores_without_a_number_are_not_hidden),
#ifdef QD_PRODUCT_X86
        cmocka_unit_test(left_panels_are_rows_where_they_are_said_to_be),
        cmocka_unit_test(weights_are_powers_of_two),
#endif
        cmocka_unit_test(the_last_position_alone_is_the_last_of_all),
        cmocka_unit_test(ways_of_bf16_agree),
        cmocka_unit_test(parts_of_a_sequence_give_the_bits_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
