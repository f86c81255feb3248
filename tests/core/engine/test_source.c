/* test_source.c: the tokenizer of a GGUF gives the ids that the tokenizer it was written from gives. */
#include "check.h"

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "engine/source.h"
#include "export/gguf_tokenizer.h"
#include "folder.h"
#include "gguf_bytes.h"
#include "model/gguf_pre_tokenizer.h"

enum { TEXTS = 400, LONGEST = 60, PIECES = 400 };

/* ---- byte-level: a tokenizer.json as metadata, and back ---- */

static const char *by_id(const json_t *vocabulary, size_t id)
{
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vocabulary, text, value)
    {
        if (json_integer_value(value) == (json_int_t)id)
            return text;
    }
    fail();
    return NULL;
}

static void put_byte_level(gguf_bytes *g, const json_t *tokenizer)
{
    const json_t *model = json_object_get(tokenizer, "model"), *vocabulary = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges"), *added = json_object_get(tokenizer, "added_tokens");
    size_t count = json_object_size(vocabulary);
    gguf_put_text(g, "tokenizer.ggml.model", "gpt2");
    gguf_put_text(g, "tokenizer.ggml.pre", "smaug-bpe"); /* as llama-bpe, but whole words are merged too */
    gguf_put_bool(g, "tokenizer.ggml.add_bos_token", 1);
    gguf_put_array(g, "tokenizer.ggml.tokens", 8, count);
    for (size_t id = 0; id < count; id++)
        gguf_string(g, by_id(vocabulary, id), strlen(by_id(vocabulary, id)));
    gguf_put_array(g, "tokenizer.ggml.token_type", 5, count);
    for (size_t id = 0; id < count; id++)
        gguf_u32(g, id < json_array_size(added) ? 3 : 1);
    gguf_put_array(g, "tokenizer.ggml.merges", 8, json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        char text[256];
        const json_t *pair = json_array_get(merges, i);
        int length = snprintf(text, sizeof text, "%s %s", json_string_value(json_array_get(pair, 0)),
                              json_string_value(json_array_get(pair, 1)));
        gguf_string(g, text, (size_t)length);
    }
    gguf_put_u32(g, "tokenizer.ggml.bos_token_id", 0);
    gguf_put_u32(g, "tokenizer.ggml.eos_token_id", 1);
}

static void write_gguf(const gguf_bytes *g, const char *folder, char *out_path, size_t size)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str file = { 0 };
    gguf_finish(g, &file);
    snprintf(out_path, size, "%s/model.gguf", folder);
    check_ok(qd_file_write(out_path, file.data, file.length, &err));
}

/* Letters, digits, blanks and anything else of Unicode, as UTF-8. */
static size_t random_text(uint64_t key, uint64_t number, char *out)
{
    static const uint32_t from[] = { 0x20, 0x61, 0x30, 0xa0, 0x370, 0x4e00, 0x1f300, 0x9, 0x300, 0x21 };
    static const uint32_t width[] = { 1, 26, 10, 0x1e0, 0x300, 0x5000, 0x300, 5, 0x70, 15 };
    size_t length = 0, count = 1 + qd_rng_below(key, number, LONGEST);
    for (size_t i = 0; i < count; i++) {
        uint64_t at = number * 1000 + 2 * i;
        size_t kind = qd_rng_below(key, at, QD_LENGTH(from));
        uint32_t c = from[kind] + (uint32_t)qd_rng_below(key, at + 1, width[kind]);
        if (c < 0x80)
            out[length++] = (char)c;
        else if (c < 0x800) {
            out[length++] = (char)(0xc0 | c >> 6);
            out[length++] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            out[length++] = (char)(0xe0 | c >> 12);
            out[length++] = (char)(0x80 | (c >> 6 & 63));
            out[length++] = (char)(0x80 | (c & 63));
        } else {
            out[length++] = (char)(0xf0 | c >> 18);
            out[length++] = (char)(0x80 | (c >> 12 & 63));
            out[length++] = (char)(0x80 | (c >> 6 & 63));
            out[length++] = (char)(0x80 | (c & 63));
        }
    }
    return length;
}

static void check_same_ids(const qd_tokenizer *a, const qd_tokenizer *b, const char *text, size_t length)
{
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids left = { 0 }, right = { 0 };
    check_ok(qd_tokenizer_encode(a, text, length, QD_SPECIAL_ADD, &left, &err));
    check_ok(qd_tokenizer_encode(b, text, length, QD_SPECIAL_ADD, &right, &err));
    assert_int_equal(left.count, right.count);
    assert_memory_equal(left.data, right.data, left.count * sizeof *left.data);
    QD_AUTO(qd_str_fini) qd_str one = { 0 }, other = { 0 };
    check_ok(qd_tokenizer_decode(a, left.data, left.count, &one, &err));
    check_ok(qd_tokenizer_decode(b, right.data, right.count, &other, &err));
    assert_string_equal(qd_str_borrow(&one), qd_str_borrow(&other));
}

static void a_byte_level_tokenizer_survives_the_metadata(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[256], path[640], source[512], text[4 * LONGEST];
    qd_tokenizer *wanted = NULL, *got = NULL;
    QD_AUTO(qd_json_fini) json_t *json = NULL;
    QD_AUTO(gguf_fini) gguf_bytes g = { 0 };
    snprintf(source, sizeof source, "%s/tests/models/novella-1m", source_folder());
    check_ok(qd_source_tokenizer(source, &wanted, &err));
    snprintf(path, sizeof path, "%s/tokenizer.json", source);
    check_ok(qd_json_read_object(path, 1 << 24, 32, &json, &err));
    put_byte_level(&g, json);
    write_gguf(&g, temporary_folder(folder, sizeof folder), path, sizeof path);
    check_ok(qd_source_tokenizer(path, &got, &err));
    assert_int_equal(qd_tokenizer_vocabulary(got), qd_tokenizer_vocabulary(wanted));
    uint32_t bos = 9;
    assert_true(qd_tokenizer_bos(got, &bos) && bos == 0);
    const uint64_t key = qd_rng_key(4242, 0, 0);
    for (uint64_t i = 0; i < TEXTS; i++)
        check_same_ids(wanted, got, text, random_text(key, i, text));
    static const char special[] = "She said: <|begin|>I'LL 12345 <|end|>\n\n  go";
    check_same_ids(wanted, got, special, strlen(special));
    qd_tokenizer_destroy(wanted);
    qd_tokenizer_destroy(got);
    remove_folder(folder);
}

/* ---- SentencePiece: merges found from scores, against the algorithm itself ---- */

enum { FIRST_BYTE = 3, FIRST_LETTER = FIRST_BYTE + 256, ALPHABET = 11 };
static const char *const alphabet[ALPHABET] = {
    "\xe2\x96\x81", "a", "b", "c", "d", "e", "f", "g", "h", "i", "\xc3\xa9"
};

typedef struct pieces {
    char text[PIECES][32];
    float scores[PIECES];
    size_t count;
} pieces;

static int find(const pieces *p, const char *text)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->text[i], text) == 0)
            return (int)i;
    return -1;
}

/* Letters of a piece differ from each other: then no two overlapping pairs make the same piece, and ranks say all that
 * scores do. */
static void random_pieces(pieces *p, uint64_t key)
{
    for (uint64_t n = 0; p->count < PIECES; n++) {
        char text[32] = "";
        size_t length = 2 + qd_rng_below(key, 64 * n, 4);
        unsigned used = 0;
        for (size_t i = 0; i < length; i++) {
            size_t letter = qd_rng_below(key, 64 * n + 1 + i, ALPHABET);
            if (used >> letter & 1)
                continue;
            used |= 1u << letter;
            strcat(text, alphabet[letter]);
        }
        if (strlen(text) < 2 || find(p, text) >= 0 || used == (used & -used))
            continue;
        strcpy(p->text[p->count], text);
        /* Some come last, all with one score, as runs of blanks do in published files: then the lower id goes first. */
        double u = qd_rng_uniform(key, 64 * n + 40);
        p->scores[p->count++] = u < 0.05 ? -1e9f : (float)(-1e4 * u);
    }
}

static void put_sentencepiece(gguf_bytes *g, const pieces *p)
{
    static const char *const specials[] = { "<unk>", "<s>", "</s>" };
    size_t total = FIRST_LETTER + ALPHABET + p->count;
    gguf_put_text(g, "tokenizer.ggml.model", "llama");
    gguf_put_text(g, "tokenizer.ggml.pre", "default");
    gguf_put_array(g, "tokenizer.ggml.tokens", 8, total);
    for (size_t i = 0; i < 3; i++)
        gguf_string(g, specials[i], strlen(specials[i]));
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        gguf_string(g, text, (size_t)snprintf(text, sizeof text, "<0x%02X>", byte));
    }
    for (size_t i = 0; i < ALPHABET; i++)
        gguf_string(g, alphabet[i], strlen(alphabet[i]));
    for (size_t i = 0; i < p->count; i++)
        gguf_string(g, p->text[i], strlen(p->text[i]));
    gguf_put_array(g, "tokenizer.ggml.scores", 6, total);
    for (size_t i = 0; i < total; i++) {
        float score = i < FIRST_LETTER + ALPHABET ? 0.0f : p->scores[i - FIRST_LETTER - ALPHABET];
        gguf_raw(g, &score, sizeof score);
    }
    gguf_put_array(g, "tokenizer.ggml.token_type", 5, total);
    for (size_t i = 0; i < total; i++)
        gguf_u32(g, i == 0 ? 2 : i < FIRST_BYTE ? 3 : i < FIRST_LETTER ? 6 : 1);
}

/* The plain twin: as long as two neighbours make a piece, the best of them is joined. */
static void spm_encode(const pieces *p, const char *const *symbols, size_t count, qd_ids *out)
{
    qd_error err = { 0 };
    static char words[LONGEST + 1][LONGEST * 4];
    for (size_t i = 0; i < count; i++)
        strcpy(words[i], symbols[i]);
    for (;;) {
        size_t best = SIZE_MAX;
        int best_id = -1;
        char joint[LONGEST * 8];
        for (size_t i = 0; i + 1 < count; i++) {
            strcat(strcpy(joint, words[i]), words[i + 1]);
            int id = find(p, joint);
            if (id < 0)
                continue;
            if (best_id < 0 || p->scores[id] > p->scores[best_id] ||
                (p->scores[id] == p->scores[best_id] && id < best_id)) {
                best = i;
                best_id = id;
            }
        }
        if (best == SIZE_MAX)
            break;
        strcpy(words[best], p->text[best_id]);
        memmove(words[best + 1], words[best + 2], (count - best - 2) * sizeof *words);
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        int id = find(p, words[i]);
        size_t letter = 0;
        while (letter < ALPHABET && strcmp(alphabet[letter], words[i]) != 0)
            letter++;
        if (letter < ALPHABET)
            check_ok(qd_ids_add(out, (uint32_t)(FIRST_LETTER + letter), &err));
        else if (id >= 0)
            check_ok(qd_ids_add(out, (uint32_t)(FIRST_LETTER + ALPHABET + (size_t)id), &err));
        else /* not in the vocabulary: its bytes */
            for (const char *c = words[i]; *c != '\0'; c++)
                check_ok(qd_ids_add(out, FIRST_BYTE + (unsigned char)*c, &err));
    }
}

static void check_sentencepiece(const pieces *p, const qd_tokenizer *tokenizer, uint64_t key, uint64_t number)
{
    qd_error err = { 0 };
    char text[4 * LONGEST] = "";
    const char *symbols[LONGEST + 1] = { alphabet[0] };
    size_t count = 1 + qd_rng_below(key, 1000 * number, LONGEST - 1);
    for (size_t i = 0; i < count; i++) {
        size_t letter = qd_rng_below(key, 1000 * number + 1 + i, ALPHABET + 1);
        symbols[i + 1] = letter == ALPHABET ? "\xe6\xbc\xa2" : alphabet[letter];
        strcat(text, letter == 0 ? " " : symbols[i + 1]);
    }
    QD_AUTO(qd_ids_fini) qd_ids wanted = { 0 }, got = { 0 };
    check_ok(qd_ids_add(&wanted, 1, &err)); /* BOS, as SentencePiece files imply */
    spm_encode(p, symbols, count + 1, &wanted);
    check_ok(qd_tokenizer_encode(tokenizer, text, strlen(text), QD_SPECIAL_ADD, &got, &err));
    assert_int_equal(got.count, wanted.count);
    assert_memory_equal(got.data, wanted.data, got.count * sizeof *got.data);
    QD_AUTO(qd_str_fini) qd_str back = { 0 };
    check_ok(qd_tokenizer_decode(tokenizer, got.data + 1, got.count - 1, &back, &err));
    assert_string_equal(qd_str_borrow(&back), text);
}

static void scores_become_the_merges_that_sentencepiece_makes(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[256], path[512];
    static pieces p;
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(gguf_fini) gguf_bytes g = { 0 };
    const uint64_t key = qd_rng_key(77, 1, 2);
    random_pieces(&p, key);
    put_sentencepiece(&g, &p);
    write_gguf(&g, temporary_folder(folder, sizeof folder), path, sizeof path);
    check_ok(qd_source_tokenizer(path, &tokenizer, &err));
    for (uint64_t i = 1; i <= TEXTS; i++)
        check_sentencepiece(&p, tokenizer, key, i);
    qd_tokenizer_destroy(tokenizer);
    remove_folder(folder);
}

static void a_constant_score_leaves_the_order_of_ids(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[256], path[512];
    static pieces p;
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(gguf_fini) gguf_bytes g = { 0 };
    const uint64_t key = qd_rng_key(78, 1, 2);
    random_pieces(&p, key);
    for (size_t i = 0; i < p.count; i++)
        p.scores[i] = -1000.0f;
    put_sentencepiece(&g, &p);
    write_gguf(&g, temporary_folder(folder, sizeof folder), path, sizeof path);
    check_ok(qd_source_tokenizer(path, &tokenizer, &err));
    for (uint64_t i = 1; i <= TEXTS; i++)
        check_sentencepiece(&p, tokenizer, key, i);
    qd_tokenizer_destroy(tokenizer);
    remove_folder(folder);
}

/* Reading a name and writing it are two tables: they must agree. Names that mean the same as another come back as that. */
static void what_a_name_is_read_as_is_written_under_that_name(void **state)
{
    (void)state;
    const qd_gguf_pre_tokenizer *row;
    for (size_t i = 0; (row = qd_gguf_pre_tokenizer_at(i)) != NULL; i++) {
        qd_error err = { 0 };
        qd_gguf_cutting cutting = { 0 };
        QD_AUTO(qd_json_fini)
        json_t *tokenizer = json_pack(
            "{s:o, s:o, s:{s:b}}", "normalizer", json_loads(row->normalizer, JSON_DECODE_ANY, NULL), "pre_tokenizer",
            json_loads(row->pre_tokenizer, 0, NULL), "model", "ignore_merges", row->ignore_merges);
        check_ok(qd_gguf_cutting_find(tokenizer, &cutting, &err));
        const qd_gguf_pre_tokenizer *back = qd_gguf_pre_tokenizer_find(cutting.pre);
        assert_non_null(back);
        assert_true(back->pre_tokenizer == row->pre_tokenizer && back->ignore_merges == row->ignore_merges);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_level_tokenizer_survives_the_metadata),
        cmocka_unit_test(scores_become_the_merges_that_sentencepiece_makes),
        cmocka_unit_test(a_constant_score_leaves_the_order_of_ids),
        cmocka_unit_test(what_a_name_is_read_as_is_written_under_that_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
