/* normalizer_text.c: Replace, Prepend, Strip. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/replace.h"
#include "text/utf8.h"

static qd_code prepend_parse(const json_t *object, void **out_state, qd_error *err)
{
    const char *text;
    qd_code code = qd_component_text(object, "prepend", &text, err);
    return code == QD_OK ? qd_dup(text, (char **)out_state, err) : code;
}

static qd_code prepend_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        size_t start = out->text.length;
        if (in->items[i].length > 0)
            qd_str_add(&out->text, state);
        qd_str_add_bytes(&out->text, qd_piece_text(in, i), in->items[i].length);
        code = qd_pieces_close(out, start, in->items[i].place, err);
    }
    return code;
}

typedef struct strip_sides {
    bool left, right;
} strip_sides;

static qd_code strip_parse(const json_t *object, void **out_state, qd_error *err)
{
    strip_sides sides, *state = NULL;
    qd_code code = qd_json_bool(object, "strip_left", true, &sides.left, err);
    if (code == QD_OK)
        code = qd_json_bool(object, "strip_right", true, &sides.right, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *state, (void **)&state, err);
    if (code != QD_OK)
        return code;
    *state = sides;
    *out_state = state;
    return QD_OK;
}

static qd_code strip_apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const strip_sides *sides = state;
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        const char *text = qd_piece_text(in, i);
        size_t start = 0, end = in->items[i].length;
        uint32_t c;
        for (size_t step; sides->left && start < end; start += step) {
            step = qd_utf8_get(text + start, &c);
            if (!qd_char_is_space(c))
                break;
        }
        for (size_t before; sides->right && end > start; end = before) {
            before = qd_utf8_before(text, end);
            (void)qd_utf8_get(text + before, &c);
            if (!qd_char_is_space(c))
                break;
        }
        qd_place place = start == 0 ? in->items[i].place : QD_PLACE_INSIDE;
        code = qd_pieces_add(out, text + start, end - start, place, err);
    }
    return code;
}

const qd_component qd_normalizer_replace = { "Replace", qd_replace_parse, qd_replace_destroy, qd_replace_apply };
const qd_component qd_normalizer_prepend = { "Prepend", prepend_parse, free, prepend_apply };
const qd_component qd_normalizer_strip = { "Strip", strip_parse, free, strip_apply };
