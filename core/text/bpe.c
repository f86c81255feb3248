/* bpe.c: the BPE word model: vocabulary and merges from the file, first symbols of a word.
 * Source: formats.md §3 "BPE model". */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/bpe_merge.h"
#include "text/nul_text.h"
#include "text/utf8.h"
#include "text/word_model.h"

enum { NO_ID = -1 };

typedef struct bpe {
    qd_bpe_pairs pairs;
    bool ignore_merges, fuse_unknown, has_fallback;
    int64_t unknown;        /* NO_ID: unknown characters vanish */
    uint32_t fallback[256]; /* ids of <0x00> to <0xFF>, where has_fallback */
    int64_t direct[0x200];  /* ids of one-character pieces: what byte-level words begin with */
    char *prefix, *suffix;  /* continuing_subword_prefix, end_of_word_suffix; NULL: none */
} bpe;

static void destroy(void *state)
{
    bpe *b = state;
    if (b == NULL)
        return;
    qd_bpe_pairs_fini(&b->pairs);
    free(b->prefix);
    free(b->suffix);
    free(b);
}

static qd_code parse_vocab(const json_t *model, qd_vocab *vocab, qd_error *err)
{
    json_t *pieces = json_object_get(model, "vocab"), *value;
    if (!json_is_object(pieces))
        return qd_fail(err, QD_EFORMAT, "'vocab': an object is wanted, found %s", qd_json_type_name(pieces));
    const char *text;
    json_object_foreach(pieces, text, value)
    {
        if (!json_is_integer(value))
            return qd_fail(err, QD_EFORMAT, "'vocab': the id of '%.40s' is %s", text, qd_json_type_name(value));
        qd_code code = qd_vocab_add(vocab, text, strlen(text), json_integer_value(value), err);
        if (code != QD_OK)
            return qd_within(err, code, "'vocab'");
    }
    return QD_OK;
}

typedef struct merge_text {
    qd_str left, right, joined;
} merge_text;

static void merge_text_fini(merge_text *m)
{
    qd_str_fini(&m->left);
    qd_str_fini(&m->right);
    qd_str_fini(&m->joined);
}

static void set_side(const qd_vocab *vocab, const char *text, size_t length, qd_str *out)
{
    qd_str_clear(out);
    if (vocab->hides_nul)
        qd_nul_restore(text, length, out);
    else
        qd_str_add_bytes(out, text, length);
}

/* ["a", "b"], or "a b" cut at its only space. */
static bool read_sides(const json_t *merge, const qd_vocab *vocab, merge_text *out)
{
    const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge);
    const char *right = json_string_value(json_array_get(merge, 1));
    size_t left_length = left == NULL ? 0 : strlen(left);
    if (json_is_string(merge)) {
        const char *space = strchr(left, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL)
            return false;
        left_length = (size_t)(space - left);
        right = space + 1;
    } else if (left == NULL || right == NULL || json_array_size(merge) != 2)
        return false;
    set_side(vocab, left, left_length, &out->left);
    set_side(vocab, right, strlen(right), &out->right);
    return true;
}

static qd_code add_merge(bpe *b, const qd_vocab *vocab, const json_t *merge, size_t rank, merge_text *text,
                         qd_error *err)
{
    if (!read_sides(merge, vocab, text))
        return qd_fail(err, QD_EFORMAT, "'merges': number %zu is neither \"a b\" nor [\"a\", \"b\"]", rank);
    const qd_str *left = &text->left, *right = &text->right;
    size_t skip = qd_min_size(b->prefix == NULL ? 0 : strlen(b->prefix), right->length);
    uint32_t left_id, right_id, id;
    qd_str_clear(&text->joined);
    qd_str_add_bytes(&text->joined, qd_str_borrow(left), left->length);
    qd_str_add_bytes(&text->joined, qd_str_borrow(right) + skip, right->length - skip);
    if (left->failed || right->failed || text->joined.failed)
        return qd_fail(err, QD_ENOMEM, "out of memory reading 'merges'");
    if (!qd_vocab_find(vocab, qd_str_borrow(left), left->length, &left_id) ||
        !qd_vocab_find(vocab, qd_str_borrow(right), right->length, &right_id) ||
        !qd_vocab_find(vocab, qd_str_borrow(&text->joined), text->joined.length, &id))
        return qd_fail(err, QD_EFORMAT, "'merges': number %zu: '%.40s', its left or its right side is not in 'vocab'",
                       rank, qd_str_borrow(&text->joined));
    qd_bpe_pairs_put(&b->pairs, left_id, right_id, (uint32_t)rank, id);
    return QD_OK;
}

static qd_code parse_merges(bpe *b, const json_t *model, const qd_vocab *vocab, qd_error *err)
{
    const json_t *merges = json_object_get(model, "merges"), *merge;
    if (!json_is_array(merges) || json_array_size(merges) >= UINT32_MAX)
        return qd_fail(err, QD_EFORMAT, "'merges': an array is wanted, found %s", qd_json_type_name(merges));
    QD_AUTO(merge_text_fini) merge_text text = { 0 };
    qd_code code = qd_bpe_pairs_init(&b->pairs, json_array_size(merges), err);
    size_t rank;
    json_array_foreach(merges, rank, merge)
    {
        if (code == QD_OK)
            code = add_merge(b, vocab, merge, rank, &text, err);
    }
    return code;
}

static qd_code parse_options(bpe *b, const json_t *model, const qd_vocab *vocab, qd_error *err)
{
    double dropout;
    const char *unknown, *prefix, *suffix;
    uint32_t id;
    qd_code code = qd_json_real(model, "dropout", 0.0, &dropout, err);
    if (code == QD_OK && dropout != 0.0)
        return qd_fail(err, QD_EUNSUPPORTED, "'dropout' %g: merging at random is for training; 0 or null is wanted",
                       dropout);
    if (code == QD_OK)
        code = qd_json_bool(model, "fuse_unk", false, &b->fuse_unknown, err);
    if (code == QD_OK)
        code = qd_json_bool(model, "byte_fallback", false, &b->has_fallback, err);
    if (code == QD_OK)
        code = qd_json_bool(model, "ignore_merges", false, &b->ignore_merges, err);
    if (code == QD_OK)
        code = qd_json_text(model, "unk_token", NULL, &unknown, err);
    if (code == QD_OK)
        code = qd_json_text(model, "continuing_subword_prefix", NULL, &prefix, err);
    if (code == QD_OK)
        code = qd_json_text(model, "end_of_word_suffix", NULL, &suffix, err);
    if (code == QD_OK && prefix != NULL && prefix[0] != '\0')
        code = qd_dup(prefix, &b->prefix, err);
    if (code == QD_OK && suffix != NULL && suffix[0] != '\0')
        code = qd_dup(suffix, &b->suffix, err);
    if (code != QD_OK)
        return code;
    b->unknown = NO_ID;
    if (unknown != NULL && qd_vocab_find(vocab, unknown, strlen(unknown), &id))
        b->unknown = id;
    else if (unknown != NULL && unknown[0] != '\0')
        return qd_fail(err, QD_EFORMAT, "'unk_token': '%.40s' is not in 'vocab'", unknown);
    return QD_OK;
}

static void fill_tables(bpe *b, const qd_vocab *vocab)
{
    char text[7];
    for (unsigned i = 0; i < 256 && b->has_fallback; i++) {
        qd_word_model_byte_token((unsigned char)i, text);
        b->has_fallback = qd_vocab_find(vocab, text, 6, &b->fallback[i]);
    }
    for (uint32_t c = 0; c < QD_LENGTH(b->direct); c++) {
        uint32_t id;
        b->direct[c] = qd_vocab_find(vocab, text, qd_utf8_put(c, text), &id) ? (int64_t)id : NO_ID;
    }
}

static qd_code parse(const json_t *model, qd_vocab *vocab, void **out_state, qd_error *err)
{
    bpe *b = NULL;
    qd_code code = parse_vocab(model, vocab, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *b, (void **)&b, err);
    if (code == QD_OK)
        code = parse_options(b, model, vocab, err);
    if (code == QD_OK)
        code = parse_merges(b, model, vocab, err);
    if (code != QD_OK) {
        destroy(b);
        return code;
    }
    fill_tables(b, vocab);
    *out_state = b;
    return QD_OK;
}

typedef struct scratch {
    qd_bpe_word word;
    qd_str text; /* a character with prefix or suffix */
} scratch;

static void scratch_fini(void *memory)
{
    scratch *s = memory;
    qd_bpe_word_fini(&s->word);
    qd_str_fini(&s->text);
}

/* The id of the character at word[at..at + step), with the file's prefix and suffix; NO_ID when there is none. */
static int64_t first_id(const bpe *b, const qd_vocab *vocab, scratch *s, const char *word, size_t at, size_t step,
                        size_t length)
{
    uint32_t id;
    if (b->prefix == NULL && b->suffix == NULL)
        return qd_vocab_find(vocab, word + at, step, &id) ? (int64_t)id : NO_ID;
    qd_str_clear(&s->text);
    if (at > 0 && b->prefix != NULL)
        qd_str_add(&s->text, b->prefix);
    qd_str_add_bytes(&s->text, word + at, step);
    if (at + step == length && b->suffix != NULL)
        qd_str_add(&s->text, b->suffix);
    return qd_vocab_find(vocab, qd_str_borrow(&s->text), s->text.length, &id) ? (int64_t)id : NO_ID;
}

static qd_code add_bytes(const bpe *b, qd_bpe_word *symbols, const char *bytes, size_t count, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_bpe_word_add(symbols, b->fallback[(unsigned char)bytes[i]], err);
    return code;
}

static qd_code add_symbols(const bpe *b, const qd_vocab *vocab, scratch *s, const char *word, size_t length,
                           qd_error *err)
{
    bool plain = b->prefix == NULL && b->suffix == NULL, was_unknown = false;
    qd_code code = QD_OK;
    for (size_t at = 0, step; code == QD_OK && at < length; at += step) {
        uint32_t c;
        step = qd_utf8_get(word + at, &c);
        int64_t id = plain && c < QD_LENGTH(b->direct) ? b->direct[c] : first_id(b, vocab, s, word, at, step, length);
        bool unknown = id == NO_ID && !b->has_fallback;
        if (id != NO_ID)
            code = qd_bpe_word_add(&s->word, (uint32_t)id, err);
        else if (b->has_fallback && plain)
            code = add_bytes(b, &s->word, word + at, step, err);
        else if (b->has_fallback) /* the prefix and suffix are spelled too */
            code = add_bytes(b, &s->word, qd_str_borrow(&s->text), s->text.length, err);
        else if (b->unknown != NO_ID && !(was_unknown && b->fuse_unknown))
            code = qd_bpe_word_add(&s->word, (uint32_t)b->unknown, err);
        was_unknown = unknown;
    }
    return code;
}

static qd_code encode(const void *state, const qd_vocab *vocab, void *memory, const char *word, size_t length,
                      qd_ids *ids, qd_error *err)
{
    const bpe *b = state;
    scratch *s = memory;
    uint32_t whole;
    if (b->ignore_merges && qd_vocab_find(vocab, word, length, &whole))
        return qd_ids_add(ids, whole, err);
    qd_bpe_word_clear(&s->word);
    qd_code code = add_symbols(b, vocab, s, word, length, err);
    return code == QD_OK ? qd_bpe_word_merge(&s->word, &b->pairs, ids, err) : code;
}

const qd_word_model qd_word_model_bpe = { "BPE", parse, destroy, sizeof(scratch), scratch_fini, encode };
