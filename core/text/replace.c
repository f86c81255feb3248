/* replace.c: see replace.h. */
#include "text/replace.h"

#include <stdlib.h>

#include "base/mem.h"
#include "text/pattern.h"

typedef struct replacement {
    qd_pattern *pattern;
    char *content;
} replacement;

void qd_replace_destroy(void *state)
{
    replacement *r = state;
    if (r == NULL)
        return;
    qd_pattern_destroy(r->pattern);
    free(r->content);
    free(r);
}

qd_code qd_replace_parse(const json_t *object, void **out_state, qd_error *err)
{
    replacement *r = NULL;
    const char *content;
    qd_code code = qd_component_text(object, "content", &content, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *r, (void **)&r, err);
    if (code == QD_OK)
        code = qd_dup(content, &r->content, err);
    if (code == QD_OK)
        code = qd_pattern_parse(object, "pattern", &r->pattern, err);
    if (code == QD_OK)
        *out_state = r;
    else
        qd_replace_destroy(r);
    return code;
}

qd_code qd_replace_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const replacement *r = state;
    QD_AUTO(qd_matcher_fini) qd_matcher matcher = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = out->text.length, at = 0;
        code = qd_matcher_run(&matcher, r->pattern, text, in->items[i].length, err);
        for (size_t k = 0; code == QD_OK && k < matcher.count; k++) {
            qd_str_add_bytes(&out->text, text + at, matcher.spans[k].start - at);
            qd_str_add(&out->text, r->content);
            at = matcher.spans[k].end;
            code = qd_pieces_check(out, err);
        }
        if (code == QD_OK) {
            qd_str_add_bytes(&out->text, text + at, in->items[i].length - at);
            code = qd_pieces_close(out, start, in->items[i].place, err);
        }
    }
    return code;
}
