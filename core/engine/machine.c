/* machine.c: see machine.h. */
#include "engine/machine.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/arithmetic.h"
#include "linalg/gemm.h"
#include "linalg/product.h"

enum { SIZE = 384, ROUNDS = 3 };
static const double round_seconds = 0.01;

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* c = a b^T, the right operand packed where it is for inputs rounded to bf16. */
typedef struct sample {
    qd_matf a, b, c;
    const qd_packed *packed; /* NULL = float32 */
} sample;

static void multiply(const sample *s)
{
    if (s->packed != NULL)
        qd_packed_apply(s->packed, qd_matf_const(s->a), 0.0f, s->c);
    else
        qd_gemm_f32(QD_PLAIN, QD_TRANSPOSED, 1.0f, qd_matf_const(s->a), qd_matf_const(s->b), 0.0f, s->c);
}

/* The best of a few rounds, each as many products as take a hundredth of a second; the first warms up. */
static double rate_of(const sample *s)
{
    double best = 0;
    for (size_t round = 0; round <= ROUNDS; round++) {
        double started = processor_seconds(), spent = 0, products = 0;
        do {
            multiply(s);
            products++;
            spent = processor_seconds() - started;
        } while (spent < round_seconds);
        best = round > 0 ? fmax(best, 2.0 * SIZE * SIZE * SIZE * products / spent) : best;
    }
    return best;
}

qd_code qd_machine_probe(qd_machine *out, qd_error *err)
{
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf a = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf b = { 0 };
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf c = { 0 };
    qd_matf_buf *const all[] = { &a, &b, &c };
    for (size_t i = 0; i < QD_LENGTH(all); i++) {
        qd_code code = qd_matf_buf_init(all[i], SIZE, SIZE, err);
        if (code != QD_OK)
            return code;
        for (size_t k = 0; k < SIZE * SIZE; k++)
            all[i]->view.data[k] = 1.0f;
    }
    sample s = { .a = a.view, .b = b.view, .c = c.view };
    qd_packed *packed = NULL;
    double plain = rate_of(&s);
    qd_code code = qd_packed_create(qd_matf_const(b.view), &packed, err);
    if (code != QD_OK)
        return code;
    s.packed = packed;
    *out = (qd_machine){ .threads = 1, .flops = plain, .flops_bfloat16 = rate_of(&s), .factor = 1 };
    qd_packed_destroy(packed);
    return QD_OK;
}

json_t *qd_machine_print_legs(const qd_machine *machine)
{
    json_t *out = json_object();
    for (size_t a = 0; a < QD_ARITHMETICS; a++) {
        json_t *legs = json_object();
        for (size_t leg = 0; leg < QD_LEGS; leg++)
            if (machine->leg[a][leg] > 0)
                json_object_set_new(legs, qd_leg_name(leg), json_real(machine->leg[a][leg]));
        json_object_set_new(out, qd_arithmetic_name((qd_arithmetic)a), legs);
    }
    return out;
}

static size_t find_leg(const char *name)
{
    size_t leg = 0;
    while (leg < QD_LEGS && strcmp(qd_leg_name(leg), name) != 0)
        leg++;
    return leg;
}

static qd_code read_legs(const json_t *legs, double out[QD_LEGS], qd_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)legs, key, value)
    {
        size_t leg = find_leg(key);
        if (leg == QD_LEGS)
            return qd_fail(err, QD_EINVAL, "'%.40s' is no leg of a run", key);
        if (!json_is_number(value) || !(json_number_value(value) > 0))
            return qd_fail(err, QD_EINVAL, "'%s' is not above 0", key);
        out[leg] = json_number_value(value);
    }
    return QD_OK;
}

qd_code qd_machine_read_legs(const char *text, double out[QD_ARITHMETICS][QD_LEGS], qd_error *err)
{
    enum { DEPTH = 3 };
    QD_AUTO(qd_json_fini) json_t *object = NULL;
    const char *key;
    json_t *legs;
    qd_code code = qd_json_parse_object(text, strlen(text), DEPTH, &object, err);
    json_object_foreach(object, key, legs)
    {
        int a = qd_arithmetic_find(key);
        if (code == QD_OK && (a < 0 || !json_is_object(legs)))
            code = qd_fail(err, QD_EINVAL, "'%.40s' is no arithmetic with its legs", key);
        if (code == QD_OK)
            code = read_legs(legs, out[a], err);
    }
    return code;
}
