/* activation.h: the functions between the linears of an MLP, by the names that config.json has for them.
 * Room: core/model. May use: base, linalg.
 * Threads: rows are constant; pure functions. */
#ifndef QD_MODEL_ACTIVATION_H
#define QD_MODEL_ACTIVATION_H

#include <stddef.h>

#include "base/error.h"

typedef struct qd_activation {
    const char *const *names;                                     /* "gelu_new", "gelu_pytorch_tanh"; NULL-terminated */
    void (*multiply)(float *gate, const float *up, size_t count); /* gate = f(gate) up */
} qd_activation;

/* x = f(x) */
void qd_activation_apply(const qd_activation *activation, float *x, size_t count);
const qd_activation *qd_activation_at(size_t index); /* NULL past the end */
/* QD_EUNSUPPORTED lists the known names; `key` is config.json's. */
qd_code qd_activation_find(const char *key, const char *name, const qd_activation **out, qd_error *err);

#endif
