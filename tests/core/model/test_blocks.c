/* test_blocks.c: the building blocks of decoders, each beside a second formula in double: norms, activations, soft caps,
 * rotations; matrices that are stored turned. */
#include "forward.h"

#include "base/rng.h"
#include "linalg/gemm.h"
#include "model/activation.h"
#include "model/layers.h"
#include "model/rope.h"

static void fill(float *out, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(4 * qd_rng_uniform(key, i) - 2);
}

/* ---- norms ---- */

static void norms_are_their_definitions(void **state)
{
    (void)state;
    enum { T = 3, PIECES = 4, N = 6, COLS = PIECES * N };
    static const float eps = 1e-2f;
    for (int kind = QD_NORM_RMS; kind <= QD_NORM_LAYER; kind++)
        for (size_t rows = 1; rows <= PIECES; rows += PIECES - 1) { /* one weight for all pieces; one each */
            float x[T * COLS], out[T * COLS], w[PIECES * N], b[N];
            fill(x, T * COLS, 1);
            fill(w, rows * N, 2);
            fill(b, N, 3);
            const qd_norm norm = { (qd_norm_kind)kind,
                                   eps,
                                   { qd_matf_view(w, rows, N) },
                                   { qd_matf_view(kind == QD_NORM_LAYER ? b : NULL, 1, N) } };
            qd_norm_apply(&norm, qd_cmatf_view(x, T, COLS), qd_matf_view(out, T, COLS));
            for (size_t at = 0; at < T * COLS; at += N) {
                double mean = 0, square = 0;
                for (size_t i = 0; i < N; i++) {
                    mean += (double)x[at + i] / N;
                    square += (double)x[at + i] * (double)x[at + i] / N;
                }
                double about = kind == QD_NORM_LAYER ? mean : 0, spread = square - about * about;
                for (size_t i = 0; i < N; i++) {
                    double weight = (double)w[at / N % PIECES % rows * N + i],
                           shift = kind == QD_NORM_LAYER ? (double)b[i] : 0;
                    double want = weight * ((double)x[at + i] - about) / sqrt(spread + (double)eps) + shift;
                    check_near((double)out[at + i], want, 2e-6);
                }
            }
            qd_norm_apply(&norm, qd_cmatf_view(x, T, COLS), qd_matf_view(x, T, COLS)); /* in place */
            assert_memory_equal(x, out, sizeof x);
        }
}

/* ---- activations ---- */

static double activation_of(const char *name, double x)
{
    if (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0)
        return x / (1 + exp(-x));
    if (strcmp(name, "gelu") == 0)
        return x * erfc(-x / sqrt(2)) / 2;
    if (strcmp(name, "relu") == 0)
        return x > 0 ? x : 0;
    return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void activations_are_their_definitions(void **state)
{
    (void)state;
    enum { COUNT = 1001 };
    size_t rows = 0;
    for (const qd_activation *f; (f = qd_activation_at(rows)) != NULL; rows++)
        for (size_t k = 0; f->names[k] != NULL; k++) {
            float x[COUNT], gate[COUNT], up[COUNT];
            const qd_activation *found = NULL;
            qd_error err = { 0 };
            check_ok(qd_activation_find("hidden_act", f->names[k], &found, &err));
            assert_ptr_equal(found, f);
            for (size_t i = 0; i < COUNT; i++) {
                x[i] = gate[i] = ((float)i - 500) / 40; /* -12.5 .. 12.5 */
                up[i] = 1 + (float)(i % 7);
            }
            qd_activation_apply(f, x, COUNT);
            f->multiply(gate, up, COUNT);
            for (size_t i = 0; i < COUNT; i++) {
                double at = ((double)i - 500) / 40, want = activation_of(f->names[k], at);
                check_near((double)x[i], want, 1e-6 * fmax(1, fabs(at)));
                check_near((double)gate[i], want * (double)up[i], 1e-6 * (double)up[i] * fmax(1, fabs(at)));
            }
        }
    assert_in_range(rows, 4, 100);
}

/* Layers are gated some columns at a time: a panel of any way of products. */
static void gating_in_pieces_gives_the_bytes_of_whole_rows(void **state)
{
    (void)state;
    enum { COLUMNS = 257 };
    static const size_t widths[] = { 1, 32, 48, 96 };
    const qd_activation *f;
    for (size_t row = 0; (f = qd_activation_at(row)) != NULL; row++)
        for (size_t w = 0; w < QD_LENGTH(widths); w++) {
            float whole[COLUMNS], pieces[COLUMNS], up[COLUMNS];
            for (size_t i = 0; i < COLUMNS; i++) {
                whole[i] = pieces[i] = ((float)i - 128) / 17;
                up[i] = 1 + (float)(i % 7) / 3;
            }
            f->multiply(whole, up, COLUMNS);
            for (size_t i = 0; i < COLUMNS; i += widths[w])
                f->multiply(pieces + i, up + i, qd_min_size(widths[w], COLUMNS - i));
            assert_memory_equal(pieces, whole, sizeof whole);
        }
}

static void activations_keep_far_values(void **state)
{
    (void)state;
    for (size_t row = 0; qd_activation_at(row) != NULL; row++) {
        float far[] = { 1e3f, 1e8f, 1e15f, -1e3f, -1e8f, -1e15f, 0 };
        qd_activation_apply(qd_activation_at(row), far, QD_LENGTH(far));
        check_close((double)far[0], 1e3, 1e-6);
        check_close((double)far[1], 1e8, 1e-6);
        check_close((double)far[2], 1e15, 1e-6);
        for (size_t i = 3; i < QD_LENGTH(far); i++)
            check_near((double)far[i], 0, 1e-30);
    }
}

static void a_soft_cap_bounds_and_leaves_small_values(void **state)
{
    (void)state;
    float x[] = { -1e6f, -30, -1e-3f, 0, 1e-3f, 10, 30, 1e6f };
    static const double from[] = { -1e6, -30, -1e-3, 0, 1e-3, 10, 30, 1e6 };
    qd_soft_cap(30, x, QD_LENGTH(x));
    for (size_t i = 0; i < QD_LENGTH(x); i++) {
        double e = exp(-2 * fabs(from[i]) / 30), want = copysign(30 * (1 - e) / (1 + e), from[i]);
        check_near((double)x[i], want, 1e-6 * fmax(fabs(want), 1e-6));
    }
}

/* ---- rotations ---- */

static void read_rope(const char *text, size_t head_dim, size_t positions, qd_rope *out)
{
    qd_error err = { 0 };
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    check_ok(qd_rope_read(config, head_dim, positions, out, &err));
    json_decref(config);
}

static void dynamic_rotation_stretches_its_base_with_the_length(void **state)
{
    (void)state;
    qd_rope rope;
    read_rope("{\"rope_theta\":500.0,\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":3.0}}", 8, 16, &rope);
    for (size_t length = 1; length < 100; length += 7) {
        double n = (double)(length > 16 ? length : 16), base = 500 * pow(3 * n / 16 - 2, 8.0 / 6);
        assert_int_equal(qd_rope_form(&rope, length) == qd_rope_form(&rope, 1), length <= 16);
        for (size_t i = 0; i < 4; i++)
            check_close(qd_rope_frequency(&rope, i, length), exp(-2.0 * (double)i / 8 * log(base)), 1e-13);
    }
}

static void longrope_has_two_sets_of_divisors(void **state)
{
    (void)state;
    static const double divisors[2][2] = { { 1, 1.25 }, { 2, 8 } };
    qd_rope rope;
    read_rope("{\"rope_theta\":100.0,\"original_max_position_embeddings\":20,\"rope_scaling\":{\"type\":\"su\","
              "\"short_factor\":[1,1.25],\"long_factor\":[2,8]}}",
              4, 80, &rope);
    assert_string_equal(qd_rope_scaling_name(&rope), "longrope");
    double amplitude = sqrt(1 + log(4) / log(20));
    for (size_t set = 0; set < 2; set++) {
        size_t length = 20 + set;
        float cosine[30 * 2], sine[30 * 2];
        qd_rope_tables(&rope, length, qd_matf_view(cosine, 30, 2), qd_matf_view(sine, 30, 2));
        for (size_t t = 0; t < 30; t++)
            for (size_t i = 0; i < 2; i++) {
                double angle = (double)t * pow(100, -(double)i / 2) / divisors[set][i];
                check_near((double)cosine[2 * t + i], amplitude * cos(angle), 1e-6);
                check_near((double)sine[2 * t + i], amplitude * sin(angle), 1e-6);
            }
    }
}

/* What a rotation is for: a product of two rotated heads depends on how far apart they stand, and lengths stay. */
static void products_depend_on_the_distance(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "{}",
        "{\"partial_rotary_factor\":0.5}",
        "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}",
        "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}}",
        "{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"attention_factor\":1.0,\"truncate\":false}}",
        ("{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8}}"),
    };
    enum { HEAD = 8, LENGTH = 24 };
    for (size_t c = 0; c < QD_LENGTH(configs); c++) {
        qd_rope rope;
        float q[LENGTH * HEAD], k[LENGTH * HEAD], cosine[LENGTH * HEAD / 2], sine[LENGTH * HEAD / 2];
        read_rope(configs[c], HEAD, 16, &rope);
        size_t half = rope.dimensions / 2;
        for (size_t t = 0; t < LENGTH; t++) { /* the same head at every position */
            fill(q + t * HEAD, HEAD, 7);
            fill(k + t * HEAD, HEAD, 8);
        }
        qd_rope_tables(&rope, LENGTH, qd_matf_view(cosine, LENGTH, half), qd_matf_view(sine, LENGTH, half));
        qd_cmatf c1 = qd_cmatf_view(cosine, LENGTH, half), s1 = qd_cmatf_view(sine, LENGTH, half);
        qd_rope_apply(&rope, c1, s1, HEAD, qd_matf_view(q, LENGTH, HEAD));
        qd_rope_apply(&rope, c1, s1, HEAD, qd_matf_view(k, LENGTH, HEAD));
        for (size_t distance = 0; distance < LENGTH; distance++) {
            double first = 0, lengths[2] = { 0 };
            for (size_t t = distance; t < LENGTH; t++) {
                double product = 0, length = 0;
                for (size_t i = 0; i < HEAD; i++) {
                    product += (double)q[t * HEAD + i] * (double)k[(t - distance) * HEAD + i];
                    length += (double)q[t * HEAD + i] * (double)q[t * HEAD + i];
                }
                first = t == distance ? product : first;
                lengths[0] = t == distance ? length : lengths[0];
                check_near(product, first, 1e-5);
                check_near(length, lengths[0], 1e-5);
            }
        }
    }
}

/* ---- turned matrices ---- */

static void a_turned_matrix_reads_as_what_it_stands_for(void **state)
{
    (void)state;
    enum { OUT = 70, IN = 9 };
    static const char *const types[] = { "F32", "BF16", "F16" };
    for (size_t k = 0; k < QD_LENGTH(types); k++) {
        const qd_dtype *dtype = qd_dtype_find(types[k]);
        float values[OUT * IN], stored[OUT * IN], back[OUT * IN], rows[3 * IN];
        qd_error err = { 0 };
        fill(values, OUT * IN, 9);
        dtype->from_floats(values, OUT * IN, stored);
        dtype->to_floats(stored, OUT * IN, values);
        const qd_tensor t = { .name = "c_fc.weight",
                              .dtype = dtype,
                              .rank = 2,
                              .shape = { OUT, IN },
                              .elements = OUT * IN,
                              .data = (const unsigned char *)stored,
                              .bytes = OUT * IN * dtype->bits / 8,
                              .transposed = true };
        assert_false(qd_tensor_is_plain(&t));
        check_ok(qd_tensor_check_finite(&t, &err));
        check_ok(qd_tensor_to_floats(&t, back, &err));
        for (size_t o = 0; o < OUT; o++)
            for (size_t i = 0; i < IN; i++)
                assert_true(back[o * IN + i] == values[i * OUT + o]);
        check_ok(qd_tensor_rows_to_floats(&t, 65, 3, rows, &err));
        assert_memory_equal(rows, back + 65 * IN, sizeof rows);
        check_ok(qd_tensor_rows_to_floats(&t, OUT, 0, rows, &err));
        check_fails(qd_tensor_rows_to_floats(&t, OUT - 1, 2, rows, &err), QD_ESHAPE);
    }
}

int main(void)
{
    qd_blas_single_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_their_definitions),
        cmocka_unit_test(activations_are_their_definitions),
        cmocka_unit_test(gating_in_pieces_gives_the_bytes_of_whole_rows),
        cmocka_unit_test(activations_keep_far_values),
        cmocka_unit_test(a_soft_cap_bounds_and_leaves_small_values),
        cmocka_unit_test(dynamic_rotation_stretches_its_base_with_the_length),
        cmocka_unit_test(longrope_has_two_sets_of_divisors),
        cmocka_unit_test(products_depend_on_the_distance),
        cmocka_unit_test(a_turned_matrix_reads_as_what_it_stands_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
