/* hadamard_paley.c: see hadamard_paley.h. */
#include "quant/hadamard_paley.h"

#include <stdint.h>

#include "base/mem.h"

enum { DEGREE_MOST = 6 }; /* 3^6 < QD_PALEY_MOST < 3^7 */

/* q = prime^degree for an odd q > 1; false where q has two prime factors. */
static bool split_power(size_t q, size_t *out_prime, size_t *out_degree)
{
    size_t prime = 3;
    if (q < 3 || q % 2 == 0)
        return false;
    while (prime * prime <= q && q % prime != 0)
        prime += 2;
    if (q % prime != 0)
        prime = q;
    for (*out_degree = 0; q % prime == 0; q /= prime)
        ++*out_degree;
    *out_prime = prime;
    return q == 1;
}

/* Of one order: the first construction that gives it, prime fields before others. */
static bool find_order(size_t order, qd_paley *out)
{
    qd_paley found[2] = { { .order = order, .kind = QD_PALEY_ONE }, { .order = order, .kind = QD_PALEY_TWO } };
    const size_t fields[2] = { order - 1, order / 2 - 1 };
    bool known[2];
    for (size_t i = 0; i < 2; i++)
        known[i] = fields[i] % 4 == (i == 0 ? 3 : 1) && split_power(fields[i], &found[i].prime, &found[i].degree);
    if (!known[0] && !known[1])
        return false;
    *out = known[0] && (found[0].degree == 1 || !known[1] || found[1].degree > 1) ? found[0] : found[1];
    return true;
}

bool qd_paley_find(size_t n, qd_paley *out)
{
    size_t order = n;
    while (order % 2 == 0)
        order /= 2;
    for (order *= 4; order <= QD_PALEY_MOST && n % order == 0; order *= 2)
        if (find_order(order, out))
            return true;
    return false;
}

/* ---- GF(q): an element is a polynomial of degree < k over GF(p), and the number whose digits in base p its coefficients are ---- */

typedef struct field {
    size_t prime, degree, size;
    size_t modulus[DEGREE_MOST]; /* x^k = -(modulus[0] + modulus[1] x + ...) */
} field;

static void digits_of(const field *f, size_t element, size_t *out)
{
    for (size_t i = 0; i < f->degree; i++, element /= f->prime)
        out[i] = element % f->prime;
}

static size_t number_of(const field *f, const size_t *digits)
{
    size_t out = 0;
    for (size_t i = f->degree; i-- > 0;)
        out = out * f->prime + digits[i];
    return out;
}

static size_t square(const field *f, size_t element)
{
    size_t a[DEGREE_MOST], product[DEGREE_MOST] = { 0 };
    digits_of(f, element, a);
    for (size_t i = f->degree; i-- > 0;) { /* Horner: product = product x + a_i a */
        size_t top = product[f->degree - 1];
        for (size_t j = f->degree; j-- > 0;) {
            size_t shifted = (j > 0 ? product[j - 1] : 0) + top * (f->prime - f->modulus[j]) + a[i] * a[j];
            product[j] = shifted % f->prime;
        }
    }
    return number_of(f, product);
}

static size_t minus(const field *f, size_t a, size_t b)
{
    size_t x[DEGREE_MOST], y[DEGREE_MOST];
    digits_of(f, a, x);
    digits_of(f, b, y);
    for (size_t i = 0; i < f->degree; i++)
        x[i] = (x[i] + f->prime - y[i]) % f->prime;
    return number_of(f, x);
}

/* chi of every element; true when the modulus makes a field: only then are (q - 1) / 2 elements squares of others than 0, and 0 of none.
 * (In a product of two fields there are fewer squares, and where the modulus has a factor twice something not 0 has the square 0.) */
static bool fill_character(const field *f, double *chi)
{
    size_t squares = 0;
    chi[0] = 0.0;
    for (size_t i = 1; i < f->size; i++)
        chi[i] = -1.0;
    for (size_t i = 1; i < f->size; i++) {
        size_t at = square(f, i);
        if (at == 0)
            return false;
        squares += chi[at] < 0.0;
        chi[at] = 1.0;
    }
    return squares == (f->size - 1) / 2;
}

static qd_code find_field(const qd_paley *paley, field *out, double *chi, qd_error *err)
{
    *out = (field){ .prime = paley->prime, .degree = paley->degree, .size = 1 };
    for (size_t i = 0; i < paley->degree; i++)
        out->size *= paley->prime;
    for (size_t candidate = 0; candidate < out->size; candidate++) {
        digits_of(out, candidate, out->modulus);
        if (fill_character(out, chi))
            return QD_OK;
    }
    return qd_fail(err, QD_EINTERNAL, "no field of %zu elements", out->size);
}

/* Entry (i, j) of S or C. */
static double border(const field *f, const double *chi, qd_paley_kind kind, size_t i, size_t j)
{
    if (i == 0)
        return j == 0 ? 0.0 : 1.0;
    if (j == 0)
        return kind == QD_PALEY_ONE ? -1.0 : 1.0;
    return chi[minus(f, i - 1, j - 1)];
}

qd_code qd_paley_fill(const qd_paley *paley, qd_matd out, qd_error *err)
{
    static const double plus[2][2] = { { 1, 1 }, { 1, -1 } }, diagonal[2][2] = { { 1, -1 }, { -1, -1 } };
    QD_AUTO(qd_free_pointer) void *chi = NULL;
    field f;
    qd_code code = qd_alloc(paley->order, sizeof(double), &chi, err);
    if (code == QD_OK)
        code = find_field(paley, &f, chi, err);
    if (code != QD_OK)
        return code;
    size_t each = paley->kind == QD_PALEY_ONE ? 1 : 2;
    for (size_t i = 0; i < paley->order; i++)
        for (size_t j = 0; j < paley->order; j++) {
            double same = i / each == j / each, entry = border(&f, chi, paley->kind, i / each, j / each);
            qd_matd_row(out, i)[j] =
                each == 1 ? entry + same : entry * plus[i % 2][j % 2] + same * diagonal[i % 2][j % 2];
        }
    return QD_OK;
}
