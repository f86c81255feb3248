/* test_unigram.c: the best cut against all cuts, and long words. */
#include "tiny.h"

#include <time.h>

#include "base/rng.h"

enum { PIECES = 24, LONGEST_WORD = 12 };

/* Piece 0 is the unknown one; the letters x, y, z are in no piece. */
typedef struct random_pieces {
    char text[PIECES][8];
    double score[PIECES];
    double lowest;
} random_pieces;

static random_pieces make_pieces(uint64_t seed)
{
    random_pieces r = { .text = { "<u>", "a" }, .lowest = 0.0 };
    uint64_t key = qd_rng_key(seed, 3, 0), counter = 0;
    for (size_t i = 0; i < PIECES; i++) {
        r.score[i] = i == 0 ? 0.0 : -1.0 - 10.0 * qd_rng_uniform(key, counter++);
        r.lowest = r.score[i] < r.lowest ? r.score[i] : r.lowest;
        for (int there = i > 1; there;) {
            size_t length = 1 + qd_rng_below(key, counter++, 4);
            for (size_t k = 0; k < length; k++)
                r.text[i][k] = (char)('a' + qd_rng_below(key, counter++, 3));
            r.text[i][length] = '\0';
            there = 0;
            for (size_t j = 0; j < i; j++)
                there |= strcmp(r.text[j], r.text[i]) == 0;
        }
    }
    return r;
}

static qd_tokenizer *open_pieces(const random_pieces *r)
{
    qd_error err = { 0 };
    qd_tokenizer *t = NULL;
    QD_AUTO(qd_str_fini) qd_str json = { 0 };
    qd_str_add(&json, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[");
    for (size_t i = 0; i < PIECES; i++)
        qd_str_addf(&json, "%s[\"%s\",%.17g]", i == 0 ? "" : ",", r->text[i], r->score[i]);
    qd_str_add(&json, "]}}");
    check_ok(qd_tokenizer_parse(json.data, json.length, &t, &err));
    return t;
}

/* The best score of all cuts of `word`: each place takes every piece that fits, or one unknown character where no
 * one-letter piece does. */
static double try_all(const random_pieces *r, const char *word)
{
    double best = word[0] == '\0' ? 0.0 : -HUGE_VAL;
    int single = word[0] == '\0';
    for (size_t i = 1; i < PIECES && word[0] != '\0'; i++) {
        size_t length = strlen(r->text[i]);
        if (strncmp(word, r->text[i], length) != 0)
            continue;
        single |= length == 1;
        best = fmax(best, r->score[i] + try_all(r, word + length));
    }
    return single ? best : fmax(best, r->lowest - 10.0 + try_all(r, word + 1));
}

/* The score of the ids as a cut of `word`; -inf when they are none. Different cuts may tie, so scores are compared. */
static double score_of(const random_pieces *r, const qd_ids *ids, const char *word)
{
    double score = 0.0;
    size_t known = 0;
    const char *at = word;
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->data[i] == 0 && i > 0 && ids->data[i - 1] == 0)
            return -HUGE_VAL; /* neighbouring unknowns are one */
        if (ids->data[i] == 0)
            continue;
        const char *piece = r->text[ids->data[i]], *found = strstr(at, piece);
        if (found == NULL || (found != at && (i == 0 || ids->data[i - 1] != 0)))
            return -HUGE_VAL;
        at = found + strlen(piece);
        known += strlen(piece);
        score += r->score[ids->data[i]];
    }
    return score + (double)(strlen(word) - known) * (r->lowest - 10.0);
}

static void the_best_of_all_cuts_is_found(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        random_pieces r = make_pieces(seed);
        qd_tokenizer *t = open_pieces(&r);
        uint64_t key = qd_rng_key(seed, 4, 0), counter = 0;
        for (int n = 0; n < 40; n++) {
            qd_error err = { 0 };
            QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
            char word[LONGEST_WORD + 1] = { 0 };
            size_t length = 1 + qd_rng_below(key, counter++, LONGEST_WORD);
            for (size_t i = 0; i < length; i++)
                word[i] = "aabbccxy"[qd_rng_below(key, counter++, 8)];
            check_ok(qd_tokenizer_encode(t, word, length, QD_SPECIAL_NONE, &ids, &err));
            check_near(score_of(&r, &ids, word), try_all(&r, word), 1e-9);
        }
        qd_tokenizer_destroy(t);
    }
}

static void a_megabyte_of_one_word_is_linear(void **state)
{
    (void)state;
    random_pieces r = make_pieces(1);
    qd_tokenizer *t = open_pieces(&r);
    size_t length = 1 << 20;
    char *text = malloc(length);
    for (size_t i = 0; i < length; i++)
        text[i] = "abcx"[qd_rng_below(5, i, 4)];
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    clock_t start = clock();
    check_ok(qd_tokenizer_encode(t, text, length, QD_SPECIAL_NONE, &ids, &err));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("# 1 MB: %.3f s\n", seconds);
    assert_true(seconds < 5.0); /* 0.1 s is usual; quadratic work would take hours */
    free(text);
    qd_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_of_all_cuts_is_found),
        cmocka_unit_test(a_megabyte_of_one_word_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
