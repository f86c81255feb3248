/* activation.c: see activation.h. */
#include "model/activation.h"

#include <string.h>

#include "base/auto.h"
#include "base/mem.h"
#include "base/str.h"
#include "linalg/vexp.h"

static void relu_multiply(float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++)
        gate[i] = gate[i] > 0 ? gate[i] * up[i] : 0;
}

static const char *const silu_names[] = { "silu", "swish", NULL };
static const char *const gelu_tanh_names[] = { "gelu_pytorch_tanh", "gelu_new", "gelu_fast", NULL };
static const char *const gelu_names[] = { "gelu", NULL };
static const char *const relu_names[] = { "relu", NULL };

static const qd_activation table[] = {
    { silu_names, qd_silu_multiply },
    { gelu_tanh_names, qd_gelu_tanh_multiply },
    { gelu_names, qd_gelu_multiply },
    { relu_names, relu_multiply },
};

void qd_activation_apply(const qd_activation *activation, float *x, size_t count)
{
    enum { CHUNK = 256 };
    float ones[CHUNK];
    for (size_t i = 0; i < CHUNK; i++)
        ones[i] = 1;
    for (size_t at = 0; at < count; at += CHUNK)
        activation->multiply(x + at, ones, qd_min_size(CHUNK, count - at));
}

const qd_activation *qd_activation_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

qd_code qd_activation_find(const char *key, const char *name, const qd_activation **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        for (size_t k = 0; table[i].names[k] != NULL; k++) {
            if (strcmp(table[i].names[k], name) == 0) {
                *out = &table[i];
                return QD_OK;
            }
            qd_str_addf(&known, "%s%s", known.length == 0 ? "" : ", ", table[i].names[k]);
        }
    return qd_fail(err, QD_EUNSUPPORTED, "%s '%.60s' is not supported here; supported are %s", key, name,
                   qd_str_borrow(&known));
}
