/* test_order.c: min-pivot against its definition, and auto against every order there is. */
#include "oracle.h"

static double *random_hessian(size_t n, uint64_t seed)
{
    double *h = oracle_matrix(n), *x = oracle_matrix(n);
    for (size_t i = 0; i < n * n; i++)
        x[i] = normal(seed, i) * (i % n % 5 == 2 ? 3.0 : 1.0) + 0.5 * normal(seed + 1, i / n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < n; k++)
                h[i * n + j] += x[k * n + i] * x[k * n + j] / (double)n;
    free(x);
    return h;
}

/* S = sum of C_tt^2 by the plain factor. */
static double sum_of_pivots(const double *h, size_t n, double lambda, const uint32_t *permutation)
{
    double *permuted = oracle_matrix(n), *c = oracle_matrix(n), s = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            permuted[i * n + j] = h[permutation[i] * n + permutation[j]] + (i == j ? lambda : 0.0);
    oracle_cholesky(permuted, n, c);
    for (size_t t = 0; t < n; t++)
        s += c[t * n + t] * c[t * n + t];
    free(permuted);
    free(c);
    return s;
}

/* The definition: place the smallest diagonal last, take it out of the others, again. */
static void greedy(const double *hessian, size_t n, double lambda, uint32_t *out)
{
    double *h = oracle_matrix(n);
    int *placed = calloc(n, sizeof *placed);
    assert_non_null(placed);
    for (size_t i = 0; i < n * n; i++)
        h[i] = hessian[i] + (i % (n + 1) == 0 ? lambda : 0.0);
    for (size_t place = n; place-- > 0;) {
        size_t p = n;
        for (size_t i = 0; i < n; i++)
            if (!placed[i] && (p == n || h[i * n + i] <= h[p * n + p]))
                p = i;
        placed[p] = 1;
        out[place] = (uint32_t)p;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                if (!placed[i] && !placed[j])
                    h[i * n + j] -= h[i * n + p] * h[p * n + j] / h[p * n + p];
    }
    free(h);
    free(placed);
}

static void order_of(const char *name, const double *h, size_t n, double lambda, uint32_t *out, const char *out_of[1])
{
    qd_error err = { 0 };
    const qd_order *chosen = NULL;
    check_ok(qd_order_find(name)->permute((qd_cmatd){ n, n, n, h }, lambda, out, &chosen, &err));
    *out_of = chosen->name;
}

static void min_pivot_places_columns_as_its_definition_does(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 3, 31, 63, 64, 65, 128, 129, 150 }; /* on both sides of its panels */
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        double *h = random_hessian(n, 7 + k);
        uint32_t got[150], want[150];
        const char *of;
        order_of("min-pivot", h, n, 0.01, got, &of);
        greedy(h, n, 0.01, want);
        assert_memory_equal(got, want, n * sizeof *got);
        assert_string_equal(of, "min-pivot");
        free(h);
    }
}

/* All orders of n columns. */
static double least_of_all(const double *h, size_t n, double lambda, uint32_t *order, size_t from)
{
    if (from == n)
        return sum_of_pivots(h, n, lambda, order);
    double least = INFINITY;
    for (size_t i = from; i < n; i++) {
        uint32_t swapped = order[from];
        order[from] = order[i];
        order[i] = swapped;
        least = fmin(least, least_of_all(h, n, lambda, order, from + 1));
        order[i] = order[from];
        order[from] = swapped;
    }
    return least;
}

static void min_pivot_is_near_the_best_of_all_orders_of_few_columns(void **state)
{
    (void)state;
    double excess = 0.0, descending_excess = 0.0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t n = 2 + seed % 5;
        double *h = random_hessian(n, 100 + seed);
        uint32_t order[6] = { 0, 1, 2, 3, 4, 5 }, found[6];
        const char *of;
        double least = least_of_all(h, n, 0.02, order, 0);
        order_of("min-pivot", h, n, 0.02, found, &of);
        double s = sum_of_pivots(h, n, 0.02, found);
        assert_true(s >= least * (1 - 1e-12));
        excess += s / least - 1;
        order_of("norm-descending", h, n, 0.02, found, &of);
        descending_excess += sum_of_pivots(h, n, 0.02, found) / least - 1;
        free(h);
    }
    assert_true(excess / 40 < 0.02);         /* 0.6 % over the best on average */
    assert_true(excess < descending_excess); /* and nearer than what it refines */
}

/* Inputs of equal size, each like its neighbour: the natural order has nearly the least S, and the sizes say nothing. */
static void where_descending_loses_to_natural_auto_does_not(void **state)
{
    (void)state;
    enum { N = 40 };
    double h[N * N], s[3];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            h[i * N + j] = pow(0.9, fabs((double)i - (double)j)) * (1 + 1e-3 * qd_rng_uniform(5, i)) *
                           (1 + 1e-3 * qd_rng_uniform(5, j));
    static const char *const names[] = { "natural", "norm-descending", "auto" };
    for (size_t k = 0; k < 3; k++) {
        uint32_t order[N];
        const char *of;
        order_of(names[k], h, N, 1e-3, order, &of);
        s[k] = sum_of_pivots(h, N, 1e-3, order);
    }
    assert_true(s[1] > 1.1 * s[0]);
    assert_true(s[2] <= s[0] * (1 + 1e-12));
}

/* Min-pivot is taken only where its sum is lower by more than a tie, 1 %. */
static void auto_has_the_least_sum_of_squared_pivots_and_says_whose_order_it_is(void **state)
{
    (void)state;
    static const char *const names[] = { "natural", "norm-descending", "min-pivot" };
    size_t pivot = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        size_t n = 1 + 3 * (size_t)seed;
        double *h = random_hessian(n, 300 + seed), s[3];
        uint32_t order[100], chosen[100];
        const char *of, *own;
        order_of("auto", h, n, 0.01, chosen, &of);
        for (size_t k = 0; k < 3; k++) {
            order_of(names[k], h, n, 0.01, order, &own);
            s[k] = sum_of_pivots(h, n, 0.01, order);
            if (strcmp(of, names[k]) == 0)
                assert_memory_equal(order, chosen, n * sizeof *order);
        }
        assert_string_not_equal(of, "auto");
        double simple = fmin(s[0], s[1]);
        check_close(sum_of_pivots(h, n, 0.01, chosen), s[2] < 0.99 * simple ? s[2] : simple, 1e-11);
        pivot += s[2] < 0.99 * simple;
        free(h);
    }
    assert_in_range(pivot, 1, 29); /* both cases were seen */
}

/* algorithms.md §12, oracle E: det H_lambda is the product of the squared pivots in every order; only their sum moves. */
static void the_product_of_squared_pivots_is_the_same_in_every_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        qd_error err = { 0 };
        size_t n = 5 + 17 * (size_t)seed;
        double *h = random_hessian(n, 700 + seed), first = 0.0;
        for (size_t k = 0; qd_order_at(k) != NULL; k++) {
            qd_factor *factor = NULL;
            double logs = 0.0;
            check_ok(qd_factor_create((qd_cmatd){ n, n, n, h }, qd_order_at(k), qd_regularizer_find("absolute"), 0.01,
                                      NULL, &factor, &err));
            for (size_t t = 0; t < n; t++)
                logs += 2.0 * log(qd_matd_row(factor->c.view, t)[t]);
            if (k == 0)
                first = logs;
            check_near(logs, first, 1e-9);
            qd_factor_destroy(factor);
        }
        free(h);
    }
}

static void where_nothing_is_to_be_gained_columns_stay_where_they_are(void **state)
{
    (void)state;
    double h[25] = { 0 };
    uint32_t order[5];
    const char *of;
    for (size_t i = 0; i < 5; i++)
        h[6 * i] = 2.0;
    order_of("min-pivot", h, 5, 0.5, order, &of);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(order[i], i);
    for (size_t i = 0; i < 5; i++)
        h[6 * i] = 1.0 + (double)i; /* S is the trace for every order of a diagonal H */
    order_of("auto", h, 5, 0.5, order, &of);
    assert_string_equal(of, "natural");
}

static void a_layer_in_auto_order_is_the_layer_in_the_order_that_was_chosen(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        layer_spec spec = {
            .rows = 9, .cols = 70, .bits = 3, .group_size = 20, .seed = seed, .order = "auto", .dead = 4
        };
        layer l = layer_make(spec), same = layer_make(spec);
        layer_round(&l, "optq");
        spec.order = l.certificate.order;
        assert_string_not_equal(spec.order, "auto");
        layer_factor(&same, &spec);
        layer_round(&same, "optq");
        assert_memory_equal(l.codes, same.codes, 9 * 70);
        assert_string_equal(l.certificate.permutation_hash, same.certificate.permutation_hash);
        check_close(l.certificate.s, same.certificate.s, 0);
        assert_true(l.certificate.identity_residual < 1e-9);
        if (strcmp(spec.order, "natural") != 0) /* nothing to gain from an input that is always 0: last */
            assert_int_equal(l.factor->permutation[69], 4);
        layer_free(&l);
        layer_free(&same);
    }
}

static void orders_that_need_pivots_climb_the_ladder_with_lambda(void **state)
{
    (void)state;
    static const char *const names[] = { "min-pivot", "auto" };
    layer l = layer_make((layer_spec){ .rows = 1, .cols = 30, .rank = 6, .seed = 8 });
    for (size_t k = 0; k < 2; k++) {
        qd_error err = { 0 };
        qd_factor *factor = NULL;
        check_ok(qd_factor_create(qd_matd_const(l.gram.sum.view), qd_order_find(names[k]),
                                  qd_regularizer_find("mean_diagonal"), 0.0, NULL, &factor, &err));
        assert_true(factor->escalations > 0 && factor->lambda > 0.0);
        qd_factor_destroy(factor);
        const double hopeless[4] = { 1, 1e9, 1e9, 1 };
        factor = NULL;
        check_fails(qd_factor_create((qd_cmatd){ 2, 2, 2, hopeless }, qd_order_find(names[k]),
                                     qd_regularizer_find("mean_diagonal"), 0.01, NULL, &factor, &err),
                    QD_ENUMERIC);
        check_contains(err.text, "lambda = 10000");
        assert_null(factor);
    }
    layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(min_pivot_places_columns_as_its_definition_does),
        cmocka_unit_test(min_pivot_is_near_the_best_of_all_orders_of_few_columns),
        cmocka_unit_test(where_descending_loses_to_natural_auto_does_not),
        cmocka_unit_test(auto_has_the_least_sum_of_squared_pivots_and_says_whose_order_it_is),
        cmocka_unit_test(the_product_of_squared_pivots_is_the_same_in_every_order),
        cmocka_unit_test(where_nothing_is_to_be_gained_columns_stay_where_they_are),
        cmocka_unit_test(a_layer_in_auto_order_is_the_layer_in_the_order_that_was_chosen),
        cmocka_unit_test(orders_that_need_pivots_climb_the_ladder_with_lambda),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
