/* test_ggml_encode.c: every ggml type that we write: rows of random grids as blocks, read by the decoders of core/model (which know
 * nothing of these), give the grid's own weights bit for bit; and the way back gives grid and codes. */
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "export/ggml_encode.h"
#include "linalg/half.h"

enum { ROWS = 5, COLS = 512 };

/* A layer of random codes on a grid. */
typedef struct layer {
    qd_grid grid;
    uint8_t codes[ROWS * COLS];
    size_t cols;
} layer;

static float half_of(double value)
{
    return qd_f16_to_float(qd_float_to_f16((float)value));
}

static float draw(uint64_t key, uint64_t at, double low, double high)
{
    return half_of(low + (high - low) * qd_rng_uniform(key, at));
}

static float random_small(uint64_t key, uint64_t at)
{
    return ldexpf((float)(8 + qd_rng_below(key, at, 8)), (int)qd_rng_below(key, at + 100000, 12) - 9);
}

static void fill_offsets(layer *l, const qd_ggml_encoder *e, size_t r, uint64_t key)
{
    for (size_t g = 0; g < l->grid.groups; g++) {
        float *offset = &qd_matf_row(l->grid.offset.view, r)[g];
        if (e->units) {
            size_t block = g * l->grid.group_size / 256;
            float *unit = &qd_matf_row(l->grid.offset_unit.view, r)[block];
            *unit = g * l->grid.group_size % 256 == 0 ? draw(key, 900 + block, 0.001, 0.01) : *unit;
            *offset = *unit * (float)qd_rng_below(key, 700 + g, e->layout == &qd_ggml_layout_q2_k ? 16 : 64);
        } else
            *offset = draw(key, 700 + g, -2, 2);
        qd_matf_row(l->grid.zero.view, r)[g] = *offset / qd_matf_row(l->grid.scale.view, r)[g];
    }
}

/* Scales, zeros and offsets as the type's own grid has them: anything the blocks can hold. */
static void fill_grid(layer *l, const qd_ggml_encoder *e, uint64_t seed)
{
    int high = e->layout == &qd_ggml_layout_q2_k   ? 15
               : e->layout == &qd_ggml_layout_q3_k ? 31
               : e->layout == &qd_ggml_layout_q6_k ? 127
                                                   : 63;
    for (size_t r = 0; r < ROWS; r++) {
        uint64_t key = qd_rng_key(seed, r, 1);
        for (size_t g = 0; g < l->grid.groups; g++) {
            float *scale = &qd_matf_row(l->grid.scale.view, r)[g], *zero = &qd_matf_row(l->grid.zero.view, r)[g];
            if (e->units) {
                size_t block = g * l->grid.group_size / 256;
                float *unit = &qd_matf_row(l->grid.unit.view, r)[block];
                *unit = g * l->grid.group_size % 256 == 0 ? draw(key, 500 + block, 0.0001, 0.01) : *unit;
                *scale = *unit * (float)(1 + qd_rng_below(key, g, (uint64_t)high));
            } else if (l->grid.unit.view.rows > 0) {
                qd_matf_row(l->grid.unit.view, r)[0] = 0x1p-5f;
                *scale = 0x1p-5f * random_small(key, g);
            } else if (e->layout == &qd_ggml_layout_mxfp4)
                *scale = ldexpf(1.0f, (int)qd_rng_below(key, g, 255) - 127);
            else
                *scale = draw(key, g, 0.0001, 1);
            if (l->grid.zero_kind == QD_ZERO_INTEGER)
                *zero = (float)((l->grid.high + 1) / 2) - (float)qd_rng_below(key, 300 + g, 2);
        }
        if (l->grid.offset.view.rows > 0)
            fill_offsets(l, e, r, key);
    }
}

static void fill_codes(layer *l, uint64_t seed)
{
    uint64_t key = qd_rng_key(seed, 0, 2), count = (uint64_t)(l->grid.high - l->grid.low + 1);
    for (size_t i = 0; i < ROWS * l->cols; i++)
        l->codes[i] = (uint8_t)qd_rng_below(key, i, count);
}

static void layer_fini(layer *l)
{
    qd_grid_fini(&l->grid);
}

/* -0, which a negative scale makes, is the 0 of the grid. */
static void check_same(const float *got, const float *wanted, size_t count, const char *type)
{
    for (size_t i = 0; i < count; i++) {
        float a = got[i] + 0.0f, b = wanted[i] + 0.0f;
        if (memcmp(&a, &b, sizeof a) != 0) {
            print_error("%s, weight %zu: %.9g, want %.9g\n", type, i, (double)a, (double)b);
            fail();
        }
    }
}

static unsigned char *check_encodes(const qd_ggml_encoder *e, const layer *l)
{
    qd_error err = { 0 };
    size_t bytes = qd_ggml_row_bytes(e, l->cols);
    unsigned char *blocks = NULL;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf wanted = { 0 };
    QD_AUTO(qd_free_pointer) float *found = NULL;
    const qd_ggml_type *type = qd_ggml_type_named(e->type);
    assert_non_null(type);
    assert_int_equal(type->dtype.block, e->layout->block);
    assert_int_equal(type->dtype.block_bytes, e->layout->bytes);
    check_ok(qd_alloc(ROWS, bytes, (void **)&blocks, &err));
    check_ok(qd_alloc(l->cols, sizeof *found, (void **)&found, &err));
    check_ok(qd_matf_buf_init(&wanted, ROWS, l->cols, &err));
    qd_grid_dequantize(&l->grid, l->codes, wanted.view);
    for (size_t r = 0; r < ROWS; r++) {
        check_ok(qd_ggml_encode_row(e, &l->grid, r, l->codes + r * l->cols, l->cols, blocks + r * bytes, &err));
        type->dtype.to_floats(blocks + r * bytes, l->cols, found);
        float unit = e->own_scale_type != NULL && !e->units ? qd_matf_row(l->grid.unit.view, r)[0] : 1.0f;
        for (size_t i = 0; i < l->cols; i++)
            found[i] *= unit;
        check_same(found, qd_matf_row(wanted.view, r), l->cols, e->type);
    }
    return blocks;
}

static void every_type_holds_the_grid_it_has_of_its_own(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            const qd_ggml_encoder *e = qd_ggml_encoder_at(v);
            QD_AUTO(layer_fini) layer l = { .cols = COLS };
            check_ok(qd_ggml_grid_init(e, ROWS, COLS, &l.grid, &err));
            fill_grid(&l, e, seed + 100 * v);
            fill_codes(&l, seed + 100 * v);
            free(check_encodes(e, &l));
        }
}

static void check_buf(qd_matf found, qd_matf wanted, const char *what, const char *type)
{
    assert_int_equal(found.rows, wanted.rows);
    assert_int_equal(found.cols, wanted.cols);
    for (size_t r = 0; r < wanted.rows; r++)
        if (memcmp(qd_matf_row(found, r), qd_matf_row(wanted, r), wanted.cols * sizeof(float)) != 0) {
            print_error("%s: %s of row %zu differs\n", type, what, r);
            fail();
        }
}

static void blocks_give_back_the_grid_and_the_codes(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        for (uint64_t seed = 0; seed < 10; seed++) {
            const qd_ggml_encoder *e = qd_ggml_encoder_at(v);
            QD_AUTO(layer_fini) layer l = { .cols = COLS }, back = { .cols = COLS };
            check_ok(qd_ggml_grid_init(e, ROWS, COLS, &l.grid, &err));
            check_ok(qd_ggml_grid_init(e, ROWS, COLS, &back.grid, &err));
            fill_grid(&l, e, seed + 7);
            fill_codes(&l, seed);
            QD_AUTO(qd_free_pointer) unsigned char *blocks = check_encodes(e, &l);
            for (size_t r = 0; r < ROWS; r++) {
                float unit = e->own_scale_type != NULL && !e->units ? 0x1p-5f : 1.0f;
                check_ok(qd_ggml_decode_row(e, blocks + r * qd_ggml_row_bytes(e, COLS), unit, &back.grid, r,
                                            back.codes + r * COLS, COLS, &err));
            }
            assert_memory_equal(back.codes, l.codes, sizeof l.codes);
            assert_int_equal(back.grid.low, l.grid.low);
            check_buf(back.grid.scale.view, l.grid.scale.view, "scale", e->type);
            check_buf(back.grid.zero.view, l.grid.zero.view, "zero", e->type);
            check_buf(back.grid.offset.view, l.grid.offset.view, "offset", e->type);
            check_buf(back.grid.unit.view, l.grid.unit.view, "unit", e->type);
            check_buf(back.grid.offset_unit.view, l.grid.offset_unit.view, "offset unit", e->type);
        }
}

/* Blocks of any bytes, as strangers write them: where the way back finds a grid, it is that of the values, and they are the same blocks'
 * values when written again. */
static void any_blocks_read_as_a_grid_decode_to_its_weights(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++) {
        const qd_ggml_encoder *e = qd_ggml_encoder_at(v);
        const qd_ggml_type *type = qd_ggml_type_named(e->type);
        size_t read = 0;
        for (uint64_t seed = 0; seed < 400; seed++) {
            unsigned char bytes[2 * QD_GGML_BYTES_MAX], again[2 * QD_GGML_BYTES_MAX];
            float found[COLS];
            uint8_t codes[COLS];
            QD_AUTO(qd_grid_fini) qd_grid grid = { 0 };
            size_t cols = 2 * e->layout->block;
            for (size_t i = 0; i < sizeof bytes; i++) /* many zeros: scales of 0 are what strangers have */
                bytes[i] = seed % 3 == 0 && i % 7 < 5 ? 0 : (unsigned char)qd_rng_bits(qd_rng_key(seed, v, 5), i);
            for (size_t i = 0; e->layout == &qd_ggml_layout_tq2_0 && seed % 2 == 0 && i < sizeof bytes; i++)
                bytes[i] = i % e->layout->bytes < 64 ? bytes[i] & 0x55 : bytes[i]; /* 3 is no trit */
            check_ok(qd_ggml_grid_init(e, 1, cols, &grid, &err));
            qd_code code = qd_ggml_decode_row(e, bytes, 1.0f, &grid, 0, codes, cols, &err);
            if (code != QD_OK) {
                assert_true(code == QD_EUNSUPPORTED || code == QD_ENUMERIC);
                continue;
            }
            read++;
            QD_AUTO(qd_matf_buf_fini) qd_matf_buf wanted = { 0 };
            check_ok(qd_matf_buf_init(&wanted, 1, cols, &err));
            qd_grid_dequantize(&grid, codes, wanted.view);
            type->dtype.to_floats(bytes, cols, found);
            check_same(found, qd_matf_row(wanted.view, 0), cols, e->type);
            check_ok(qd_ggml_encode_row(e, &grid, 0, codes, cols, again, &err));
            type->dtype.to_floats(again, cols, found);
            check_same(found, qd_matf_row(wanted.view, 0), cols, e->type);
        }
        if (read < 20) {
            print_error("%s: only %zu of 400 were read\n", e->type, read);
            fail();
        }
    }
}

/* Grids that are none of a type's own. */
typedef struct foreign {
    const char *variant, *alphabet;
    qd_zero_kind zero;
    double bits;
    size_t group_size, cols;
    qd_code wanted;
} foreign;
static const foreign grids[] = {
    { "q4_0", "int", QD_ZERO_NONE, 4, 32, 96, QD_OK },
    { "q4_0", "int", QD_ZERO_NONE, 4, 128, 320, QD_OK }, /* the last group is short */
    { "q4_0", "int", QD_ZERO_NONE, 4, 0, 96, QD_OK },
    { "q4_0", "int", QD_ZERO_NONE, 2, 64, 128, QD_OK },
    { "q4_0", "int-asymmetric", QD_ZERO_INTEGER, 3, 32, 64, QD_OK },
    { "q4_0", "int-asymmetric", QD_ZERO_INTEGER, 4, 32, 64, QD_EUNSUPPORTED },
    { "q4_0", "int", QD_ZERO_NONE, 4, 16, 64, QD_EUNSUPPORTED },
    { "q4_0", "int", QD_ZERO_NONE, 5, 32, 64, QD_EUNSUPPORTED },
    { "q4_0", "e2m1", QD_ZERO_NONE, 4, 32, 64, QD_EUNSUPPORTED },
    { "q4_0", "int-asymmetric", QD_ZERO_FLOAT, 4, 32, 64, QD_EUNSUPPORTED },
    { "q4_1", "int", QD_ZERO_NONE, 4, 32, 64, QD_OK },
    { "q4_1", "int-asymmetric", QD_ZERO_FLOAT, 4, 32, 64, QD_EUNSUPPORTED },
    { "q5_0", "int-asymmetric", QD_ZERO_INTEGER, 4, 32, 96, QD_OK },
    { "q5_0", "int", QD_ZERO_NONE, 5, 64, 128, QD_OK },
    { "q5_1", "int", QD_ZERO_NONE, 5, 32, 64, QD_OK },
    { "q8_0", "int", QD_ZERO_NONE, 8, 0, 96, QD_OK },
    { "q8_0", "int-asymmetric", QD_ZERO_INTEGER, 6, 32, 96, QD_OK },
    { "q8_0", "int-asymmetric", QD_ZERO_INTEGER, 8, 32, 96, QD_EUNSUPPORTED },
    { "q2_0", "int", QD_ZERO_NONE, 2, 64, 128, QD_OK },
    { "q2_0", "int", QD_ZERO_NONE, 2, 0, 128, QD_OK },
    { "q2_0", "ternary", QD_ZERO_NONE, QD_BITS_THREE_LEVELS, 128, 128, QD_OK },
    { "tq1_0", "ternary", QD_ZERO_NONE, QD_BITS_THREE_LEVELS, 0, 512, QD_OK },
    { "tq2_0", "ternary", QD_ZERO_NONE, QD_BITS_THREE_LEVELS, 512, 512, QD_OK },
    { "tq2_0", "int", QD_ZERO_NONE, 2, 256, 256, QD_EUNSUPPORTED },
    { "q4_k", "int", QD_ZERO_NONE, 4, 0, 512, QD_OK },
    { "q4_k", "int-asymmetric", QD_ZERO_INTEGER, 4, 256, 512, QD_OK },
    { "q4_k", "int", QD_ZERO_NONE, 4, 32, 256, QD_EUNSUPPORTED }, /* scales without a common unit */
    { "q5_k", "int", QD_ZERO_NONE, 5, 256, 512, QD_OK },
    { "q6_k", "int-asymmetric", QD_ZERO_INTEGER, 5, 0, 256, QD_OK },
    { "q3_k", "int", QD_ZERO_NONE, 3, 0, 256, QD_OK },
    { "q2_k", "int", QD_ZERO_NONE, 2, 256, 256, QD_OK },
    { "mxfp4", "int", QD_ZERO_NONE, 4, 32, 64, QD_EUNSUPPORTED },
    { "iq4_nl", "e2m1", QD_ZERO_NONE, 4, 32, 64, QD_EUNSUPPORTED },
};

static void make_foreign(const foreign *f, layer *l)
{
    qd_error err = { 0 };
    const qd_grid_spec spec = {
        .alphabet = qd_alphabet_find(f->alphabet), .zero = f->zero, .bits = f->bits, .group_size = f->group_size
    };
    qd_grid_shape(&spec, f->cols, &l->grid);
    l->cols = f->cols;
    check_ok(qd_matf_buf_init(&l->grid.scale, ROWS, l->grid.groups, &err));
    check_ok(qd_matf_buf_init(&l->grid.zero, ROWS, l->grid.groups, &err));
    for (size_t r = 0; r < ROWS; r++)
        for (size_t g = 0; g < l->grid.groups; g++) {
            uint64_t key = qd_rng_key(r, g, (uint64_t)f->bits);
            qd_matf_row(l->grid.scale.view, r)[g] = draw(key, 0, 0.001, 0.1);
            qd_matf_row(l->grid.zero.view, r)[g] = f->zero == QD_ZERO_NONE ? 0.0f
                                                   : f->zero == QD_ZERO_FLOAT
                                                       ? 3.25f
                                                       : (float)qd_rng_below(key, 1, (uint64_t)l->grid.high + 1);
        }
    fill_codes(l, 3);
}

static const qd_ggml_encoder *variant_of(const char *name)
{
    for (size_t v = 0; qd_ggml_encoder_at(v) != NULL; v++)
        if (strcmp(qd_ggml_encoder_at(v)->variant, name) == 0)
            return qd_ggml_encoder_at(v);
    fail_msg("no variant '%s'", name);
    return NULL;
}

/* What `check` lets in, blocks hold; what it refuses is refused there too, or by the numbers. */
static void grids_of_other_containers_are_held_exactly_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(grids); i++) {
        qd_error err = { 0 }, why = { 0 };
        unsigned char row[2048];
        const qd_ggml_encoder *e = variant_of(grids[i].variant);
        QD_AUTO(layer_fini) layer l = { .cols = 0 };
        make_foreign(&grids[i], &l);
        const qd_grid_spec spec = { .alphabet = qd_alphabet_find(grids[i].alphabet),
                                    .zero = grids[i].zero,
                                    .bits = grids[i].bits,
                                    .group_size = grids[i].group_size,
                                    .scale_type = qd_scale_type_find("f16") };
        qd_code code = QD_OK, checked = qd_ggml_encoder_check(e, &spec, &why);
        for (size_t r = 0; code == QD_OK && r < ROWS; r++)
            code = qd_ggml_encode_row(e, &l.grid, r, l.codes + r * l.cols, l.cols, row, &err);
        if (code != grids[i].wanted || (checked == QD_OK) != (code == QD_OK)) {
            print_error("%s, %s %g: '%s', check: '%s'\n", grids[i].variant, grids[i].alphabet, grids[i].bits, err.text,
                        why.text);
            fail();
        }
        if (code == QD_OK)
            free(check_encodes(e, &l));
        else {
            check_contains(err.text, e->type);
            check_contains(why.text, "does not go with format 'gguf:");
            check_contains(why.text, "'safetensors'");
        }
    }
}

static void scales_that_are_no_halves_are_refused_by_value(void **state)
{
    (void)state;
    qd_error err = { 0 };
    unsigned char row[64];
    QD_AUTO(layer_fini) layer l = { .cols = 0 };
    make_foreign(&grids[0], &l);
    qd_matf_row(l.grid.scale.view, 2)[1] = 0.1f;
    check_fails(qd_ggml_encode_row(variant_of("q4_0"), &l.grid, 2, l.codes, 96, row, &err), QD_EUNSUPPORTED);
    check_contains(err.text, "Q4_0 cannot hold row 2 from weight 32 on: scale 0.1");
    const qd_grid_spec spec = {
        .alphabet = qd_alphabet_find("int"), .bits = 4, .group_size = 32, .scale_type = qd_scale_type_find("bf16")
    };
    check_fails(qd_ggml_encoder_check(variant_of("q4_0"), &spec, &err), QD_EINVAL);
    check_contains(err.text, "scale.type: 'bf16'");
}

static void rows_that_are_no_whole_blocks_fall_back_as_llama_quantize_does(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "q2_k", "q4_0" }, { "q3_k", "q4_0" }, { "q4_k", "q5_0" },
                                            { "q5_k", "q5_1" }, { "q6_k", "q8_0" }, { "tq1_0", "q4_0" },
                                            { "tq2_0", "q4_0" } };
    for (size_t i = 0; i < QD_LENGTH(pairs); i++) {
        const qd_ggml_encoder *e = variant_of(pairs[i][0]);
        assert_ptr_equal(qd_ggml_encoder_for(e, 768), e);
        assert_ptr_equal(qd_ggml_encoder_for(e, 576), variant_of(pairs[i][1]));
        assert_null(qd_ggml_encoder_for(e, 90));
    }
    assert_null(qd_ggml_encoder_for(variant_of("q4_0"), 48));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_holds_the_grid_it_has_of_its_own),
        cmocka_unit_test(blocks_give_back_the_grid_and_the_codes),
        cmocka_unit_test(any_blocks_read_as_a_grid_decode_to_its_weights),
        cmocka_unit_test(grids_of_other_containers_are_held_exactly_or_refused),
        cmocka_unit_test(scales_that_are_no_halves_are_refused_by_value),
        cmocka_unit_test(rows_that_are_no_whole_blocks_fall_back_as_llama_quantize_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
