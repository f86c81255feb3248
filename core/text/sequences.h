/* sequences.h: the calibration sequences that are cut from the documents of a text, and what became of every token.
 * Room: core/text. May use: base.
 * Threads: values; any.
 *
 * Sequences that are judged by (held out of what is fitted) are those at places every - 1, 2 every - 1, ... Where sequences stay within
 * documents they are dealt so that no document is on both sides, if whole documents can make up that number; else one is. */
#ifndef QD_TEXT_SEQUENCES_H
#define QD_TEXT_SEQUENCES_H

#include "text/corpus.h"

/* QD_DOCUMENTS_JOINED: one behind the other as they are. QD_DOCUMENTS_SEPARATED: with one separator between two, where the text does not have
 * it there already. QD_DOCUMENTS_WITHIN: of each document its whole sequences, from its beginning, side by side; what is left over is
 * dropped. */
typedef enum qd_boundary { QD_DOCUMENTS_JOINED, QD_DOCUMENTS_SEPARATED, QD_DOCUMENTS_WITHIN } qd_boundary;
const char *qd_boundary_name(size_t index); /* "joined", "separated", "within"; NULL past the end */
int qd_boundary_find(const char *name);     /* -1 for an unknown one */

typedef struct qd_sequence_request {
    qd_window_request
        window; /* within: count is the most that there may be, never overlapping; even sampling takes evenly spaced ones of all */
    qd_boundary boundary;
    int64_t separator; /* -1 = the model has none */
    size_t every;      /* 0 = nothing is judged by; with fewer sequences than it the last one is */
} qd_sequence_request;

/* tokens = kept + too_short + left_over + unused. */
typedef struct qd_sequence_report {
    size_t documents, empty;           /* with tokens; without */
    size_t tokens, separators;         /* of the text, with the separators that were put in */
    size_t kept;                       /* stand in some sequence */
    size_t repeated;                   /* times that a token stands in another sequence once more */
    size_t short_documents, too_short; /* documents that fill no sequence, and their tokens */
    size_t left_over;                  /* behind the last whole sequence of a document */
    size_t unused;                     /* not chosen: there is more text than sequences were asked for */
    size_t held_out,
        shared_documents; /* sequences that are judged by; documents on both sides, counted within documents */
} qd_sequence_report;

/* QD_EINVAL: the text does not fill one sequence, or there is nothing to separate documents with. */
qd_code qd_sequences_cut(const qd_corpus *corpus, const qd_sequence_request *request, qd_windows *out,
                         qd_sequence_report *out_report, qd_error *err);

/* Sequence i of n stems from document[i] (ascending): the order in which they are to be laid out, new place -> old, so that those at places
 * every - 1, 2 every - 1, ... are of as few shared documents as can be. */
qd_code qd_sequences_deal(const size_t *document, size_t count, size_t every, size_t *out_order,
                          size_t *out_shared_documents, qd_error *err);

#endif
