/* pre_tokenizer_class.c: cutting at characters of a class: Digits, Punctuation, WhitespaceSplit, BertPreTokenizer. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/cut.h"
#include "text/utf8.h"

typedef bool (*char_class)(uint32_t c);

static qd_code find_class(char_class is, const char *text, size_t length, qd_matcher *places, qd_error *err)
{
    qd_code code = QD_OK;
    places->count = 0;
    for (size_t at = 0; code == QD_OK && at < length;) {
        uint32_t c;
        size_t step = qd_utf8_get(text + at, &c);
        if (is(c))
            code = qd_matcher_add(places, at, at + step, err);
        at += step;
    }
    return code;
}

static qd_code cut(char_class is, qd_cut_behavior behavior, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    QD_AUTO(qd_matcher_fini) qd_matcher places = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        code = find_class(is, qd_piece_text(in, i), in->items[i].length, &places, err);
        if (code == QD_OK)
            code = qd_cut_piece(in, i, &places, behavior, QD_CUT_MATCHES, out, err);
    }
    return code;
}

static qd_code keep(qd_cut_behavior behavior, void **out_state, qd_error *err)
{
    qd_cut_behavior *state = NULL;
    qd_code code = qd_alloc(1, sizeof *state, (void **)&state, err);
    if (code == QD_OK) {
        *state = behavior;
        *out_state = state;
    }
    return code;
}

static qd_code digits_parse(const json_t *object, void **out_state, qd_error *err)
{
    bool individual;
    qd_code code = qd_json_bool(object, "individual_digits", false, &individual, err);
    return code == QD_OK ? keep(individual ? QD_CUT_ISOLATED : QD_CUT_CONTIGUOUS, out_state, err) : code;
}

static qd_code punctuation_parse(const json_t *object, void **out_state, qd_error *err)
{
    qd_cut_behavior behavior;
    qd_code code = qd_cut_behavior_parse(object, "behavior", "Isolated", &behavior, err);
    return code == QD_OK ? keep(behavior, out_state, err) : code;
}

static qd_code digits(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    return cut(qd_char_is_number, *(const qd_cut_behavior *)state, in, out, err);
}

static qd_code punctuation(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    return cut(qd_char_is_punctuation, *(const qd_cut_behavior *)state, in, out, err);
}

static qd_code whitespace_split(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    (void)state;
    return cut(qd_char_is_space, QD_CUT_REMOVED, in, out, err);
}

static qd_code bert(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    QD_AUTO(qd_pieces_fini) qd_pieces words = { 0 };
    qd_code code = whitespace_split(state, in, &words, err);
    return code == QD_OK ? cut(qd_char_is_punctuation, QD_CUT_ISOLATED, &words, out, err) : code;
}

const qd_component qd_pre_tokenizer_digits = { "Digits", digits_parse, free, digits };
const qd_component qd_pre_tokenizer_punctuation = { "Punctuation", punctuation_parse, free, punctuation };
const qd_component qd_pre_tokenizer_whitespace_split = { .name = "WhitespaceSplit", .apply = whitespace_split };
const qd_component qd_pre_tokenizer_bert = { .name = "BertPreTokenizer", .apply = bert };
