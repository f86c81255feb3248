/* starved.h: experts that too few calibration tokens were sent to, and what they get instead.
 * Room: core/engine, private to it. May use: core.
 * Threads: one thread calls.
 *
 * An expert is starved below experts.min_tokens tokens; by default below twice as many as the widest input of its layers
 * has features. (From fewer than once as many no H has full rank. On a random model of six experts at 3 bits, KL was lower
 * by the statistics of all tokens up to 1.5 to 4 times as many, OPTQ and Qronos; trained experts, which see inputs less
 * alike, should be before that.) Where statistics come in two parts (held-out sequences, split-sample
 * shrinkage) it is starved without tokens in either, too. All of an expert's layers share its fate. */
#ifndef QD_ENGINE_STARVED_H
#define QD_ENGINE_STARVED_H

#include "engine/blockwise.h"

typedef struct qd_fate {
    size_t block, expert; /* QD_NO_EXPERT = the group is every token's, or there is no data */
    size_t tokens;        /* that count, sent to it */
    size_t wanted;
    enum { QD_FED, QD_STARVED } state;
    qd_fallback fallback; /* what a starved one gets */
} qd_fate;
qd_code qd_fate_of(const qd_blockwise *b, size_t group, qd_fate *out, qd_error *err);
/* Of which tokens the group's statistics are. */
qd_tokens qd_fate_tokens(const qd_fate *fate);
/* {"block","expert","tokens","starved","fallback":word|null} (new reference). */
json_t *qd_fate_print(const qd_fate *fate);
/* One warning for the starved experts of a block, and one for those with fewer tokens than their input has features;
 * group: the first routed one, its place reached. */
qd_code qd_starved_warn(const qd_blockwise *b, size_t group, qd_error *err);

#endif
