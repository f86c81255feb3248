/* corpus.h: a text file as token ids, and the windows that calibration and evaluation cut from them.
 * Room: core/text. May use: base.
 * Threads: values; any.
 * Source: reference-numbers.md §1 (the protocol), api.md `calibration` and `evaluation`. */
#ifndef QD_TEXT_CORPUS_H
#define QD_TEXT_CORPUS_H

#include "text/tokenizer.h"

enum { QD_TEXT_LIMIT = 1 << 30, QD_WINDOW_LENGTH = 2048 }; /* bytes of a text at most; tokens of a window unless said */

/* How a document is fed to the tokenizer. QD_SPLIT_WHOLE: one encode call a document. QD_SPLIT_LINES: each line with
 * its '\n' by itself, empty lines too (they give the id of "\n"); a last line that lacks its '\n' gets one. Rows of a
 * registry: qd_split_find("lines"). */
typedef enum qd_split { QD_SPLIT_WHOLE, QD_SPLIT_LINES } qd_split;
/* QD_SAMPLING_EVEN: start_i = floor((i + phase) (L - length) / samples). QD_SAMPLING_RANDOM: uniform starts by seed
 * (counter-based, sorted so that order does not depend on draws). */
typedef enum qd_sampling { QD_SAMPLING_EVEN, QD_SAMPLING_RANDOM } qd_sampling;

/* Names as in a job: "whole", "lines" / "even", "random"; NULL past the end. -1 for an unknown name. */
const char *qd_split_name(size_t index);
int qd_split_find(const char *name);
const char *qd_sampling_name(size_t index);
int qd_sampling_find(const char *name);

/* Encodes the file's text without special tokens. Refuses an empty file (QD_EINVAL). At most `limit` bytes. */
qd_code qd_corpus_read(const qd_tokenizer *tokenizer, const char *path, qd_split split, size_t limit, qd_ids *out,
                       qd_error *err);

/* Windows of equal length: window i is ids[i * length .. (i + 1) * length). Zero-initialize; qd_windows_fini. */
typedef struct qd_windows {
    uint32_t *ids; /* count x length */
    size_t count, length;
    size_t tokens_available, tokens_used; /* distinct source tokens covered, for the report */
} qd_windows;
void qd_windows_fini(qd_windows *windows);

/* bos < 0: no BOS; otherwise every window begins with it and holds length - 1 ids of the text. */
typedef struct qd_window_request {
    size_t count, length;
    qd_sampling sampling;
    double phase;  /* [0, 1), even sampling */
    uint64_t seed; /* random sampling */
    int64_t bos;
} qd_window_request;
/* Is the first token of every window, mostly BOS, counted in statistics? It always goes through the model. */
typedef enum qd_first_position { QD_FIRST_COUNTED, QD_FIRST_LEFT_OUT } qd_first_position;
const char *qd_first_position_name(size_t index); /* "counted", "left-out"; NULL past the end */
int qd_first_position_find(const char *name);

/* Calibration. Fails (QD_EINVAL) with both numbers when the text has fewer than `length` tokens. */
qd_code qd_windows_sample(const qd_ids *ids, const qd_window_request *request, qd_windows *out, qd_error *err);

/* Evaluation. QD_BOS_EVERY_WINDOW: ids with one leading BOS, cut into windows of `length`, remainder dropped, the
 * first id of every window overwritten by BOS. QD_BOS_NONE: cut as they are. QD_BOS_INSERTED: each window is BOS +
 * length-1 new ids. */
typedef enum qd_bos_policy { QD_BOS_EVERY_WINDOW, QD_BOS_NONE, QD_BOS_INSERTED } qd_bos_policy;
const char *qd_bos_policy_name(size_t index); /* "every-window", "none", "inserted" */
int qd_bos_policy_find(const char *name);
/* max_windows == 0: all. Fails when not even one window is full. */
qd_code qd_windows_cut(const qd_ids *ids, size_t length, size_t max_windows, qd_bos_policy policy, int64_t bos,
                       qd_windows *out, qd_error *err);

#endif
