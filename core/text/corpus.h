/* corpus.h: the documents of a text file as token ids, and the windows that calibration and evaluation cut from them.
 * Room: core/text. May use: base.
 * Threads: values; any.
 * Source: reference-numbers.md §1 (the protocol), api.md `calibration` and `evaluation`. */
#ifndef QD_TEXT_CORPUS_H
#define QD_TEXT_CORPUS_H

#include "text/documents.h"
#include "text/tokenizer.h"

enum { QD_WINDOW_LENGTH = 2048 }; /* tokens of a window unless said */

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

typedef struct qd_corpus_way {
    qd_split split;
    qd_text_format format;
    const qd_renderer *renderer; /* NULL: conversations are refused */
    size_t limit;                /* unpacked bytes at most; 0 = QD_TEXT_LIMIT */
} qd_corpus_way;

/* The documents of a file, one behind the other. Zero-initialize; qd_corpus_fini. */
typedef struct qd_corpus {
    qd_ids ids;
    size_t *ends; /* of document i: where it ends in ids, which is where the next begins */
    size_t documents, capacity;
    size_t empty;          /* documents without a token, which are not among them */
    qd_text_format format; /* what it was found to be */
    const char *packing;   /* "none", "gzip", "zstd" */
    uint64_t bytes;        /* unpacked */
} qd_corpus;
void qd_corpus_fini(qd_corpus *corpus);

/* Encodes every document by itself and adds nothing to it. Where the tokenizer's special tokens are written out in a document, as they are
 * in a rendered conversation, they become their ids, as the usual readers have it. QD_EINVAL: there is no token in it. */
qd_code qd_corpus_read(const qd_tokenizer *tokenizer, const char *path, const qd_corpus_way *way, qd_corpus *out,
                       qd_error *err);

/* Windows of equal length: window i is ids[i * length .. (i + 1) * length). Zero-initialize; qd_windows_fini. */
typedef struct qd_windows {
    uint32_t *ids; /* count x length */
    size_t count, length;
    size_t tokens_available, tokens_used; /* distinct source tokens covered, for the report */
    size_t context,
        fresh; /* of evaluation: evaluation_windows.h; 0 = all tokens of a window but the first are scored */
} qd_windows;
qd_code qd_windows_init(qd_windows *windows, size_t count, size_t length, qd_error *err); /* ids are zero */
void qd_windows_fini(qd_windows *windows);
/* SHA-256 of all ids, in memory's order; `out_hex` has QD_DIGEST_HEX bytes. */
qd_code qd_windows_digest(const qd_windows *windows, char *out_hex, qd_error *err);

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

/* Is it a request that a long enough text can answer? */
qd_code qd_windows_check(const qd_window_request *request, qd_error *err);
/* Calibration. A BOS that the text has where a window begins stands for the window's own. Fails (QD_EINVAL) with both numbers when the text has fewer than `length` tokens. */
qd_code qd_windows_sample(const qd_ids *ids, const qd_window_request *request, qd_windows *out, qd_error *err);

#endif
