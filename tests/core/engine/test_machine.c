/* test_machine.c: the machine's speeds, and what earlier runs told of them, as one run tells the next. */
#include "check.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/machine.h"
#include "linalg/product.h"

static void the_machine_is_measured_in_both_arithmetics(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_machine found;
    check_ok(qd_machine_probe(&found, &err));
    assert_true(found.flops > 1e8 && found.flops < 1e13);
    assert_true(found.flops_bfloat16 > 1e7 && found.flops_bfloat16 < 1e14);
    assert_true(found.factor == 1 && found.witnesses == 0);
    for (size_t leg = 0; leg < QD_LEGS; leg++)
        assert_true(found.leg[QD_ARITHMETIC_FLOAT32][leg] == 0 && found.leg[QD_ARITHMETIC_BFLOAT16][leg] == 0);
}

static void what_was_told_comes_back_as_it_was(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_machine machine = { .flops = 1, .factor = 1 };
    double found[QD_ARITHMETICS][QD_LEGS] = { { 0 } };
    for (size_t leg = 0; leg < QD_LEGS; leg += 2) {
        machine.leg[QD_ARITHMETIC_FLOAT32][leg] = 0.25 * (double)(leg + 1);
        machine.leg[QD_ARITHMETIC_BFLOAT16][leg] = 3.5 * (double)(leg + 1);
    }
    QD_AUTO(qd_json_fini) json_t *printed = qd_machine_print_legs(&machine);
    QD_AUTO(qd_free_pointer) char *text = qd_json_print(printed);
    check_ok(qd_machine_read_legs(text, found, &err));
    assert_memory_equal(found, machine.leg, sizeof found);
}

static void what_is_no_leg_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "", "" },
        { "[]", "" },
        { "{\"float16\": {}}", "'float16' is no arithmetic" },
        { "{\"float32\": 1}", "'float32' is no arithmetic with its legs" },
        { "{\"float32\": {\"run\": 1}}", "'run' is no leg" },
        { "{\"float32\": {\"walk\": 0}}", "'walk' is not above 0" },
        { "{\"float32\": {\"walk\": -1}}", "'walk' is not above 0" },
        { "{\"bfloat16\": {\"walk\": \"1\"}}", "'walk' is not above 0" },
        { "{\"bfloat16\": {\"walk\": {\"a\": {\"b\": 1}}}}", "" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        double found[QD_ARITHMETICS][QD_LEGS] = { { 0 } };
        assert_true(qd_machine_read_legs(cases[i].text, found, &err) != QD_OK);
        check_contains(err.text, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_is_measured_in_both_arithmetics),
        cmocka_unit_test(what_was_told_comes_back_as_it_was),
        cmocka_unit_test(what_is_no_leg_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
