/* pattern.h: the regular expressions and literal strings of tokenizer files, and the places where they match.
 * Room: core/text, private to it. May use: base, jansson, PCRE2.
 * Threads: a qd_pattern is immutable after compiling; a qd_matcher belongs to one call.
 * Source: the expressions are written for Oniguruma; pattern_dialect.c says what is rewritten for PCRE2. */
#ifndef QD_TEXT_PATTERN_H
#define QD_TEXT_PATTERN_H

#include "base/json.h"
#include "base/str.h"

typedef struct qd_pattern qd_pattern;

/* {"String": "..."} or {"Regex": "..."}, the value of `key` in `object`. */
qd_code qd_pattern_parse(const json_t *object, const char *key, qd_pattern **out, qd_error *err);
qd_code qd_pattern_compile(const char *regex, qd_pattern **out, qd_error *err);
void qd_pattern_destroy(qd_pattern *pattern); /* NULL is fine */

typedef struct qd_span {
    size_t start, end; /* bytes */
} qd_span;

/* What a run of one pattern needs beside the pattern: match data and the places found. Zero-initialize;
 * qd_matcher_fini. */
typedef struct qd_matcher {
    void *data, *context; /* pcre2_match_data, pcre2_match_context */
    qd_span *spans;
    size_t count, capacity;
} qd_matcher;

void qd_matcher_fini(qd_matcher *matcher);
qd_code qd_matcher_add(qd_matcher *matcher, size_t start, size_t end, qd_error *err);
/* Replaces matcher->spans by all matches in valid UTF-8 text that are not empty, left to right, not overlapping.
 * Backtracking from one place is limited (QD_ETOOBIG); an expression that scans a run anew from each of its places, as
 * \s+$ does, is still quadratic in the run. */
qd_code qd_matcher_run(qd_matcher *matcher, const qd_pattern *pattern, const char *text, size_t length, qd_error *err);

/* Rewrites an Oniguruma expression (Ruby syntax) for PCRE2 with UTF and UCP. */
qd_code qd_pattern_translate(const char *regex, qd_str *out, qd_error *err);

#endif
