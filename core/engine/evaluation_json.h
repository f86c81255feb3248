/* evaluation_json.h: what an evaluation found, as JSON: for results, manifests and the command line.
 * Room: core/engine. May use: core.
 * Threads: pure functions. All give new references. */
#ifndef QD_ENGINE_EVALUATION_JSON_H
#define QD_ENGINE_EVALUATION_JSON_H

#include <jansson.h>

#include "eval/divergence.h"
#include "eval/protocol.h"

/* NaN and infinity, which JSON has not, become null. */
json_t *qd_number_print(double value);
/* {"mean","standard_error"} */
json_t *qd_window_mean_print(const qd_window_mean *mean);
/* {"mean","standard_error","median","p99","max","same_top","same_top_error"} */
json_t *qd_divergence_print(const qd_divergence *divergence);
/* {"protocol","length","stride","context","bos","split"}: in numbers, what the protocol and the model left open; windows: any of the texts. */
json_t *qd_protocol_print(const qd_protocol_use *use, const qd_window_cut *cut, const qd_windows *windows);

#endif
