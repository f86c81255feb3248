/* test_product.c: linear layers in bf16 by every way that this processor has, against float64 sums over the rounded operands. */
#include "check.h"

#include "base/mem.h"
#include "base/rng.h"
#include "linalg/gemm.h"
#include "linalg/half.h"
#include "linalg/product_kernels.h"
#include "tiles_emulated.h"

#include "linalg/product_amx.c"

typedef void claim_of_kernel(const qd_product_kernel *kernel);

static void for_each_kernel(claim_of_kernel *claim)
{
    for (size_t k = 0; qd_product_kernel_at(k) != NULL; k++)
        if (qd_product_kernel_at(k)->supported())
            claim(qd_product_kernel_at(k));
#ifdef QD_PRODUCT_X86
    if (qd_has_avx512_bf16()) /* which AMX's panels are packed with */
        claim(&qd_product_emulated);
#endif
}

static float rounded(float value)
{
    return qd_bf16_to_float(qd_float_to_bf16(value));
}

/* Rows further apart than they are long, so that strides matter. */
typedef struct operands {
    qd_matf_buf x, w, out;
} operands;

static qd_cmatf cut(const qd_matf_buf *buf)
{
    return qd_cmatf_block(qd_matf_const(buf->view), 0, 0, buf->view.rows, buf->view.cols - 3);
}

static operands make(size_t tokens, size_t in, size_t out)
{
    qd_error err = { 0 };
    operands o = { 0 };
    qd_matf_buf *all[] = { &o.x, &o.w, &o.out };
    const size_t rows[] = { tokens, out, tokens }, cols[] = { in, in, out };
    for (size_t b = 0; b < 3; b++) {
        check_ok(qd_matf_buf_init(all[b], rows[b], cols[b] + 3, &err));
        for (size_t i = 0; i < rows[b] * (cols[b] + 3); i++)
            all[b]->view.data[i] = (float)(4.0 * qd_rng_uniform(qd_rng_key(b, tokens, in), i) - 2.0);
    }
    return o;
}

static void drop(operands *o)
{
    qd_matf_buf_fini(&o->x);
    qd_matf_buf_fini(&o->w);
    qd_matf_buf_fini(&o->out);
}

static void apply(const qd_product_kernel *kernel, qd_cmatf x, qd_cmatf w, float beta, qd_matf out)
{
    qd_error err = { 0 };
    qd_packed *packed = NULL;
    check_ok(qd_packed_create_by(kernel, w, &packed, &err));
    qd_packed_apply(packed, x, beta, out);
    qd_packed_destroy(packed);
}

/* Of several outputs and inputs longer than a block holds, so that it is packed piecewise. */
static void together_of(const qd_product_kernel *kernel)
{
    enum { TOKENS = 300, IN = 2100, LAYERS = 3 };
    static const size_t outs[LAYERS] = { 96, 1, 33 };
    qd_error err = { 0 };
    operands o[LAYERS];
    qd_packed *packed[LAYERS] = { NULL };
    qd_matf_buf alone[LAYERS] = { 0 };
    qd_matf out[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        o[i] = make(TOKENS, IN, outs[i]);
        out[i] = qd_matf_block(o[i].out.view, 0, 0, TOKENS, outs[i]);
        check_ok(qd_matf_buf_init(&alone[i], TOKENS, outs[i], &err));
        check_ok(qd_packed_create_by(kernel, cut(&o[i].w), &packed[i], &err));
        qd_packed_apply(packed[i], cut(&o[0].x), 0, alone[i].view);
    }
    const qd_packed *const all[LAYERS] = { packed[0], packed[1], packed[2] };
    qd_packed_apply_all(all, LAYERS, qd_operand_floats(cut(&o[0].x)), 0, out);
    for (size_t i = 0; i < LAYERS; i++) {
        for (size_t t = 0; t < TOKENS; t++)
            assert_memory_equal(qd_matf_row(out[i], t), qd_matf_row(alone[i].view, t), outs[i] * sizeof(float));
        qd_packed_destroy(packed[i]);
        qd_matf_buf_fini(&alone[i]);
        drop(&o[i]);
    }
}

/* What is stored in bf16 is taken as it is. */
static void stored_of(const qd_product_kernel *kernel)
{
    enum { LD = 2105 };
    static const size_t tokens[] = { 1, 50, 257, 300 }, ins[] = { 1, 33, 576, 2100 };
    uint16_t *halves = calloc(300 * LD, sizeof *halves);
    for (size_t n = 0; n < QD_LENGTH(tokens); n++) {
        operands o = make(tokens[n], ins[n], 70), p = make(tokens[n], ins[n], 70);
        qd_error err = { 0 };
        qd_packed *packed = NULL;
        qd_cmatf x = cut(&o.x);
        qd_matf from = qd_matf_block(o.out.view, 0, 0, tokens[n], 70),
                to = qd_matf_block(p.out.view, 0, 0, tokens[n], 70);
        for (size_t t = 0; t < x.rows; t++)
            for (size_t i = 0; i < LD; i++) /* what lies behind a row is not read as part of it */
                halves[t * LD + i] = i < x.cols ? qd_float_to_bf16(qd_cmatf_row(x, t)[i]) : 0x7f80;
        check_ok(qd_packed_create_by(kernel, cut(&o.w), &packed, &err));
        qd_packed_apply(packed, x, 0, from);
        qd_cmath stored = { x.rows, x.cols, LD, halves };
        qd_packed_apply_all((const qd_packed *const[]){ packed }, 1, qd_operand_halves(stored), 0, &to);
        for (size_t t = 0; t < x.rows; t++)
            assert_memory_equal(qd_matf_row(from, t), qd_matf_row(to, t), 70 * sizeof(float));
        qd_packed_destroy(packed);
        drop(&o);
        drop(&p);
    }
    free(halves);
}

static void stored_bf16_gives_the_bytes_of_what_it_stands_for(void **state)
{
    (void)state;
    for_each_kernel(stored_of);
}

static void layers_with_one_input_give_together_what_they_give_alone(void **state)
{
    (void)state;
    for_each_kernel(together_of);
}

/* No activation, but of both and of where they are. */
static void blend(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++)
        gate[i] = gate[i] * up[i] - 0.5f * up[i];
}

static void gated_of(const qd_product_kernel *kernel)
{
    static const size_t tokens[] = { 1, 50, 300 }, ins[] = { 33, 576, 1500 }, outs[] = { 5, 96, 257 };
    for (size_t n = 0; n < QD_LENGTH(tokens); n++) {
        operands o = make(tokens[n], ins[n], outs[n]), p = make(tokens[n], ins[n] + 1, outs[n]);
        qd_error err = { 0 };
        qd_packed *gate = NULL, *up = NULL;
        qd_matf_buf both[2] = { 0 };
        qd_matf out = qd_matf_block(o.out.view, 0, 0, tokens[n], outs[n]);
        check_ok(qd_packed_create_by(kernel, cut(&o.w), &gate, &err));
        check_ok(qd_packed_create_by(kernel, qd_cmatf_block(cut(&p.w), 0, 0, outs[n], ins[n]), &up, &err));
        for (size_t i = 0; i < 2; i++) {
            check_ok(qd_matf_buf_init(&both[i], tokens[n], outs[n], &err));
            qd_packed_apply(i == 0 ? gate : up, cut(&o.x), 0, both[i].view);
        }
        assert_true(qd_packed_apply_gated(gate, up, qd_operand_floats(cut(&o.x)), blend, out));
        for (size_t t = 0; t < tokens[n]; t++) {
            blend(qd_matf_row(both[0].view, t), qd_matf_row(both[1].view, t), outs[n]);
            assert_memory_equal(qd_matf_row(out, t), qd_matf_row(both[0].view, t), outs[n] * sizeof(float));
        }
        for (size_t i = 0; i < 2; i++)
            qd_matf_buf_fini(&both[i]);
        qd_packed_destroy(gate);
        qd_packed_destroy(up);
        drop(&o);
        drop(&p);
    }
}

static void gated_layers_are_the_two_layers_gated(void **state)
{
    (void)state;
    for_each_kernel(gated_of);
}

/* Longer inputs than are packed at once: the caller has to go another way, and knows it. */
static void gating_refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_packed *packed = NULL;
    operands o = make(3, QD_PRODUCT_DEPTH + 1, 4);
    qd_matf out = qd_matf_block(o.out.view, 0, 0, 3, 4);
    float before = out.data[0];
    check_ok(qd_packed_create(cut(&o.w), &packed, &err));
    assert_false(qd_packed_apply_gated(packed, packed, qd_operand_floats(cut(&o.x)), blend, out));
    assert_true(out.data[0] == before);
    qd_packed_destroy(packed);
    drop(&o);
}

/* Below, at and past a register, a panel, a large tile, a depth. */
static const struct {
    size_t tokens, in, out;
} shapes[] = { { 1, 1, 1 },     { 1, 2, 3 },    { 7, 31, 47 },    { 8, 32, 48 },   { 9, 33, 49 },
               { 17, 64, 16 },  { 48, 65, 96 }, { 50, 511, 130 }, { 3, 512, 257 }, { 129, 513, 33 },
               { 193, 96, 64 }, { 5, 1100, 5 }, { 257, 40, 129 }, { 2, 2050, 31 } };
enum { SHAPES = QD_LENGTH(shapes) };

static void sums_over_rounded_operands_of(const qd_product_kernel *kernel)
{
    for (size_t s = 0; s < SHAPES; s++)
        for (int beta = 0; beta < 2; beta++) {
            operands o = make(shapes[s].tokens, shapes[s].in, shapes[s].out),
                     before = make(shapes[s].tokens, shapes[s].in, shapes[s].out);
            apply(kernel, cut(&o.x), cut(&o.w), (float)beta,
                  qd_matf_block(o.out.view, 0, 0, shapes[s].tokens, shapes[s].out));
            for (size_t t = 0; t < shapes[s].tokens; t++)
                for (size_t j = 0; j < shapes[s].out; j++) {
                    double start = beta * (double)qd_matf_row(before.out.view, t)[j], want = start, size = fabs(start);
                    for (size_t i = 0; i < shapes[s].in; i++) {
                        double product =
                            (double)rounded(qd_matf_row(o.x.view, t)[i]) * (double)rounded(qd_matf_row(o.w.view, j)[i]);
                        want += product;
                        size += fabs(product);
                    }
                    check_near((double)qd_matf_row(o.out.view, t)[j], want, 1e-6 * size);
                }
            for (size_t t = 0; t < shapes[s].tokens; t++) /* and nothing beside it */
                assert_memory_equal(qd_matf_row(o.out.view, t) + shapes[s].out,
                                    qd_matf_row(before.out.view, t) + shapes[s].out, 3 * sizeof(float));
            drop(&o);
            drop(&before);
        }
}

static void sums_over_rounded_operands(void **state)
{
    (void)state;
    for_each_kernel(sums_over_rounded_operands_of);
}

static void near_float32_of(const qd_product_kernel *kernel)
{
    enum { TOKENS = 200, IN = 1536, OUT = 150 };
    qd_error err = { 0 };
    operands o = make(TOKENS, IN, OUT);
    qd_matf_buf plain = { 0 };
    check_ok(qd_matf_buf_init(&plain, TOKENS, OUT, &err));
    for (size_t i = 0; i < TOKENS * (IN + 3); i++)
        o.x.view.data[i] = rounded(o.x.view.data[i]);
    for (size_t i = 0; i < OUT * (IN + 3); i++)
        o.w.view.data[i] = rounded(o.w.view.data[i]);
    apply(kernel, cut(&o.x), cut(&o.w), 0, qd_matf_block(o.out.view, 0, 0, TOKENS, OUT));
    qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1, cut(&o.x), cut(&o.w), 0, plain.view);
    double above = 0, below = 0;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t j = 0; j < OUT; j++) {
            double want = (double)qd_matf_row(plain.view, t)[j], got = (double)qd_matf_row(o.out.view, t)[j];
            above += (got - want) * (got - want);
            below += want * want;
        }
    check_near(sqrt(above / below), 0, 1e-6);
    qd_matf_buf_fini(&plain);
    drop(&o);
}

static void within_a_millionth_of_float32_on_the_same_inputs(void **state)
{
    (void)state;
    for_each_kernel(near_float32_of);
}

static void cut_of(const qd_product_kernel *kernel)
{
    enum { TOKENS = 300, IN = 700, OUT = 100 };
    operands o = make(TOKENS, IN, OUT), pieces = make(TOKENS, IN, OUT);
    apply(kernel, cut(&o.x), cut(&o.w), 1, qd_matf_block(o.out.view, 0, 0, TOKENS, OUT));
    for (size_t i = 0; i < TOKENS * (IN + 3); i++)
        pieces.x.view.data[i] = rounded(pieces.x.view.data[i]);
    for (size_t t = 0, rows = 1; t < TOKENS; t += rows, rows = qd_min_size(2 * rows + 1, TOKENS - t))
        apply(kernel, qd_cmatf_block(cut(&pieces.x), t, 0, rows, IN), cut(&pieces.w), 1,
              qd_matf_block(pieces.out.view, t, 0, rows, OUT));
    assert_memory_equal(o.out.view.data, pieces.out.view.data, TOKENS * (OUT + 3) * sizeof(float));
    drop(&o);
    drop(&pieces);
}

/* So tasks may cut tokens as they like, and a rounded input may be stored in 16 bits. */
static void pieces_and_rounded_inputs_give_the_same_bytes(void **state)
{
    (void)state;
    for_each_kernel(cut_of);
}

/* Ways that are one body, compiled for several instruction sets. */
static void for_each_plain_kernel(claim_of_kernel *claim)
{
    static const qd_product_kernel *const plain[] = {
#ifdef QD_PRODUCT_X86
        &qd_product_avx512f,
        &qd_product_avx2,
#endif
        &qd_product_portable,
    };
    for (size_t k = 0; k < QD_LENGTH(plain); k++)
        if (plain[k]->supported())
            claim(plain[k]);
}

static void portable_of(const qd_product_kernel *kernel)
{
    for (size_t s = 0; s < SHAPES; s++)
        for (int beta = 0; beta < 2; beta++) {
            size_t tokens = shapes[s].tokens, in = shapes[s].in, out = shapes[s].out;
            operands o = make(tokens, in, out), portable = make(tokens, in, out);
            apply(kernel, cut(&o.x), cut(&o.w), (float)beta, qd_matf_block(o.out.view, 0, 0, tokens, out));
            apply(&qd_product_portable, cut(&o.x), cut(&o.w), (float)beta,
                  qd_matf_block(portable.out.view, 0, 0, tokens, out));
            assert_memory_equal(o.out.view.data, portable.out.view.data, tokens * (out + 3) * sizeof(float));
            drop(&o);
            drop(&portable);
        }
}

/* Fused or not, since products of bf16 are exact; whatever the place in a tile. */
static void every_instruction_set_gives_the_bytes_of_portable(void **state)
{
    (void)state;
    for_each_plain_kernel(portable_of);
}

/* Ties, what is below the normal, what overflows, no numbers with either sign, then any bits. */
static void words_of(const qd_product_kernel *kernel)
{
    static const uint32_t edges[] = { 0x00000000, 0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff,
                                      0x00000001, 0x00008000, 0x80018000, 0x7f7fffff, 0xff7f8000, 0x7f800000,
                                      0xff800000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000 };
    float x[QD_PANEL_STEP * 96];
    uint16_t panels[2][QD_PANEL_STEP * 96];
    assert_int_equal(kernel->width, 96);
    for (size_t i = 0; i < QD_LENGTH(x); i++) {
        uint32_t bits = i < QD_LENGTH(edges) ? edges[i] : (uint32_t)qd_rng_bits(5, i);
        memcpy(x + i, &bits, sizeof bits);
    }
    kernel->pack_columns(qd_cmatf_view(x, QD_PANEL_STEP, 96), QD_PANEL_RIGHT, panels[0]);
    kernel->pack_rows(qd_cmatf_view(x, 96, QD_PANEL_STEP), QD_PANEL_LEFT, panels[1]);
    for (size_t i = 0; i < QD_LENGTH(x); i++) {
        assert_int_equal(panels[0][i], qd_float_to_bf16(x[i]));
        assert_int_equal(panels[1][i % QD_PANEL_STEP * 96 + i / QD_PANEL_STEP], qd_float_to_bf16(x[i]));
    }
}

static void every_instruction_set_rounds_as_half_does(void **state)
{
    (void)state;
    for_each_plain_kernel(words_of);
}

static void bad_of(const qd_product_kernel *kernel)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3.4e38f }; /* the last rounds to infinity */
    enum { TOKENS = 60, IN = 37, OUT = 50, TOKEN = 50, OUTPUT = 49 };
    for (size_t b = 0; b < QD_LENGTH(bad); b++) {
        operands o = make(TOKENS, IN, OUT);
        qd_matf_row(o.x.view, TOKEN)[IN - 1] = bad[b];
        qd_matf_row(o.w.view, OUTPUT)[0] = bad[b];
        apply(kernel, cut(&o.x), cut(&o.w), 0, qd_matf_block(o.out.view, 0, 0, TOKENS, OUT));
        for (size_t t = 0; t < TOKENS; t++)
            for (size_t j = 0; j < OUT; j++)
                assert_int_equal(isfinite(qd_matf_row(o.out.view, t)[j]) != 0, t != TOKEN && j != OUTPUT);
        drop(&o);
    }
}

static void what_is_not_finite_shows_and_stays_where_it_is(void **state)
{
    (void)state;
    for_each_kernel(bad_of);
}

static void panels_of(const qd_product_kernel *kernel)
{
    enum { PRODUCTS = 77 };
    for (size_t features = 1; features <= kernel->width; features += features == 1 ? kernel->width - 2 : 1)
        for (int side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
            qd_error err = { 0 };
            operands o = make(features, PRODUCTS, 1);
            qd_matf_buf turned = { 0 };
            uint16_t *panels = NULL;
            size_t size = kernel->width * qd_panel_depth(PRODUCTS);
            check_ok(qd_matf_buf_init(&turned, PRODUCTS, features + 1, &err));
            check_ok(qd_alloc(2 * size, sizeof *panels, (void **)&panels, &err));
            memset(panels, 0xa5, 2 * size * sizeof *panels);
            qd_matf_row(o.x.view, features - 1)[PRODUCTS - 1] = -9.75f;
            for (size_t k = 0; k < PRODUCTS; k++)
                for (size_t i = 0; i < features; i++)
                    qd_matf_row(turned.view, k)[i] = qd_matf_row(o.x.view, i)[k];
            qd_cmatf columns = qd_cmatf_block(qd_matf_const(turned.view), 0, 0, PRODUCTS, features);
            kernel->pack_rows(cut(&o.x), (qd_panel_side)side, panels);
            uint32_t largest = kernel->pack_columns(columns, (qd_panel_side)side, panels + size);
            assert_memory_equal(panels, panels + size, size * sizeof *panels);
            float value = 9.75f;
            assert_memory_equal(&largest, &value, sizeof largest);
            assert_int_equal(qd_largest_bits(turned.view.data, PRODUCTS * (features + 1), 0), largest);
            free(panels);
            qd_matf_buf_fini(&turned);
            drop(&o);
        }
}

static void rows_and_columns_make_the_same_panels(void **state)
{
    (void)state;
    for_each_kernel(panels_of);
}

/* Of the kinds that a rounding treats in its own way: zeros, below the normal, infinite and no numbers, quiet or not, with either sign. */
static uint16_t any_half(size_t i, size_t kinds)
{
    static const uint16_t edges[] = { 0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x807f, 0x0080, 0x8080,
                                      0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7f81, 0xff81, 0x7fc0, 0xffff };
    uint64_t bits = qd_rng_bits(12, i);
    return bits % 3 == 0 ? edges[bits / 3 % kinds] : (uint16_t)(0x3f80 + (bits >> 32) % 0x80);
}

/* Halves of `features` and some behind them, which are not to be seen; kinds: of the edges, the first so many. */
static void check_halves(const qd_product_kernel *kernel, size_t products, size_t features, size_t kinds)
{
    enum { BEHIND = 5 };
    qd_error err = { 0 };
    qd_matf_buf wide = { 0 };
    uint16_t *panels = NULL, *halves = NULL;
    size_t ld = features + BEHIND, size = kernel->width * qd_panel_depth(products);
    check_ok(qd_matf_buf_init(&wide, products, ld, &err));
    check_ok(qd_alloc(2 * size, sizeof *panels, (void **)&panels, &err));
    check_ok(qd_alloc(products * ld, sizeof *halves, (void **)&halves, &err));
    for (size_t i = 0; i < products * ld; i++)
        halves[i] = i % ld < features ? any_half(i, kinds) : 0x7fff;
    qd_bf16_to_floats(halves, products * ld, wide.view.data);
    qd_cmath x = qd_cmath_block(qd_cmath_view(halves, products, ld), 0, 0, products, features);
    qd_cmatf same = qd_cmatf_block(qd_matf_const(wide.view), 0, 0, products, features);
    for (qd_panel_side side = QD_PANEL_LEFT; side <= QD_PANEL_RIGHT; side++) {
        memset(panels, 0xa5, size * sizeof *panels);
        memset(panels + size, 0x5a, size * sizeof *panels);
        assert_int_equal(kernel->pack_columns(same, side, panels), kernel->pack_columns_bf16(x, side, panels + size));
        assert_memory_equal(panels, panels + size, size * sizeof *panels);
    }
    free(halves);
    free(panels);
    qd_matf_buf_fini(&wide);
}

static void halves_of(const qd_product_kernel *kernel)
{
    static const size_t products[] = { 1, 2, 31, 32, 33, 64, 77 };
    enum { ZEROS = 2, FINITE = 10, ALL = 16 };
    for (size_t features = 1; features <= kernel->width; features++)
        for (size_t p = 0; p < QD_LENGTH(products); p++) {
            check_halves(kernel, products[p], features, ZEROS);
            check_halves(kernel, products[p], features, FINITE);
            check_halves(kernel, products[p], features, ALL);
        }
}

static void values_of_bf16_make_the_same_panels_as_widened_ones(void **state)
{
    (void)state;
    for_each_kernel(halves_of);
}

static void sizes_of(const qd_product_kernel *kernel)
{
    assert_true(kernel->side >= 1 && kernel->side * kernel->width * QD_PRODUCT_DEPTH <= QD_PRODUCT_BLOCK);
    assert_true(kernel->side * kernel->width * kernel->width <= QD_PRODUCT_SUMS);
    assert_true(kernel->depth <= QD_PRODUCT_DEPTH && kernel->least <= kernel->most && kernel->tiles >= 1);
    assert_int_equal(kernel->depth % QD_PANEL_STEP, 0);
}

/* But for AVX512-BF16 where it is not worth its while. */
static void the_first_way_that_the_processor_has_is_taken(void **state)
{
    (void)state;
    const qd_product_kernel *best = qd_product_kernel_best();
    for_each_kernel(sizes_of);
    assert_true(best->supported());
    for (size_t k = 0; qd_product_kernel_at(k) != best; k++)
#ifdef QD_PRODUCT_X86
        if (qd_product_kernel_at(k) != &qd_product_avx512 || __builtin_cpu_is("amd"))
#endif
            assert_false(qd_product_kernel_at(k)->supported());
    assert_string_equal(qd_product_name(), best->name);
    assert_true(qd_packed_bytes(1000, 1000) >= 2000000 && qd_packed_bytes(1000, 1000) < 2500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_rounded_operands),
        cmocka_unit_test(within_a_millionth_of_float32_on_the_same_inputs),
        cmocka_unit_test(layers_with_one_input_give_together_what_they_give_alone),
        cmocka_unit_test(stored_bf16_gives_the_bytes_of_what_it_stands_for),
        cmocka_unit_test(gated_layers_are_the_two_layers_gated),
        cmocka_unit_test(gating_refuses_what_it_cannot_hold),
        cmocka_unit_test(pieces_and_rounded_inputs_give_the_same_bytes),
        cmocka_unit_test(every_instruction_set_gives_the_bytes_of_portable),
        cmocka_unit_test(every_instruction_set_rounds_as_half_does),
        cmocka_unit_test(what_is_not_finite_shows_and_stays_where_it_is),
        cmocka_unit_test(rows_and_columns_make_the_same_panels),
        cmocka_unit_test(values_of_bf16_make_the_same_panels_as_widened_ones),
        cmocka_unit_test(the_first_way_that_the_processor_has_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
