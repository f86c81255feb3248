/* pre_tokenizer_split.c: cutting by a pattern: Split, Whitespace, CharDelimiterSplit. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/component_rows.h"
#include "text/cut.h"

typedef struct splitter {
    qd_pattern *pattern;
    qd_cut_behavior behavior;
    qd_cut_side side;
} splitter;

static void destroy(void *state)
{
    splitter *s = state;
    if (s == NULL)
        return;
    qd_pattern_destroy(s->pattern);
    free(s);
}

static qd_code create(splitter **out, qd_error *err)
{
    return qd_alloc(1, sizeof **out, (void **)out, err);
}

static qd_code keep(splitter *s, qd_code code, void **out_state)
{
    if (code == QD_OK)
        *out_state = s;
    else
        destroy(s);
    return code;
}

static qd_code split_parse(const json_t *object, void **out_state, qd_error *err)
{
    splitter *s = NULL;
    bool invert = false;
    qd_code code = create(&s, err);
    if (code == QD_OK)
        code = qd_cut_behavior_parse(object, "behavior", NULL, &s->behavior, err);
    if (code == QD_OK)
        code = qd_json_bool(object, "invert", false, &invert, err);
    if (code == QD_OK) {
        s->side = invert ? QD_CUT_GAPS : QD_CUT_MATCHES;
        code = qd_pattern_parse(object, "pattern", &s->pattern, err);
    }
    return keep(s, code, out_state);
}

static qd_code whitespace_parse(const json_t *object, void **out_state, qd_error *err)
{
    (void)object;
    splitter *s = NULL;
    qd_code code = create(&s, err);
    if (code == QD_OK) {
        s->behavior = QD_CUT_REMOVED; /* what is neither word nor sign goes away */
        s->side = QD_CUT_GAPS;
        /* The peer's \w has the two joiners here, and lacks Latin-1's raised numbers: as it does inside brackets. */
        code = qd_pattern_compile("[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+", &s->pattern, err);
    }
    return keep(s, code, out_state);
}

static qd_code delimiter_parse(const json_t *object, void **out_state, qd_error *err)
{
    splitter *s = NULL;
    uint32_t c = 0;
    qd_code code = qd_component_char(object, "delimiter", &c, err);
    if (code == QD_OK)
        code = create(&s, err);
    if (code == QD_OK) {
        char regex[16];
        snprintf(regex, sizeof regex, "\\x{%x}", c);
        s->behavior = QD_CUT_REMOVED;
        code = qd_pattern_compile(regex, &s->pattern, err);
    }
    return keep(s, code, out_state);
}

static qd_code apply(const void *state, const qd_pieces *in, qd_pieces *out, qd_error *err)
{
    const splitter *s = state;
    QD_AUTO(qd_matcher_fini) qd_matcher matcher = { 0 };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < in->count; i++) {
        code = qd_matcher_run(&matcher, s->pattern, qd_piece_text(in, i), in->items[i].length, err);
        if (code == QD_OK)
            code = qd_cut_piece(in, i, &matcher, s->behavior, s->side, out, err);
    }
    return code;
}

const qd_component qd_pre_tokenizer_split = { "Split", split_parse, destroy, apply };
const qd_component qd_pre_tokenizer_whitespace = { "Whitespace", whitespace_parse, destroy, apply };
const qd_component qd_pre_tokenizer_delimiter = { "CharDelimiterSplit", delimiter_parse, destroy, apply };
