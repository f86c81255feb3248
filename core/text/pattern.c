/* pattern.c: see pattern.h. */
#define _GNU_SOURCE /* memmem */
#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "text/utf8.h"

enum {
    REGEX_BYTES = 1 << 16, /* longest expression */
    NESTING = 100,         /* parentheses */
    STEPS = 100000,        /* of backtracking a match, plus STEPS_PER_BYTE for each byte of the text */
    STEPS_PER_BYTE = 64,   /* the usual expressions need 1 or 2 on their worst text, a run of blanks */
    HEAP_KIB = 256 * 1024, /* the interpreter's; the compiled matcher uses the machine stack */
};

struct qd_pattern {
    char *literal; /* NULL for an expression */
    size_t length;
    pcre2_code *code;
};

void qd_pattern_destroy(qd_pattern *pattern)
{
    if (pattern == NULL)
        return;
    free(pattern->literal);
    pcre2_code_free(pattern->code);
    free(pattern);
}

static void compile_context_free(pcre2_compile_context **context)
{
    pcre2_compile_context_free(*context);
}

static qd_code compile(const char *regex, pcre2_code **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str translated = { 0 };
    qd_code code = qd_pattern_translate(regex, &translated, err);
    if (code != QD_OK)
        return code;
    if (translated.length > REGEX_BYTES)
        return qd_fail(err, QD_ETOOBIG, "regular expression of %zu bytes; at most %d", translated.length, REGEX_BYTES);
    QD_AUTO(compile_context_free) pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory compiling a regular expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* Ruby: . is anything but \n, ^ and $ are those of lines */
    pcre2_set_parens_nest_limit(context, NESTING);
    int number;
    size_t at;
    *out = pcre2_compile((PCRE2_SPTR)qd_str_borrow(&translated), translated.length,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &number, &at, context);
    if (*out == NULL) {
        char why[128];
        pcre2_get_error_message(number, (PCRE2_UCHAR *)why, sizeof why);
        return qd_fail(err, QD_EFORMAT, "regular expression '%.100s': %s at byte %zu", regex, why, at);
    }
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* where there is none, the interpreter matches the same */
    return QD_OK;
}

qd_code qd_pattern_compile(const char *regex, qd_pattern **out, qd_error *err)
{
    qd_pattern *pattern = NULL;
    qd_code code = qd_alloc(1, sizeof *pattern, (void **)&pattern, err);
    if (code == QD_OK)
        code = compile(regex, &pattern->code, err);
    if (code == QD_OK)
        *out = pattern;
    else
        qd_pattern_destroy(pattern);
    return code;
}

static qd_code literal(const char *text, qd_pattern **out, qd_error *err)
{
    qd_pattern *pattern = NULL;
    qd_code code = qd_alloc(1, sizeof *pattern, (void **)&pattern, err);
    if (code == QD_OK)
        code = qd_dup(text, &pattern->literal, err);
    if (code != QD_OK) {
        qd_pattern_destroy(pattern);
        return code;
    }
    pattern->length = strlen(text);
    *out = pattern;
    return QD_OK;
}

qd_code qd_pattern_parse(const json_t *object, const char *key, qd_pattern **out, qd_error *err)
{
    const json_t *spec = json_object_get(object, key);
    const char *string = json_string_value(json_object_get(spec, "String"));
    const char *regex = json_string_value(json_object_get(spec, "Regex"));
    if (string != NULL)
        return literal(string, out, err);
    if (regex != NULL)
        return qd_pattern_compile(regex, out, err);
    return qd_fail(err, QD_EFORMAT, "'%s': {\"String\": ...} or {\"Regex\": ...} is wanted, found %s", key,
                   qd_json_type_name(spec));
}

void qd_matcher_fini(qd_matcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    free(matcher->spans);
    *matcher = (qd_matcher){ 0 };
}

qd_code qd_matcher_add(qd_matcher *matcher, size_t start, size_t end, qd_error *err)
{
    if (matcher->count == matcher->capacity) {
        qd_code code = qd_grow((void **)&matcher->spans, &matcher->capacity, matcher->count + 1, sizeof(qd_span), err);
        if (code != QD_OK)
            return code;
    }
    matcher->spans[matcher->count++] = (qd_span){ start, end };
    return QD_OK;
}

static qd_code run_literal(qd_matcher *matcher, const qd_pattern *pattern, const char *text, size_t length,
                           qd_error *err)
{
    qd_code code = QD_OK;
    size_t at = 0;
    while (code == QD_OK && pattern->length > 0 && at < length) {
        const char *found = memmem(text + at, length - at, pattern->literal, pattern->length);
        if (found == NULL)
            break;
        at = (size_t)(found - text) + pattern->length;
        code = qd_matcher_add(matcher, at - pattern->length, at, err);
    }
    return code;
}

static qd_code prepare(qd_matcher *matcher, const qd_pattern *pattern, size_t length, qd_error *err)
{
    if (matcher->data == NULL)
        matcher->data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    if (matcher->context == NULL)
        matcher->context = pcre2_match_context_create(NULL);
    if (matcher->data == NULL || matcher->context == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory matching a regular expression");
    size_t steps = STEPS + STEPS_PER_BYTE * qd_min_size(length, (UINT32_MAX - STEPS) / STEPS_PER_BYTE);
    pcre2_set_match_limit(matcher->context, (uint32_t)steps);
    pcre2_set_heap_limit(matcher->context, HEAP_KIB);
    return QD_OK;
}

/* One match from `at` on: *out_found 0 when there is none. The text is known to be valid UTF-8: checking it in every
 * call would make the whole quadratic. */
static qd_code match_once(qd_matcher *matcher, const qd_pattern *pattern, const char *text, size_t length, size_t at,
                          bool *out_found, qd_error *err)
{
    int rc =
        pcre2_match(pattern->code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, matcher->data, matcher->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its places on the heap */
        rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, matcher->data,
                         matcher->context);
    *out_found = rc > 0;
    if (rc > 0 || rc == PCRE2_ERROR_NOMATCH)
        return QD_OK;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return qd_fail(err, QD_ENOMEM, "out of memory matching a regular expression");
    char why[128];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
    return qd_fail(err, QD_ETOOBIG, "regular expression at byte %zu of %zu: %s", at, length, why);
}

static qd_code run_regex(qd_matcher *matcher, const qd_pattern *pattern, const char *text, size_t length, qd_error *err)
{
    qd_code code = prepare(matcher, pattern, length, err);
    size_t at = 0;
    while (code == QD_OK && at < length) {
        bool found;
        code = match_once(matcher, pattern, text, length, at, &found, err);
        if (code != QD_OK || !found)
            break;
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(matcher->data);
        if (place[1] > place[0] && place[0] >= at) {
            code = qd_matcher_add(matcher, place[0], place[1], err);
            at = place[1];
        } else { /* an empty match: on from the next character */
            uint32_t ignored;
            at = qd_max_size(at, place[0]);
            at += at < length ? qd_utf8_get(text + at, &ignored) : 1;
        }
    }
    return code;
}

qd_code qd_matcher_run(qd_matcher *matcher, const qd_pattern *pattern, const char *text, size_t length, qd_error *err)
{
    matcher->count = 0;
    return pattern->literal != NULL ? run_literal(matcher, pattern, text, length, err)
                                    : run_regex(matcher, pattern, text, length, err);
}
