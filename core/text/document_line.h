/* document_line.h: one JSON line as a document: see documents.h for the shapes.
 * Room: core/text, private to it. May use: base, jansson.
 * Threads: pure, but for the renderer. */
#ifndef QD_TEXT_DOCUMENT_LINE_H
#define QD_TEXT_DOCUMENT_LINE_H

#include "text/documents.h"

/* Appends the line's document to `text`. renderer: NULL = conversations are refused. */
qd_code qd_document_of_line(const char *line, size_t length, const qd_renderer *renderer, qd_str *text, qd_error *err);

#endif
