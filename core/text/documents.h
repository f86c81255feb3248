/* documents.h: the documents of a text file, as users have them: plain text, or JSON lines; each also in gzip or zstd.
 * Room: core/text. May use: base, jansson.
 * Threads: a qd_documents belongs to one thread.
 *
 * A plain text is one document. Of JSON lines each line is one, an object of one of these shapes, other keys being nobody's business:
 *   {"text": "..."}
 *   {"messages": [{"role": "...", "content": "..."}, ...]}       a conversation, through the model's chat template
 *   {"prompt": "...", "completion": "..."}                       one behind the other
 *   {"prompt": [messages], "completion": [messages]}             one conversation
 * Anything else is refused by its line, with the keys that it has. Blank lines are none. All text is UTF-8, or refused. */
#ifndef QD_TEXT_DOCUMENTS_H
#define QD_TEXT_DOCUMENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

enum { QD_TEXT_LIMIT = 1 << 30 }; /* bytes of a text at most, unpacked */

/* QD_TEXT_AUTO: JSON lines where the first thing in the file is {" (blanks aside), as JSON's objects begin and texts do not. */
typedef enum qd_text_format { QD_TEXT_AUTO, QD_TEXT_PLAIN, QD_TEXT_JSONL } qd_text_format;
const char *qd_text_format_name(size_t index); /* "auto", "text", "jsonl"; NULL past the end */
int qd_text_format_find(const char *name);     /* -1 for an unknown one */

/* Appends a conversation as the text that the model is fed. */
typedef struct qd_renderer {
    qd_code (*render)(void *ctx, const json_t *messages, qd_str *out, qd_error *err);
    void *ctx;
} qd_renderer;
/* For sizes alone: what is said, without a template. */
extern const qd_renderer qd_renderer_plain;

typedef struct qd_documents_way {
    qd_text_format format;
    const qd_renderer *renderer; /* NULL: conversations are refused */
    size_t limit;                /* unpacked bytes at most: more is QD_ETOOBIG */
    size_t sample; /* 0 = all; else no document begins behind so many bytes, and a plain text ends there */
} qd_documents_way;

typedef struct qd_documents qd_documents;

/* Errors name the file. */
qd_code qd_documents_open(const char *path, const qd_documents_way *way, qd_documents **out, qd_error *err);
/* The same from a descriptor, which is taken over and may be a pipe: a line is a document as soon as it is there. `name` stands in errors. */
qd_code qd_documents_attach(int fd, const char *name, const qd_documents_way *way, qd_documents **out, qd_error *err);
void qd_documents_close(qd_documents *documents); /* NULL is fine */

/* The next document, into `text` (replaced). *out_found false = the end. QD_EFORMAT: not what it should be; QD_EUNSUPPORTED: a conversation
 * and nothing to render it with. */
qd_code qd_documents_next(qd_documents *documents, qd_str *text, bool *out_found, qd_error *err);

/* The line of the document that was read last, from 1; of a plain text 0. */
size_t qd_documents_line(const qd_documents *documents);

/* What the file was found to be. */
qd_text_format qd_documents_format(const qd_documents *documents);
const char *qd_documents_packing(const qd_documents *documents); /* "none", "gzip", "zstd" */
/* Unpacked bytes of the documents so far. */
uint64_t qd_documents_bytes(const qd_documents *documents);

/* Bytes of a file, unpacked: then it is read for their number. QD_ETOOBIG beyond `limit`. */
qd_code qd_documents_measure(const char *path, size_t limit, uint64_t *out_bytes, qd_error *err);

#endif
