/* test_bpe.c: byte-pair merging against its naive definition, round trips of random text, and hostile sizes. */
#include "tiny.h"

#include <time.h>

#include "base/rng.h"
#include "text/utf8.h"

enum { MOST_PIECES = 64, MOST_SYMBOLS = 256 };

/* A random vocabulary over a, b, c: each merge joins two pieces that are there. */
typedef struct random_merges {
    char text[MOST_PIECES][16];
    size_t count;
    uint32_t left[MOST_PIECES], right[MOST_PIECES]; /* of merge number i */
    uint32_t made[MOST_PIECES];
    size_t merges;
} random_merges;

static int find_piece(const random_merges *r, const char *text)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->text[i], text) == 0)
            return (int)i;
    return -1;
}

static random_merges make_merges(uint64_t seed)
{
    random_merges r = { .text = { "a", "b", "c" }, .count = 3 };
    uint64_t key = qd_rng_key(seed, 1, 0), counter = 0;
    while (r.merges < 40) {
        uint32_t left = (uint32_t)qd_rng_below(key, counter++, r.count);
        uint32_t right = (uint32_t)qd_rng_below(key, counter++, r.count);
        char joined[32];
        snprintf(joined, sizeof joined, "%s%s", r.text[left], r.text[right]);
        int there = 0;
        for (size_t i = 0; i < r.merges; i++)
            there |= r.left[i] == left && r.right[i] == right;
        if (strlen(joined) > 12 || there)
            continue;
        int id = find_piece(&r, joined); /* two merges may make the same piece, as in Llama 3's file */
        if (id < 0) {
            id = (int)r.count++;
            memcpy(r.text[id], joined, strlen(joined) + 1);
        }
        r.left[r.merges] = left;
        r.right[r.merges] = right;
        r.made[r.merges++] = (uint32_t)id;
    }
    return r;
}

/* The definition: of all neighbours, the pair of lowest rank, the leftmost of equals; until none is left. */
static size_t merge_naively(const random_merges *r, uint32_t *ids, size_t count)
{
    for (;;) {
        size_t best_rank = r->merges, best_at = 0;
        for (size_t at = 0; at + 1 < count; at++)
            for (size_t rank = 0; rank < best_rank; rank++)
                if (r->left[rank] == ids[at] && r->right[rank] == ids[at + 1]) {
                    best_rank = rank;
                    best_at = at;
                }
        if (best_rank == r->merges)
            return count;
        ids[best_at] = r->made[best_rank];
        memmove(ids + best_at + 1, ids + best_at + 2, (count - best_at - 2) * sizeof *ids);
        count--;
    }
}

static qd_tokenizer *open_merges(const random_merges *r)
{
    QD_AUTO(qd_str_fini) qd_str vocab = { 0 }, merges = { 0 };
    for (size_t i = 0; i < r->count; i++)
        qd_str_addf(&vocab, "%s\"%s\":%zu", i == 0 ? "" : ",", r->text[i], i);
    for (size_t i = 0; i < r->merges; i++)
        qd_str_addf(&merges, "%s\"%s %s\"", i == 0 ? "" : ",", r->text[r->left[i]], r->text[r->right[i]]);
    return tiny_open((tiny){ .vocab = vocab.data, .merges = merges.data, .decoder = "{\"type\":\"Fuse\"}" });
}

static void merging_is_its_naive_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        random_merges r = make_merges(seed);
        qd_tokenizer *t = open_merges(&r);
        uint64_t key = qd_rng_key(seed, 2, 0);
        for (uint64_t n = 0; n < 30; n++) {
            char text[MOST_SYMBOLS];
            uint32_t want[MOST_SYMBOLS];
            size_t length = 1 + qd_rng_below(key, n * 1000, MOST_SYMBOLS - 1);
            for (size_t i = 0; i < length; i++) {
                want[i] = (uint32_t)qd_rng_below(key, n * 1000 + i + 1, n % 3 + 1); /* runs of one letter too */
                text[i] = (char)('a' + want[i]);
            }
            qd_error err = { 0 };
            QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
            check_ok(qd_tokenizer_encode(t, text, length, QD_SPECIAL_NONE, &ids, &err));
            assert_int_equal(ids.count, merge_naively(&r, want, length));
            assert_memory_equal(ids.data, want, ids.count * sizeof *want);
        }
        qd_tokenizer_destroy(t);
    }
}

static qd_tokenizer *novella(void)
{
    char folder[1024];
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    check_ok(qd_tokenizer_open(SOURCE_PATH(folder, "tests/models/novella-1m"), &t, &err));
    return t;
}

/* decode(encode(text)) is `want`. */
static void check_round_trip(const qd_tokenizer *t, const char *text, size_t length, const char *want,
                             size_t want_length)
{
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    QD_AUTO(qd_str_fini) qd_str back = { 0 };
    check_ok(qd_tokenizer_encode(t, text, length, QD_SPECIAL_NONE, &ids, &err));
    check_ok(qd_tokenizer_decode(t, ids.data, ids.count, &back, &err));
    assert_int_equal(back.length, want_length);
    assert_memory_equal(qd_str_borrow(&back), want, want_length);
    for (size_t i = 0; i < ids.count; i++)
        assert_true(ids.data[i] < qd_tokenizer_vocabulary(t));
}

static uint32_t random_char(uint64_t key, uint64_t *counter)
{
    static const uint32_t limits[] = { 0x80, 0x300, 0x3100, 0x110000 };
    uint32_t c = (uint32_t)qd_rng_below(key, *counter + 1, limits[qd_rng_below(key, *counter, 4)]);
    *counter += 2;
    return c >= 0xD800 && c < 0xE000 ? ' ' : c;
}

static void random_text_comes_back_as_it_was(void **state)
{
    (void)state;
    qd_tokenizer *t = novella();
    uint64_t key = qd_rng_key(11, 0, 0), counter = 0;
    for (int n = 0; n < 2000; n++) {
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        size_t chars = qd_rng_below(key, counter++, 40);
        for (size_t i = 0; i < chars; i++)
            qd_utf8_add(random_char(key, &counter), &text);
        check_round_trip(t, qd_str_borrow(&text), text.length, qd_str_borrow(&text), text.length);
    }
    qd_tokenizer_destroy(t);
}

static void random_bytes_come_back_with_replacement_characters(void **state)
{
    (void)state;
    qd_tokenizer *t = novella();
    uint64_t key = qd_rng_key(12, 0, 0), counter = 0;
    for (int n = 0; n < 2000; n++) {
        QD_AUTO(qd_str_fini) qd_str clean = { 0 };
        char bytes[64];
        size_t length = qd_rng_below(key, counter++, sizeof bytes);
        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)qd_rng_bits(key, counter++);
        qd_utf8_clean(bytes, length, &clean);
        check_round_trip(t, bytes, length, qd_str_borrow(&clean), clean.length);
    }
    qd_tokenizer_destroy(t);
}

static void every_single_byte_has_an_id(void **state)
{
    (void)state;
    qd_tokenizer *t = novella();
    for (uint32_t c = 0; c < 0x800; c++) {
        char text[4];
        size_t length = qd_utf8_put(c, text);
        check_round_trip(t, text, length, text, length);
    }
    qd_tokenizer_destroy(t);
}

/* Processor seconds of one encode of `count` copies of `unit`. */
static double time_repeated(const qd_tokenizer *t, const char *unit, size_t count, qd_ids *ids)
{
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    for (size_t i = 0; i < count; i++)
        qd_str_add(&text, unit);
    ids->count = 0;
    clock_t start = clock();
    check_ok(qd_tokenizer_encode(t, qd_str_borrow(&text), text.length, QD_SPECIAL_NONE, ids, &err));
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* 1 MB takes at most about 16 times what 64 kB takes (times log n), where quadratic work would take 256 times. */
static void check_growth(const qd_tokenizer *t, const char *name, const char *unit)
{
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    size_t large = (1u << 20) / strlen(unit);
    double small_time = time_repeated(t, unit, large / 16, &ids);
    double large_time = time_repeated(t, unit, large, &ids);
    print_message("# 1 MB of %s: %.3f s, 64 kB: %.4f s\n", name, large_time, small_time);
    assert_true(large_time < 64.0 * small_time + 0.25);
}

static void a_megabyte_of_one_word_is_not_quadratic(void **state)
{
    (void)state;
    qd_tokenizer *t = novella();
    check_growth(t, "a", "a");
    check_growth(t, "the", "the");
    check_growth(t, "e with acute", "\xC3\xA9");
    check_growth(t, "blanks", " ");
    check_growth(t, "newline, blank", "\n ");
    check_growth(t, "signs", "!?");
    qd_tokenizer_destroy(t);
    random_merges r = make_merges(3);
    t = open_merges(&r);
    check_growth(t, "abcacb", "abcacb");
    qd_tokenizer_destroy(t);
}

static void a_megabyte_of_marks_out_of_order_is_not_quadratic(void **state)
{
    (void)state;
    qd_tokenizer *t = tiny_open((tiny){ .normalizer = "{\"type\":\"NFC\"}", .vocab = "\"a\":0" });
    check_growth(t, "marks", "\xCC\x81\xCC\xA3"); /* classes 230 and 220 */
    qd_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_is_its_naive_definition),
        cmocka_unit_test(random_text_comes_back_as_it_was),
        cmocka_unit_test(random_bytes_come_back_with_replacement_characters),
        cmocka_unit_test(every_single_byte_has_an_id),
        cmocka_unit_test(a_megabyte_of_one_word_is_not_quadratic),
        cmocka_unit_test(a_megabyte_of_marks_out_of_order_is_not_quadratic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
