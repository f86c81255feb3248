/* test_tokenizer.c: files, added tokens, options of the word models, and what must never be accepted. */
#include "tiny.h"

#include <pthread.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

#define LETTERS "\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"bc\":5"

static void merges_come_as_strings_or_as_pairs(void **state)
{
    (void)state;
    qd_tokenizer *strings = tiny_open((tiny){ .vocab = LETTERS, .merges = "\"a b\",\"ab c\"" });
    qd_tokenizer *pairs = tiny_open((tiny){ .vocab = LETTERS, .merges = "[\"a\",\"b\"],[\"ab\",\"c\"]" });
    qd_tokenizer *space = tiny_open((tiny){ .vocab = "\" \":0,\"a\":1,\" a\":2", .merges = "[\" \",\"a\"]" });
    assert_string_equal(ids_of(strings, "abcab"), "4 3");
    assert_string_equal(ids_of(pairs, "abcab"), "4 3");
    assert_string_equal(ids_of(space, "a a"), "1 2");
    qd_tokenizer_destroy(strings);
    qd_tokenizer_destroy(pairs);
    qd_tokenizer_destroy(space);
}

static void the_lowest_rank_goes_first_and_the_leftmost_of_equals(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS, .merges = "\"b c\",\"a b\"" });
    assert_string_equal(ids_of(t, "abc"), "0 5");
    qd_tokenizer_destroy(t);
    t = tiny_open((tiny){ .vocab = "\"a\":0,\"aa\":1", .merges = "\"a a\"" });
    assert_string_equal(ids_of(t, "aaa"), "1 0");
    qd_tokenizer_destroy(t);
}

static void ignore_merges_takes_a_whole_word_that_is_a_token(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS, .merges = "\"b c\"", .options = ",\"ignore_merges\":true" });
    assert_string_equal(ids_of(t, "abc"), "4");
    assert_string_equal(ids_of(t, "abcb"), "0 5 1");
    qd_tokenizer_destroy(t);
}

static void unknown_characters_follow_the_options(void **state)
{
    (void)state;
    static const struct {
        const char *options, *ids;
    } cases[] = {
        { "", "0 1" },
        { ",\"unk_token\":\"c\"", "0 2 2 1" },
        { ",\"unk_token\":\"c\",\"fuse_unk\":true", "0 2 1" },
        { ",\"unk_token\":\"c\",\"fuse_unk\":true,\"byte_fallback\":true", "0 2 1" }, /* not all 256 pieces are there */
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS, .options = cases[i].options });
        assert_string_equal(ids_of(t, "axyb"), cases[i].ids);
        qd_tokenizer_destroy(t);
    }
}

static void byte_fallback_spells_what_is_not_in_the_vocabulary(void **state)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str vocab = { 0 };
    qd_str_add(&vocab, "\"a\":256");
    for (int i = 0; i < 256; i++)
        qd_str_addf(&vocab, ",\"<0x%02X>\":%d", i, i);
    qd_tokenizer *t = tiny_open(
        (tiny){ .vocab = vocab.data, .decoder = "{\"type\":\"ByteFallback\"}", .options = ",\"byte_fallback\":true" });
    assert_string_equal(ids_of(t, "a\xC3\xA9z"), "256 195 169 122");
    assert_string_equal(text_of(t, (const uint32_t[]){ 256, 195, 169, 122 }, 4), "a\xC3\xA9z");
    qd_tokenizer_destroy(t);
    /* With the suffix that the last character would have had. */
    t = tiny_open((tiny){ .vocab = vocab.data, .options = ",\"byte_fallback\":true,\"end_of_word_suffix\":\"$\"" });
    assert_string_equal(ids_of(t, "az"), "256 122 36");
    qd_tokenizer_destroy(t);
}

static void words_have_their_prefix_and_suffix(void **state)
{
    (void)state;
    qd_tokenizer *t =
        tiny_open((tiny){ .pre_tokenizer = "{\"type\":\"WhitespaceSplit\"}",
                          .vocab = "\"a\":0,\"#b\":1,\"#b$\":2,\"a$\":3,\"ab$\":4",
                          .merges = "\"a #b$\"",
                          .options = ",\"continuing_subword_prefix\":\"#\",\"end_of_word_suffix\":\"$\"" });
    assert_string_equal(ids_of(t, "a ab abb"), "3 4 0 1 2");
    qd_tokenizer_destroy(t);
}

static void a_nul_character_is_a_character(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .vocab = "\"\\u0000\":0,\"a\":1,\"\\u0000a\":2,\"\\\\u0000\":3",
                                        .decoder = "{\"type\":\"Fuse\"}",
                                        .merges = "[\"\\u0000\",\"a\"]" });
    assert_string_equal(ids_of_bytes(t, "a\0\0a", 4, QD_SPECIAL_NONE), "1 0 2");
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    check_ok(qd_tokenizer_decode(t, (const uint32_t[]){ 1, 0, 2, 3 }, 4, &text, &err));
    assert_int_equal(text.length, 10);
    assert_memory_equal(text.data, "a\0\0a\\u0000", 10);
    qd_tokenizer_destroy(t);
}

static void a_model_without_type_is_bpe_when_it_has_merges(void **state)
{
    (void)state;
    static const char json[] = "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}";
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    check_ok(qd_tokenizer_parse(json, sizeof json - 1, &t, &err));
    assert_string_equal(ids_of(t, "aa"), "0 0");
    assert_int_equal(qd_tokenizer_vocabulary(t), 1);
    qd_tokenizer_destroy(t);
}

static void unigram_takes_the_cut_of_the_best_sum(void **state)
{
    (void)state;
    static const char json[] = "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],"
                               "[\"b\",-1],[\"ab\",-1.5],[\"bc\",-3],[\"abcd\",-9],[\"\\u0000\",-2]]}}";
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    check_ok(qd_tokenizer_parse(json, sizeof json - 1, &t, &err));
    assert_string_equal(ids_of(t, "ab"), "3");
    assert_string_equal(ids_of(t, "abc"), "1 4");    /* -1 - 3 against -1.5 - 19 (c is unknown) */
    assert_string_equal(ids_of(t, "abcd"), "5");     /* the only one without an unknown */
    assert_string_equal(ids_of(t, "axyb"), "1 0 2"); /* unknowns fuse */
    assert_string_equal(ids_of_bytes(t, "a\0b", 3, QD_SPECIAL_NONE), "1 6 2");
    qd_tokenizer_destroy(t);
}

#define TOKEN(id, content, flags) "{\"id\":" id ",\"content\":\"" content "\",\"special\":true" flags "}"

static void added_tokens_are_found_leftmost_and_longest(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS,
                                        .added = TOKEN("10", "<s>", "") "," TOKEN("11", "<s>!", "") "," TOKEN(
                                            "12", "s>!b", "") "," TOKEN("1", "b", ",\"single_word\":true") });
    assert_string_equal(ids_of(t, "a<s>c<s>!b"), "0 10 2 11 1");
    assert_string_equal(ids_of(t, "as>!ba"), "0 12 0");
    assert_int_equal(qd_tokenizer_vocabulary(t), 13);
    qd_tokenizer_destroy(t);
}

static void added_tokens_swallow_white_space_and_want_word_boundaries_as_flagged(void **state)
{
    (void)state;
    static const struct {
        const char *flags, *text, *ids;
    } cases[] = {
        { "", "a <x> b", "0 6 9 6 1" },
        { ",\"lstrip\":true", "a \xE3\x80\x80<x> b", "0 9 6 1" },
        { ",\"rstrip\":true", "a <x> \tb", "0 6 9 1" },
        { ",\"lstrip\":true,\"rstrip\":true", "<x> <x> ", "9 9" },
        { ",\"single_word\":true", "a<x> <x>", "0 7 8 6 9" },
        { ",\"single_word\":true", "<x>_", "7 8" },
        { ",\"single_word\":true", ".<x>-", "9" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        QD_AUTO(qd_str_fini) qd_str added = { 0 };
        qd_str_addf(&added, "{\"id\":9,\"content\":\"<x>\",\"special\":true,\"normalized\":false%s}", cases[i].flags);
        qd_tokenizer *t = tiny_open((tiny){ .vocab = "\"a\":0,\"b\":1,\" \":6,\"<\":7,\">\":8", .added = added.data });
        assert_string_equal(ids_of(t, cases[i].text), cases[i].ids);
        qd_tokenizer_destroy(t);
    }
}

/* fixtures.md: under Prepend a normalized token is looked for with the mark that Prepend gives it. */
static void normalized_added_tokens_are_looked_for_in_normalized_text(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){
        .normalizer = "{\"type\":\"Lowercase\"}",
        .vocab = LETTERS,
        .added =
            "{\"id\":9,\"content\":\"<X>\",\"normalized\":true},{\"id\":8,\"content\":\"<Y>\",\"normalized\":false}" });
    assert_string_equal(ids_of(t, "A<x>B<X>"), "0 9 1 9");
    assert_string_equal(ids_of(t, "A<Y>B<y>"), "0 8 1");
    qd_tokenizer_destroy(t);
    t = tiny_open((tiny){
        .normalizer = "{\"type\":\"Prepend\",\"prepend\":\"_\"}",
        .vocab = "\"a\":0,\"_\":1",
        .added =
            "{\"id\":9,\"content\":\"<x>\",\"normalized\":true},{\"id\":8,\"content\":\"<y>\",\"normalized\":false}" });
    assert_string_equal(ids_of(t, "<x>"), "9");
    assert_string_equal(ids_of(t, "a<x>a"), "1 0 0");
    assert_string_equal(ids_of(t, "a<y>a"), "1 0 8 1 0"); /* each piece is normalized on its own */
    qd_tokenizer_destroy(t);
}

static void post_processors_add_their_ids_only_when_asked(void **state)
{
    (void)state;
#define TEMPLATE(before, behind) \
    "{\"type\":\"TemplateProcessing\",\"single\":[" before "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}" behind \
    "],\"special_tokens\":{\"S\":{\"id\":\"S\",\"ids\":[7,8],\"tokens\":[\"S\",\"S\"]}}}"
#define SPECIAL "{\"SpecialToken\":{\"id\":\"S\",\"type_id\":0}}"
    static const struct {
        const char *post, *ids;
    } cases[] = {
        { TEMPLATE(SPECIAL ",", ""), "7 8 0" },
        { TEMPLATE("", "," SPECIAL), "0 7 8" },
        { "{\"type\":\"RobertaProcessing\",\"cls\":[\"S\",7],\"sep\":[\"T\",8]}", "7 0 8" },
        { "{\"type\":\"ByteLevel\"}", "0" },
        { "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"BertProcessing\",\"cls\":[\"S\","
          "7],\"sep\":[\"T\",8]}," TEMPLATE(SPECIAL ",", "") "]}",
          "7 8 7 0 8" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS ",\"S\":7,\"T\":8", .post_processor = cases[i].post });
        assert_string_equal(ids_of(t, "a"), "0");
        assert_string_equal(ids_of_bytes(t, "a", 1, QD_SPECIAL_ADD), cases[i].ids);
        uint32_t bos;
        assert_int_equal(qd_tokenizer_bos(t, &bos), cases[i].ids[0] == '7');
        qd_tokenizer_destroy(t);
    }
}

static void bos_comes_from_the_configuration_first(void **state)
{
    (void)state;
    char folder[1024];
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    check_ok(qd_tokenizer_open(SOURCE_PATH(folder, "tests/models/novella-1m"), &t, &err));
    uint32_t bos = 99;
    assert_true(qd_tokenizer_bos(t, &bos));
    assert_int_equal(bos, 0);
    assert_int_equal(qd_tokenizer_vocabulary(t), 2048);
    qd_tokenizer_destroy(t);

    static const char file[] = "{\"model\":{\"vocab\":{\"a\":0,\"<s>\":5},\"merges\":[]}}";
    static const struct {
        const char *config;
        int bos; /* -1: none */
    } cases[] = { { "{\"bos_token\":\"<s>\"}", 5 },
                  { "{\"bos_token\":{\"content\":\"a\",\"lstrip\":false}}", 0 },
                  { "{\"bos_token\":\"<nonesuch>\"}", -1 },
                  { "{\"bos_token\":null}", -1 } };
    snprintf(folder, sizeof folder, "test_tokenizer.%d", (int)getpid());
    char path[1100];
    check_ok(qd_dir_make(folder, &err));
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
        check_ok(qd_file_write(path, file, sizeof file - 1, &err));
        snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
        check_ok(qd_file_write(path, cases[i].config, strlen(cases[i].config), &err));
        check_ok(qd_tokenizer_open(folder, &t, &err));
        assert_int_equal(qd_tokenizer_bos(t, &bos) ? (int)bos : -1, cases[i].bos);
        qd_tokenizer_destroy(t);
    }
    check_ok(qd_dir_remove(folder, &err));
    check_fails(qd_tokenizer_open(folder, &t, &err), QD_ENOTFOUND);
    check_contains(err.text, "tokenizer.json");
}

static void tokens_without_a_decoder_are_put_together_with_spaces(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .vocab = LETTERS });
    assert_string_equal(text_of(t, (const uint32_t[]){ 0, 4 }, 2), "a abc");
    qd_tokenizer_destroy(t);
}

static void an_id_that_is_no_token_is_refused_by_decode(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_tokenizer *t = tiny_open((tiny){ .vocab = "\"a\":0,\"b\":5" });
    check_fails(qd_tokenizer_decode(t, (const uint32_t[]){ 6 }, 1, &text, &err), QD_EINVAL);
    check_fails(qd_tokenizer_decode(t, (const uint32_t[]){ 3 }, 1, &text, &err), QD_EINVAL); /* a hole */
    check_contains(err.text, "3");
    check_fails(qd_tokenizer_decode(t, (const uint32_t[]){ UINT32_MAX }, 1, &text, &err), QD_EINVAL);
    qd_tokenizer_destroy(t);
}

typedef struct refusal {
    const char *json;
    qd_code code;
    const char *says;
} refusal;
#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}"

static const refusal refusals[] = {
    { "", QD_EFORMAT, "JSON" },
    { "[]", QD_EFORMAT, "object" },
    { "{}", QD_EFORMAT, "'model'" },
    { "{\"model\":{}}", QD_EFORMAT, "'type'" },
    { "{\"model\":{\"type\":\"WordPiece\"}}", QD_EUNSUPPORTED, "known: BPE, Unigram" },
    { "{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", QD_EFORMAT, "'vocab'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", QD_EFORMAT, "empty" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", QD_EFORMAT, "'merges'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", QD_EFORMAT, "'a'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", QD_EFORMAT, "-1" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4000000000},\"merges\":[]}}", QD_EFORMAT, "4000000000" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", QD_EFORMAT, "taken" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"a\":2},\"merges\":[]}}", QD_EFORMAT, "duplicate" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b c\"]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", QD_EUNSUPPORTED,
      "'dropout'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}", QD_EFORMAT,
      "'unk_token'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"fuse_unk\":1}}", QD_EFORMAT, "'fuse_unk'" },
    { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\\u0000\":0,\"\\uFDD0\":1},\"merges\":[]}}", QD_EUNSUPPORTED,
      "U+FDD0" },
    { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", QD_EFORMAT, "'vocab'" },
    { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", QD_EFORMAT, "number 0" },
    { "{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}", QD_EFORMAT, "'unk_id'" },
    { "{" MODEL ",\"normalizer\":{\"type\":\"Nmt\"}}", QD_EUNSUPPORTED, "known: Sequence, NFC" },
    { "{" MODEL ",\"normalizer\":7}", QD_EFORMAT, "normalizer" },
    { "{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}}", QD_EFORMAT,
      "Replace" },
    { "{" MODEL ",\"normalizer\":{\"type\":\"Sequence\"}}", QD_EFORMAT, "'normalizers'" },
    { "{" MODEL ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", QD_EUNSUPPORTED, "ByteLevel" },
    { "{" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}}",
      QD_EFORMAT, "'Odd'" },
    { "{" MODEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}}", QD_EFORMAT, "'replacement'" },
    { "{" MODEL ",\"decoder\":{\"type\":\"CTC\"}}", QD_EUNSUPPORTED, "known: Sequence, ByteLevel" },
    { "{" MODEL ",\"post_processor\":{\"type\":\"Odd\"}}", QD_EUNSUPPORTED, "TemplateProcessing" },
    { "{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}", QD_EFORMAT, "'single'" },
    { "{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"c\",9],\"sep\":[\"s\",0]}}", QD_EFORMAT,
      "9" },
    { "{" MODEL ",\"added_tokens\":{}}", QD_EFORMAT, "'added_tokens'" },
    { "{" MODEL ",\"added_tokens\":[{\"id\":1}]}", QD_EFORMAT, "'content'" },
    { "{" MODEL ",\"added_tokens\":[{\"content\":\"x\"}]}", QD_EFORMAT, "'id'" },
    { "{" MODEL ",\"added_tokens\":[{\"id\":1,\"content\":\"\"}]}", QD_EFORMAT, "'content'" },
};

static void files_that_are_not_tokenizers_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(refusals); i++) {
        qd_error err = { 0 };
        qd_tokenizer *t = NULL;
        qd_code code = qd_tokenizer_parse(refusals[i].json, strlen(refusals[i].json), &t, &err);
        if (code != refusals[i].code)
            print_error("%s\n", refusals[i].json);
        check_fails(code, refusals[i].code);
        check_contains(err.text, refusals[i].says);
        assert_null(t);
    }
}

static void every_truncation_of_a_file_is_refused(void **state)
{
    (void)state;
    static const char json[] =
        "{" MODEL ",\"decoder\":{\"type\":\"Fuse\"},\"added_tokens\":[{\"id\":1,\"content\":\"\\u0000x\"}]}";
    for (size_t length = 0; length < sizeof json - 1; length++) {
        qd_error err = { 0 };
        qd_tokenizer *t = NULL;
        char *exact = malloc(length + 1); /* own allocation: a sanitizer sees reads past the end */
        memcpy(exact, json, length);
        assert_int_not_equal(qd_tokenizer_parse(exact, length, &t, &err), QD_OK);
        free(exact);
    }
}

static void deep_nesting_is_refused_before_it_recurses(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    QD_AUTO(qd_str_fini) qd_str json = { 0 };
    qd_str_add(&json, "{\"normalizer\":");
    for (int i = 0; i < 100000; i++)
        qd_str_add(&json, "{\"type\":\"Sequence\",\"normalizers\":[");
    check_fails(qd_tokenizer_parse(json.data, json.length, &t, &err), QD_EFORMAT);
    check_contains(err.text, "nested");
}

/* The prompt of tests/models/novella-1m/reference.json, as another implementation encoded it. */
static void the_tests_own_model_has_its_reference_ids(void **state)
{
    (void)state;
    char path[1024];
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    QD_AUTO(qd_json_fini) json_t *reference = NULL;
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    check_ok(qd_tokenizer_open(SOURCE_PATH(path, "tests/models/novella-1m"), &t, &err));
    check_ok(
        qd_json_read_object(SOURCE_PATH(path, "tests/models/novella-1m/reference.json"), 1 << 20, 8, &reference, &err));
    const char *text = json_string_value(json_object_get(reference, "probe_text"));
    const json_t *want = json_object_get(reference, "probe_ids");
    check_ok(qd_tokenizer_encode(t, text, strlen(text), QD_SPECIAL_ADD, &ids, &err));
    assert_int_equal(ids.count, json_array_size(want));
    for (size_t i = 0; i < ids.count; i++)
        assert_int_equal(ids.data[i], json_integer_value(json_array_get(want, i)));
    qd_tokenizer_destroy(t);
}

typedef struct reader {
    const qd_tokenizer *tokenizer;
    const char *text;
    size_t count; /* ids, of the last round */
} reader;

static void *read_often(void *argument)
{
    reader *r = argument;
    for (int round = 0; round < 50; round++) {
        QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
        QD_AUTO(qd_str_fini) qd_str back = { 0 };
        qd_error err = { 0 };
        if (qd_tokenizer_encode(r->tokenizer, r->text, strlen(r->text), QD_SPECIAL_ADD, &ids, &err) != QD_OK ||
            qd_tokenizer_decode(r->tokenizer, ids.data + 1, ids.count - 1, &back, &err) != QD_OK ||
            strcmp(back.data, r->text) != 0)
            return argument;
        r->count = ids.count;
    }
    return NULL;
}

static void threads_share_one_tokenizer(void **state)
{
    (void)state;
    char folder[1024];
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    check_ok(qd_tokenizer_open(SOURCE_PATH(folder, "tests/models/novella-1m"), &t, &err));
    pthread_t threads[4];
    reader readers[4];
    for (size_t i = 0; i < 4; i++) {
        readers[i] = (reader){ t, "It was a truth that the old house, by the river, had seen 1847 winters.", 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, &readers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_int_equal(readers[i].count, readers[0].count);
    }
    qd_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_come_as_strings_or_as_pairs),
        cmocka_unit_test(the_lowest_rank_goes_first_and_the_leftmost_of_equals),
        cmocka_unit_test(ignore_merges_takes_a_whole_word_that_is_a_token),
        cmocka_unit_test(unknown_characters_follow_the_options),
        cmocka_unit_test(byte_fallback_spells_what_is_not_in_the_vocabulary),
        cmocka_unit_test(words_have_their_prefix_and_suffix),
        cmocka_unit_test(a_nul_character_is_a_character),
        cmocka_unit_test(a_model_without_type_is_bpe_when_it_has_merges),
        cmocka_unit_test(unigram_takes_the_cut_of_the_best_sum),
        cmocka_unit_test(added_tokens_are_found_leftmost_and_longest),
        cmocka_unit_test(added_tokens_swallow_white_space_and_want_word_boundaries_as_flagged),
        cmocka_unit_test(normalized_added_tokens_are_looked_for_in_normalized_text),
        cmocka_unit_test(post_processors_add_their_ids_only_when_asked),
        cmocka_unit_test(bos_comes_from_the_configuration_first),
        cmocka_unit_test(tokens_without_a_decoder_are_put_together_with_spaces),
        cmocka_unit_test(an_id_that_is_no_token_is_refused_by_decode),
        cmocka_unit_test(files_that_are_not_tokenizers_are_refused_by_name),
        cmocka_unit_test(every_truncation_of_a_file_is_refused),
        cmocka_unit_test(deep_nesting_is_refused_before_it_recurses),
        cmocka_unit_test(the_tests_own_model_has_its_reference_ids),
        cmocka_unit_test(threads_share_one_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
