/* test_aim.c: the target comes before the grid. */
#include "problem.h"

#include "quant/aim.h"

/* hessian-mse sees the target: the grid of a layer is that of the target's own matrix, and the target is what the algorithm makes by itself. */
static void the_target_comes_before_the_grid(void **state)
{
    (void)state;
    qd_error err = { 0 };
    layer_spec spec = {
        .rows = 11, .cols = 30, .bits = 3, .rule = "hessian-mse", .order = "norm-descending", .seed = 95
    };
    pair p = pair_make(spec, 0.5);
    problem o = problem_of(&p, "qronos");
    qd_grid_spec grid = grid_spec_of(&spec);
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf target = { 0 };
    double diagonal[30];
    check_ok(qd_matf_buf_init(&target, 11, 30, &err));
    for (size_t t = 0; t < 30; t++) {
        size_t column = p.layer.factor->permutation[t];
        diagonal[column] = qd_matd_row(p.mismatch.hessian.view, column)[column];
        for (size_t i = 0; i < 11; i++)
            qd_matf_row(target.view, i)[column] = (float)o.target[i * 30 + t];
    }
    qd_layer_input input = layer_input(&p.layer);
    input.mismatch = &p.mismatch;
    input.use = p.use;
    for (size_t k = 0; k < 2; k++) { /* the rule that weighs by H, and one that does not */
        QD_AUTO(qd_grid_fini) qd_grid want = { 0 }, got = { 0 };
        qd_weight_target *aim = NULL;
        grid.rule = qd_scale_rule_find(k == 0 ? "hessian-mse" : "mse");
        check_ok(qd_aim_create(qd_algorithm_find("qronos"), &input, &aim, &err));
        input.target = aim;
        check_ok(qd_aim_grid(&input, &grid, qd_matf_const(p.layer.w.view), diagonal, &got, &err));
        check_ok(
            qd_grid_build(&grid, qd_matf_const(k == 0 ? target.view : p.layer.w.view), diagonal, NULL, &want, &err));
        for (size_t i = 0; i < 11; i++)
            check_close((double)got.scale.view.data[i], (double)want.scale.view.data[i], 1e-6);
        uint8_t shown[11 * 30], own[11 * 30];
        qd_certificate c;
        input.grid = &got;
        check_ok(qd_layer_round(qd_algorithm_find("qronos"), &input, shown, &c, &err));
        input.target = NULL;
        check_ok(qd_layer_round(qd_algorithm_find("qronos"), &input, own, &c, &err));
        assert_memory_equal(shown, own, sizeof own);
        qd_aim_destroy(aim);
    }
    qd_weight_target *none = NULL;
    check_ok(qd_aim_create(qd_algorithm_find("optq"), &input, &none, &err));
    assert_null(none);
    problem_free(&o);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_comes_before_the_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
