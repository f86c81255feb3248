/* test_components.c: normalizers, pre-tokenizers and decoders, one row of their tables at a time, by the pieces they
 * make. */
#include "check.h"

#include <utf8proc.h>

#include "base/json.h"
#include "base/rng.h"
#include "text/component.h"
#include "text/normal_form.h"
#include "text/pattern.h"
#include "text/utf8.h"

/* Pieces in and out are written with | between them. */
typedef struct example {
    const char *spec, *in, *out;
} example;

static void run_example(const qd_component_kind *kind, const example *e)
{
    qd_error err = { 0 };
    QD_AUTO(qd_json_fini) json_t *spec = NULL;
    QD_AUTO(qd_chain_fini) qd_chain chain = { 0 };
    QD_AUTO(qd_pieces_fini) qd_pieces pieces = { 0 }, spare = { 0 };
    QD_AUTO(qd_str_fini) qd_str got = { 0 };
    check_ok(qd_json_parse_object(e->spec, strlen(e->spec), 16, &spec, &err));
    check_ok(qd_chain_parse(kind, spec, &chain, &err));
    const char *at = e->in;
    for (;;) {
        size_t length = strcspn(at, "|");
        check_ok(qd_pieces_add(&pieces, at, length, at == e->in ? QD_PLACE_START : QD_PLACE_INSIDE, &err));
        at += length;
        if (*at++ == '\0')
            break;
    }
    check_ok(qd_chain_run(&chain, &pieces, &spare, &err));
    for (size_t i = 0; i < pieces.count; i++) {
        qd_str_add(&got, i == 0 ? "" : "|");
        qd_str_add_bytes(&got, qd_piece_text(&pieces, i), pieces.items[i].length);
    }
    if (strcmp(qd_str_borrow(&got), e->out) != 0)
        print_error("%s of '%s'\n", e->spec, e->in);
    assert_string_equal(qd_str_borrow(&got), e->out);
}

#define RUN(kind, examples) \
    for (size_t i_ = 0; i_ < QD_LENGTH(examples); i_++) \
    run_example((kind), &(examples)[i_])

static void normalizers_do_what_their_names_say(void **state)
{
    (void)state;
    static const example examples[] = {
        { "{\"type\":\"NFC\"}", "cafe\xCC\x81 \xE2\x84\xAB", "caf\xC3\xA9 \xC3\x85" },
        { "{\"type\":\"NFC\"}", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81" }, /* Hangul */
        { "{\"type\":\"NFD\"}", "\xC3\xA9", "e\xCC\x81" },
        { "{\"type\":\"NFKC\"}", "\xEF\xAC\x81\xC2\xB2", "fi2" },
        { "{\"type\":\"NFKD\"}", "\xEF\xAC\x81\xC3\xA9", "fie\xCC\x81" },
        { "{\"type\":\"NFD\"}", "a\xCC\x81\xCC\xA3", "a\xCC\xA3\xCC\x81" }, /* marks in order of class */
        { "{\"type\":\"NFC\"}", "a\xE1\xB7\xB6\xCC\xA3 \xE2\x82\x9D",
          "a\xE1\xB7\xB6\xCC\xA3 \xE2\x82\x9D" },                                 /* U+1DF6: Unicode 10 */
        { "{\"type\":\"NFD\"}", "\xE1\xB7\xB5\xCC\xA3", "\xCC\xA3\xE1\xB7\xB5" }, /* U+1DF5: Unicode 9 */
        { "{\"type\":\"NFKC\"}", "\xE3\x8B\xBF", "\xE3\x8B\xBF" },                /* U+32FF: Unicode 12.1 */
        { "{\"type\":\"StripAccents\"}", "a\xE1\xB7\xB6", "a\xE1\xB7\xB6" },
        { "{\"type\":\"Lowercase\"}", "\xC3\x84 B\xC4\xB0", "\xC3\xA4 bi\xCC\x87" },
        { "{\"type\":\"StripAccents\"}", "e\xCC\x81\xC3\xA9", "e\xC3\xA9" },
        { "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", "\xC2\xA0 a ", "a " },
        { "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}", " a\xC2\x85 ", " a" },
        { "{\"type\":\"Strip\"}", " \t ", "" },
        { "{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a|", "_a|" },
        { "{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"b\"}", "aaaaac", "bbac" },
        { "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"\"}", "a  b c   ", "ab c" },
        { "{\"type\":\"ByteLevel\"}", "\xC3\xA9 \n", "\xC3\x83\xC2\xA9\xC4\xA0\xC4\x8A" },
        { "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},{\"type\":"
          "\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}]}",
          "\xC3\x89T\xC3\x89", "ete" },
    };
    RUN(&qd_normalizers, examples);
}

static void split_behaviors_place_the_delimiter(void **state)
{
    (void)state;
#define SPLIT(behavior, invert) \
    "{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"" behavior "\",\"invert\":" invert "}"
    static const example examples[] = {
        { SPLIT("Removed", "false"), "-a--b-", "a|b" },
        { SPLIT("Isolated", "false"), "-a--b-", "-|a|-|-|b|-" },
        { SPLIT("MergedWithPrevious", "false"), "-a--b-", "-|a-|-|b-" },
        { SPLIT("MergedWithNext", "false"), "-a--b-", "-a|-|-b|-" },
        { SPLIT("Contiguous", "false"), "-a--b-", "-|a|--|b|-" },
        { SPLIT("Removed", "true"), "-a--b-", "-|-|-|-" },
        { SPLIT("MergedWithPrevious", "true"), "-a--bc-", "-a|-|-bc|-" },
        { SPLIT("Isolated", "false"), "", "" },
        { "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x*\"},\"behavior\":\"Isolated\"}", "axxb", "a|xx|b" },
    };
#undef SPLIT
    RUN(&qd_pre_tokenizers, examples);
}

static void pre_tokenizers_cut_where_they_should(void **state)
{
    (void)state;
    static const example examples[] = {
        { "{\"type\":\"Digits\",\"individual_digits\":true}",
          "a12\xC2\xB2"
          "b",
          "a|1|2|\xC2\xB2|b" },
        { "{\"type\":\"Digits\",\"individual_digits\":false}",
          "a12\xC2\xB2"
          "b",
          "a|12\xC2\xB2|b" },
        { "{\"type\":\"Punctuation\"}", "a,$b\xE3\x80\x82", "a|,|$|b|\xE3\x80\x82" },
        { "{\"type\":\"Whitespace\"}", "Hi, you\xC3\xA9_2!?", "Hi|,|you\xC3\xA9_2|!?" },
        { "{\"type\":\"Whitespace\"}", "a\xE2\x80\x8D\xE2\x93\x90\xC2\xB2", "a\xE2\x80\x8D\xE2\x93\x90|\xC2\xB2" },
        { "{\"type\":\"Punctuation\"}",
          "a\xE2\xB9\x82"
          "b\xE2\xB9\x83",
          "a|\xE2\xB9\x82|b\xE2\xB9\x83" }, /* Unicode 7, 9 */
        { "{\"type\":\"WhitespaceSplit\"}",
          " a,\xE3\x80\x80"
          "b\n",
          "a,|b" },
        { "{\"type\":\"BertPreTokenizer\"}", "a, b", "a|,|b" },
        { "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"b\"}", "abbc", "a|c" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "a b|c", "_a|_b|_c" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}", "a b|c", "_a|_b|c" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\",\"split\":false}", "a b|c",
          "a_b|c" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\",\"split\":false}", " a||_b",
          "_a||_b" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}", "a", "a" }, /* older files */
        { "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "It's  a12!?\n",
          "It|'s|\xC4\xA0|\xC4\xA0"
          "a|12|!?|\xC4\x8A" },
        { "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}", "a|b| c",
          "\xC4\xA0"
          "a|\xC4\xA0"
          "b|\xC4\xA0"
          "c" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Digits\","
          "\"individual_digits\":true}]}",
          "a1 2", "a|1|2" },
    };
    RUN(&qd_pre_tokenizers, examples);
}

/* The expression of novella's (and Llama-3's) tokenizer.json, on texts whose cuts follow from its alternatives. */
static void the_llama3_expression_cuts_as_its_alternatives_say(void **state)
{
    (void)state;
#define LLAMA3 \
    "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| " \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}}"
    static const example examples[] = {
        { LLAMA3, "I'VE been", "I|'VE| been" },
        { LLAMA3,
          "'\xC5\xBF"
          "a",
          "'\xC5\xBF|a" }, /* (?i) folds the long s */
        { LLAMA3, "12345", "123|45" },
        { LLAMA3, "a   b", "a|  | b" },
        { LLAMA3, "a \n\n b.\n", "a| \n\n| b|.\n" },
        { LLAMA3, "x\xC2\x85\xC2\x85", "x|\xC2\x85\xC2\x85" }, /* U+0085 is white space */
        { LLAMA3, "\x1C\x1C", "\x1C\x1C" },                    /* U+001C is not, so it is punctuation */
        { LLAMA3, "a \xE1\xA0\x8E", "a| \xE1\xA0\x8E" },       /* nor is U+180E, whatever PCRE2's \s says */
    };
#undef LLAMA3
    RUN(&qd_pre_tokenizers, examples);
}

static void decoders_undo_it(void **state)
{
    (void)state;
#define FFFD "\xEF\xBF\xBD"
    static const example examples[] = {
        { "{\"type\":\"ByteLevel\"}",
          "\xC4\xA0"
          "a|\xC3\x83|\xC2\xA9",
          " a\xC3\xA9" },
        { "{\"type\":\"ByteLevel\"}", "\xC3\x83|a", FFFD "a" },
        { "{\"type\":\"ByteLevel\"}", "<\xE2\x96\x81>|a", "<\xE2\x96\x81>a" }, /* not of the alphabet: as it is */
        { "{\"type\":\"ByteFallback\"}", "a|<0xC3>|<0xA9>|b", "a|\xC3\xA9|b" },
        { "{\"type\":\"ByteFallback\"}", "<0xC3>|<0x41>|b|<0xzz>", FFFD "|" FFFD "|b|<0xzz>" },
        { "{\"type\":\"Fuse\"}", "a|b|c", "abc" },
        { "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}", "  a | b", " a |b" },
        { "{\"type\":\"Strip\",\"content\":\"x\",\"start\":1,\"stop\":2}", "xaxxx|x", "ax|" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", "_a|_b_c", "a| b c" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}", "_a|_b", " a| b" },
        { "{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}", "_a|b_", " a|b " },
        { "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a|b</w>|c</w>", "a|b |c" },
    };
#undef FFFD
    RUN(&qd_decoders, examples);
}

static void every_row_has_its_own_name_and_is_listed_when_a_name_is_unknown(void **state)
{
    (void)state;
    const qd_component_kind *const kinds[] = { &qd_normalizers, &qd_pre_tokenizers, &qd_decoders };
    for (size_t k = 0; k < QD_LENGTH(kinds); k++) {
        qd_error err = { 0 };
        QD_AUTO(qd_chain_fini) qd_chain chain = { 0 };
        QD_AUTO(qd_json_fini) json_t *spec = json_pack("{s:s}", "type", "Nonesuch");
        check_fails(qd_chain_parse(kinds[k], spec, &chain, &err), QD_EUNSUPPORTED);
        check_contains(err.text, kinds[k]->field);
        check_contains(err.text, "'Nonesuch'");
        check_contains(err.text, "Sequence");
        for (size_t i = 0; i < kinds[k]->count; i++) {
            check_contains(err.text, kinds[k]->rows[i]->name);
            assert_non_null(kinds[k]->rows[i]->apply);
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(kinds[k]->rows[i]->name, kinds[k]->rows[j]->name);
        }
    }
}

/* Each row, as it is with no parameters, either says what it lacks or works on hard text. */
static void every_row_survives_missing_parameters_and_empty_pieces(void **state)
{
    (void)state;
    const qd_component_kind *const kinds[] = { &qd_normalizers, &qd_pre_tokenizers, &qd_decoders };
    for (size_t k = 0; k < QD_LENGTH(kinds); k++)
        for (size_t i = 0; i < kinds[k]->count; i++) {
            qd_error err = { 0 };
            QD_AUTO(qd_chain_fini) qd_chain chain = { 0 };
            QD_AUTO(qd_pieces_fini) qd_pieces pieces = { 0 }, spare = { 0 };
            QD_AUTO(qd_json_fini) json_t *spec = json_pack("{s:s}", "type", kinds[k]->rows[i]->name);
            qd_code code = qd_chain_parse(kinds[k], spec, &chain, &err);
            if (code != QD_OK) {
                assert_int_equal(code, QD_EFORMAT);
                check_contains(err.text, kinds[k]->rows[i]->name);
                continue;
            }
            check_ok(qd_chain_run(&chain, &pieces, &spare, &err)); /* no piece at all */
            qd_pieces_clear(&pieces);
            check_ok(qd_pieces_add(&pieces, "", 0, QD_PLACE_START, &err));
            check_ok(qd_pieces_add(&pieces, "\0 a\xF0\x9F\x98\x80", 7, QD_PLACE_INSIDE, &err));
            check_ok(qd_chain_run(&chain, &pieces, &spare, &err));
        }
}

static void expressions_are_read_as_oniguruma_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *regex, *text;
        size_t matches;
    } cases[] = {
        { "\\h+", "0fg", 1 },
        { "[\\h]+", "xFFy1", 2 },
        { "\\H", "0g", 1 },
        { "\\w+", "e\xCC\x81_x", 1 },
        { "[^\\w]", "e\xCC\x81-", 1 },
        { "\\W", "a-b", 1 },
        { "[\\s]+", "a \xC2\x85", 1 },
        { "\\S+", "\xE1\xA0\x8E", 1 },
        { "[^\\S\\n]+", "a \n ", 2 },
        { "\\u00e9", "\xC3\xA9", 1 },
        { "^a", "a\na", 2 },
        { "a$", "a\na", 2 },
        { ".", "\n\r", 1 },
        { "[[:alpha:]]", "a1", 1 },
        { "[]a]", "]a", 2 },
        { "\\p{Han}", "\xE4\xBD\xA0", 1 },
        { "[\\\\\\]]", "\\]", 2 },
        { "(?i:k)", "\xE2\x84\xAA", 1 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        qd_pattern *pattern = NULL;
        QD_AUTO(qd_matcher_fini) qd_matcher matcher = { 0 };
        check_ok(qd_pattern_compile(cases[i].regex, &pattern, &err));
        check_ok(qd_matcher_run(&matcher, pattern, cases[i].text, strlen(cases[i].text), &err));
        if (matcher.count != cases[i].matches)
            print_error("'%s' in '%s'\n", cases[i].regex, cases[i].text);
        assert_int_equal(matcher.count, cases[i].matches);
        qd_pattern_destroy(pattern);
    }
}

static void expressions_that_cannot_be_had_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *regex;
        qd_code code;
    } cases[] = {
        { "(", QD_EFORMAT },
        { "[a", QD_EFORMAT },
        { "a\\", QD_EFORMAT },
        { "\\p{Nonesuch}", QD_EFORMAT },
        { "[a[bc]]", QD_EUNSUPPORTED },
        { "[a&&b]", QD_EUNSUPPORTED },
        { "\\C", QD_EFORMAT },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_error err = { 0 };
        qd_pattern *pattern = NULL;
        check_fails(qd_pattern_compile(cases[i].regex, &pattern, &err), cases[i].code);
        check_contains(err.text, "regular expression");
        assert_null(pattern);
    }
}

static void an_expression_that_backtracks_without_end_is_stopped(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_pattern *pattern = NULL;
    QD_AUTO(qd_matcher_fini) qd_matcher matcher = { 0 };
    check_ok(qd_pattern_compile("(a|aa|a?a)+[bd]", &pattern, &err));
    char text[65];
    memset(text, 'a', 64);
    text[64] = '\0';
    check_fails(qd_matcher_run(&matcher, pattern, text, 64, &err), QD_ETOOBIG);
    check_contains(err.text, "limit");
    qd_pattern_destroy(pattern);
}

/* The library's own way, whose ordering of marks is quadratic, on short texts with many marks. */
static void normal_forms_are_those_of_the_library(void **state)
{
    (void)state;
    static const utf8proc_option_t options[] = {
        [QD_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [QD_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [QD_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [QD_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    static const struct {
        uint32_t first, count;
    } ranges[] = { { 0x20, 0x60 },    { 0xA0, 0x260 },   { 0x300, 0x70 },    { 0x300, 0x70 },   { 0xF00, 0x100 },
                   { 0x1100, 0x100 }, { 0x1E00, 0x200 }, { 0xAC00, 0x2BA4 }, { 0xF900, 0x500 }, { 0x1D100, 0x100 } };
    uint64_t key = qd_rng_key(21, 0, 0), counter = 0;
    for (int n = 0; n < 4000; n++) {
        qd_error err = { 0 };
        QD_AUTO(qd_str_fini) qd_str text = { 0 }, got = { 0 };
        for (size_t i = qd_rng_below(key, counter++, 12); i > 0; i--) {
            size_t range = qd_rng_below(key, counter++, QD_LENGTH(ranges));
            qd_utf8_add(ranges[range].first + (uint32_t)qd_rng_below(key, counter++, ranges[range].count), &text);
        }
        utf8proc_uint8_t *want = NULL;
        utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)qd_str_borrow(&text),
                                               (utf8proc_ssize_t)text.length, &want, options[n % 4]);
        check_ok(qd_normal_form_add((qd_normal_form)(n % 4), qd_str_borrow(&text), text.length, &got, &err));
        assert_int_equal(got.length, length);
        assert_memory_equal(qd_str_borrow(&got), want, got.length);
        free(want);
    }
}

/* Unicode, table 3-8: one U+FFFD for each maximal subpart. */
static void invalid_bytes_become_replacement_characters(void **state)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str got = { 0 };
    static const char bytes[] = "a\xF1\x80\x80\xE1\x80\xC2"
                                "b\x80"
                                "c\x80\xBF"
                                "d";
#define FFFD "\xEF\xBF\xBD"
    qd_utf8_clean(bytes, sizeof bytes - 1, &got);
    assert_string_equal(qd_str_borrow(&got), "a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d");
    qd_str_clear(&got);
    qd_utf8_clean("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80", 9, &got); /* overlong, surrogate, beyond U+10FFFF */
    assert_int_equal(got.length, 9 * 3);
#undef FFFD
}

/* Six steps of a thousand times: 10^18 bytes, were they made. */
static void a_text_that_grows_without_end_is_stopped(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str spec = { 0 }, step = { 0 };
    QD_AUTO(qd_json_fini) json_t *parsed = NULL;
    QD_AUTO(qd_chain_fini) qd_chain chain = { 0 };
    QD_AUTO(qd_pieces_fini) qd_pieces pieces = { 0 }, spare = { 0 };
    qd_str_add(&step, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"e\"},\"content\":\"");
    for (int i = 0; i < 1000; i++)
        qd_str_add(&step, "e");
    qd_str_add(&step, "\"}");
    qd_str_add(&spec, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 6; i++)
        qd_str_addf(&spec, "%s%s", i == 0 ? "" : ",", qd_str_borrow(&step));
    qd_str_add(&spec, "]}");
    check_ok(qd_json_parse_object(qd_str_borrow(&spec), spec.length, 16, &parsed, &err));
    check_ok(qd_chain_parse(&qd_normalizers, parsed, &chain, &err));
    check_ok(qd_pieces_add(&pieces, "the bee", 7, QD_PLACE_START, &err));
    check_fails(qd_chain_run(&chain, &pieces, &spare, &err), QD_ETOOBIG);
    check_contains(err.text, "Replace");
    assert_true(pieces.text.capacity + spare.text.capacity < 64 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalizers_do_what_their_names_say),
        cmocka_unit_test(split_behaviors_place_the_delimiter),
        cmocka_unit_test(pre_tokenizers_cut_where_they_should),
        cmocka_unit_test(the_llama3_expression_cuts_as_its_alternatives_say),
        cmocka_unit_test(decoders_undo_it),
        cmocka_unit_test(every_row_has_its_own_name_and_is_listed_when_a_name_is_unknown),
        cmocka_unit_test(every_row_survives_missing_parameters_and_empty_pieces),
        cmocka_unit_test(expressions_are_read_as_oniguruma_writes_them),
        cmocka_unit_test(expressions_that_cannot_be_had_are_refused),
        cmocka_unit_test(an_expression_that_backtracks_without_end_is_stopped),
        cmocka_unit_test(a_text_that_grows_without_end_is_stopped),
        cmocka_unit_test(normal_forms_are_those_of_the_library),
        cmocka_unit_test(invalid_bytes_become_replacement_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
