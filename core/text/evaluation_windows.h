/* evaluation_windows.h: the windows that evaluation cuts from a text's ids, and which of their tokens are scored.
 * Room: core/text. May use: base.
 * Threads: values; any.
 * Source: reference-numbers.md §1 "Evaluation", algorithms.md §10 "Evaluation protocol".
 *
 * Token t of a window is scored by its probability given all tokens of the window before it. No token of the text is scored twice:
 *   first window:  tokens context .. length - 1
 *   the others:    of these, where windows overlap, the last `stride` alone: those that no window before has scored. */
#ifndef QD_TEXT_EVALUATION_WINDOWS_H
#define QD_TEXT_EVALUATION_WINDOWS_H

#include "text/corpus.h"

/* QD_BOS_EVERY_WINDOW: one BOS, then the ids; of every window the first id is overwritten by BOS. QD_BOS_NONE: the ids as they are.
 * QD_BOS_INSERTED: each window is BOS + length - 1 ids. QD_BOS_FIRST_WINDOW: one BOS, then the ids, cut as they are. */
typedef enum qd_bos_policy { QD_BOS_EVERY_WINDOW, QD_BOS_NONE, QD_BOS_INSERTED, QD_BOS_FIRST_WINDOW } qd_bos_policy;
const char *
qd_bos_policy_name(size_t index);         /* "every-window", "none", "inserted", "first-window"; NULL past the end */
int qd_bos_policy_find(const char *name); /* -1 for an unknown one */

typedef struct qd_window_cut {
    size_t length;      /* tokens a window */
    size_t stride;      /* ids between the starts of windows; 0 = no overlap */
    size_t context;     /* leading tokens of a window that are not scored; 0 = 1: nothing stands before the first */
    size_t max_windows; /* 0 = all */
    qd_bos_policy policy;
    int64_t bos; /* -1 = there is none: then only QD_BOS_NONE will do */
} qd_window_cut;

/* A remainder of the text that fills no window is dropped. QD_EINVAL: not even one window is full, windows that nothing is scored of, or that
 * leave gaps between them. */
qd_code qd_windows_cut(const qd_ids *ids, const qd_window_cut *cut, qd_windows *out, qd_error *err);

/* First token of window `index` that is scored: at least 1. */
size_t qd_windows_from(const qd_windows *windows, size_t index);
/* Tokens that are scored in the windows before `index`; of all of them for index = count. */
size_t qd_windows_before(const qd_windows *windows, size_t index);
/* Of window `index`. */
size_t qd_windows_predictions(const qd_windows *windows, size_t index);

#endif
