/* machine.h: how fast this machine is at the kinds of work that a run consists of: measured, and as finished jobs tell.
 * Room: core/engine. May use: core.
 * Threads: any; qd_machine_probe measures the calling thread. */
#ifndef QD_ENGINE_MACHINE_H
#define QD_ENGINE_MACHINE_H

#include <jansson.h>

#include "engine/cost.h"

enum { QD_ARITHMETICS = QD_ARITHMETIC_TWO_TERMS + 1 };

typedef struct qd_machine {
    size_t threads;                      /* of a run */
    double flops;                        /* float32 products, a second, one thread */
    double flops_bfloat16;               /* those of inputs rounded to bf16; 0 = as float32 */
    double factor;                       /* > 0; 1 = no job has told yet */
    size_t witnesses;                    /* finished jobs behind `factor` */
    double leg[QD_ARITHMETICS][QD_LEGS]; /* the same by arithmetic of the job and by leg; 0 = `factor` */
} qd_machine;
/* Measures `flops` with small products, for some hundredths of a second of processor time; the rest is set to 1 thread, factor 1. */
qd_code qd_machine_probe(qd_machine *out, qd_error *err);

/* {"float32":{"walk":1.2,..},"bfloat16":{..}}: of what a machine's jobs told (new reference); and back. QD_EINVAL names what is none of these. */
json_t *qd_machine_print_legs(const qd_machine *machine);
qd_code qd_machine_read_legs(const char *text, double out[QD_ARITHMETICS][QD_LEGS], qd_error *err);

/* What a leg of a run took, and what it is expected to take on a machine of which no job has told; 0 = it was not gone. */
typedef struct qd_leg_time {
    double expected, seconds;
} qd_leg_time;

#endif
