/* metaspace.c: SentencePiece's visible space, as pre-tokenizer and decoder.
 * Source: fixtures.md "Tokenizers": "first" adds one to a piece at offset 0 of the text, "always" to every piece,
 * neither where one stands already. */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/cut.h"
#include "text/utf8.h"

typedef enum scheme { SCHEME_ALWAYS, SCHEME_FIRST, SCHEME_NEVER } scheme;
static const char *const scheme_names[] = { "always", "first", "never" };

typedef struct metaspace {
    char mark[5]; /* one character */
    size_t length;
    scheme scheme;
    bool split;
} metaspace;

/* prepend_scheme, or the older add_prefix_space that it replaced. */
static qd_code parse_scheme(const json_t *object, scheme *out, qd_error *err)
{
    const char *name;
    bool add = true;
    qd_code code = qd_json_bool(object, "add_prefix_space", true, &add, err);
    if (code == QD_OK)
        code = qd_json_text(object, "prepend_scheme", add ? "always" : "never", &name, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < QD_LENGTH(scheme_names); i++)
        if (strcmp(name, scheme_names[i]) == 0) {
            *out = (scheme)i;
            return QD_OK;
        }
    return qd_fail(err, QD_EFORMAT, "'prepend_scheme': always, first or never is wanted, found '%.40s'", name);
}

static qd_code parse(const json_t *object, void **out_state, qd_error *err)
{
    metaspace m = { 0 }, *state = NULL;
    uint32_t c;
    qd_code code = qd_component_char(object, "replacement", &c, err);
    if (code == QD_OK)
        code = parse_scheme(object, &m.scheme, err);
    if (code == QD_OK)
        code = qd_json_bool(object, "split", true, &m.split, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *state, (void **)&state, err);
    if (code != QD_OK)
        return code;
    m.length = qd_utf8_put(c, m.mark);
    *state = m;
    *out_state = state;
    return QD_OK;
}

static void add_marked(const metaspace *m, const char *text, size_t length, qd_place place, qd_str *out)
{
    bool wanted = m->scheme == SCHEME_ALWAYS || (m->scheme == SCHEME_FIRST && place == QD_PLACE_START);
    bool there = length > 0 && (text[0] == ' ' || (length >= m->length && memcmp(text, m->mark, m->length) == 0));
    if (wanted && !there && length > 0)
        qd_str_add_bytes(out, m->mark, m->length);
    for (size_t at = 0; at < length;) {
        const char *space = memchr(text + at, ' ', length - at);
        size_t end = space == NULL ? length : (size_t)(space - text);
        qd_str_add_bytes(out, text + at, end - at);
        if (space != NULL)
            qd_str_add_bytes(out, m->mark, m->length);
        at = end + 1;
    }
}

static qd_code find_marks(const metaspace *m, const char *text, size_t length, qd_matcher *places, qd_error *err)
{
    qd_code code = QD_OK;
    places->count = 0;
    for (size_t at = 0; code == QD_OK && at < length;) {
        const char *mark = memmem(text + at, length - at, m->mark, m->length);
        if (mark == NULL)
            break;
        at = (size_t)(mark - text) + m->length;
        code = qd_matcher_add(places, at - m->length, at, err);
    }
    return code;
}

static qd_code apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const metaspace *m = state;
    QD_AUTO(qd_pieces_fini) qd_pieces marked = { 0 };
    QD_AUTO(qd_matcher_fini) qd_matcher places = { 0 };
    qd_pieces *target = m->split ? &marked : out;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        size_t start = target->text.length;
        add_marked(m, qd_piece_text(in, i), in->items[i].length, in->items[i].place, &target->text);
        code = qd_pieces_close(target, start, in->items[i].place, err);
    }
    for (size_t i = 0; code == QD_OK && i < marked.count; i++) {
        code = find_marks(m, qd_piece_text(&marked, i), marked.items[i].length, &places, err);
        if (code == QD_OK)
            code = qd_cut_piece(&marked, i, &places, QD_CUT_MERGED_AFTER, QD_CUT_MATCHES, out, err);
    }
    return code;
}

/* Every mark is a space again; those of the first token were added and go away, unless nothing adds them. */
static qd_code decode(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const metaspace *m = state;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t length = in->items[i].length, start = out->text.length;
        for (size_t at = 0; at < length;) {
            const char *mark = memmem(text + at, length - at, m->mark, m->length);
            size_t end = mark == NULL ? length : (size_t)(mark - text);
            qd_str_add_bytes(&out->text, text + at, end - at);
            if (mark != NULL && (i > 0 || m->scheme == SCHEME_NEVER))
                qd_str_add(&out->text, " ");
            at = mark == NULL ? length : end + m->length;
        }
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

const qd_component qd_pre_tokenizer_metaspace = { "Metaspace", parse, free, apply };
const qd_component qd_decoder_metaspace = { "Metaspace", parse, free, decode };
