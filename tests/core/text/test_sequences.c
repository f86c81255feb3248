/* test_sequences.c: sequences by the policy for documents: where they lie, what became of every token, who judges whom. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "text/sequences.h"

enum { BOS = 1, EOS = 2, FIRST = 100, EVERY = 5 };

/* Documents of these lengths; ids count on from FIRST through all of them. */
static qd_corpus corpus_of(const size_t *lengths, size_t count)
{
    qd_error err = { 0 };
    qd_corpus corpus = { .empty = 3 };
    corpus.ends = malloc((count + 1) * sizeof *corpus.ends);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < lengths[i]; k++)
            check_ok(qd_ids_add(&corpus.ids, (uint32_t)(FIRST + corpus.ids.count), &err));
        corpus.ends[corpus.documents++] = corpus.ids.count;
    }
    return corpus;
}

static qd_corpus random_corpus(uint64_t seed, size_t most)
{
    size_t lengths[30], count = 1 + (size_t)(seed % 30);
    for (size_t i = 0; i < count; i++)
        lengths[i] = 1 + (size_t)qd_rng_below(qd_rng_key(seed, 1, 0), i, most);
    return corpus_of(lengths, count);
}

static size_t document_of(const qd_corpus *corpus, uint32_t id)
{
    size_t d = 0;
    while (id - FIRST >= corpus->ends[d])
        d++;
    return d;
}

static qd_sequence_request request_of(qd_boundary boundary, size_t count, size_t length, int64_t bos)
{
    return (qd_sequence_request){ .window = { .count = count, .length = length, .bos = bos },
                                  .boundary = boundary,
                                  .separator = BOS,
                                  .every = EVERY };
}

static void expect_ids(const qd_windows *w, const uint32_t *want, size_t count)
{
    assert_int_equal(w->count * w->length, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(w->ids[i], want[i]);
}

static void every_token_is_kept_or_dropped_for_one_reason(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        qd_error err = { 0 };
        qd_sequence_report r;
        QD_AUTO(qd_corpus_fini) qd_corpus corpus = random_corpus(seed, 90);
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        qd_sequence_request request =
            request_of((qd_boundary)(seed % 3), 1 + seed % 40, 2 + seed % 17, seed % 4 == 0 ? -1 : BOS);
        request.window.sampling = seed % 5 < 2 ? QD_SAMPLING_RANDOM : QD_SAMPLING_EVEN;
        request.window.seed = seed;
        if (qd_sequences_cut(&corpus, &request, &w, &r, &err) != QD_OK)
            continue;
        assert_int_equal(r.tokens, r.kept + r.too_short + r.left_over + r.unused);
        assert_int_equal(r.tokens, corpus.ids.count + r.separators);
        assert_int_equal(r.documents, corpus.documents);
        assert_int_equal(r.empty, 3);
        size_t content = request.window.length - (request.window.bos >= 0);
        if (request.boundary != QD_DOCUMENTS_SEPARATED) /* there a separator may stand for a sequence's own BOS */
            assert_int_equal(w.count * content, r.kept + r.repeated);
        assert_int_equal(r.held_out, w.count < EVERY ? 1 : w.count / EVERY);
        if (request.boundary != QD_DOCUMENTS_WITHIN)
            assert_int_equal(w.count, request.window.count);
    }
}

/* Plain twin: every whole sequence of every document, one by one. */
static void within_documents_no_sequence_crosses_one_and_none_is_missed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        qd_error err = { 0 };
        qd_sequence_report r;
        QD_AUTO(qd_corpus_fini) qd_corpus corpus = random_corpus(seed, 60);
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        size_t length = 2 + seed % 9, content = length - seed % 2, whole = 0, too_short = 0, left_over = 0;
        for (size_t d = 0; d < corpus.documents; d++) {
            size_t tokens = corpus.ends[d] - (d == 0 ? 0 : corpus.ends[d - 1]);
            whole += tokens / content;
            *(tokens < content ? &too_short : &left_over) += tokens % content;
        }
        qd_sequence_request request = request_of(QD_DOCUMENTS_WITHIN, 100000, length, seed % 2 == 0 ? -1 : BOS);
        if (whole == 0) {
            check_fails(qd_sequences_cut(&corpus, &request, &w, &r, &err), QD_EINVAL);
            continue;
        }
        check_ok(qd_sequences_cut(&corpus, &request, &w, &r, &err));
        assert_int_equal(w.count, whole);
        assert_int_equal(r.too_short, too_short);
        assert_int_equal(r.left_over, left_over);
        assert_int_equal(r.unused, 0);
        char *seen = calloc(corpus.ids.count, 1);
        for (size_t i = 0; i < w.count; i++) {
            const uint32_t *ids = w.ids + i * length + (length - content);
            if (content < length)
                assert_int_equal(ids[-1], BOS);
            assert_int_equal(document_of(&corpus, ids[0]), document_of(&corpus, ids[content - 1]));
            for (size_t k = 0; k < content; k++) {
                assert_int_equal(ids[k], ids[0] + k);
                assert_false(seen[ids[k] - FIRST]++);
            }
        }
        free(seen);
    }
}

static void fewer_are_taken_evenly_or_by_the_seed_and_none_twice(void **state)
{
    (void)state;
    const size_t lengths[] = { 40, 3, 81, 20 }; /* 10 + 0 + 20 + 5 sequences of 4 */
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = corpus_of(lengths, 4);
    for (size_t count = 1; count <= 35; count++) {
        qd_error err = { 0 };
        qd_sequence_report r;
        size_t at[35];
        for (size_t i = 0, d = 0, k = 0; i < 35; i++, k += 4) {
            while (k + 4 > lengths[d])
                d++, k = 0;
            at[i] = (d == 0 ? 0 : corpus.ends[d - 1]) + k;
        }
        QD_AUTO(qd_windows_fini) qd_windows even = { 0 }, random = { 0 }, again = { 0 }, other = { 0 };
        qd_sequence_request request = request_of(QD_DOCUMENTS_WITHIN, count, 4, -1);
        request.every = 0;
        request.window.phase = 0.5;
        check_ok(qd_sequences_cut(&corpus, &request, &even, &r, &err));
        assert_int_equal(r.held_out, 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(even.ids[4 * i], FIRST + at[(2 * i + 1) * 35 / (2 * count)]);
        request.window.sampling = QD_SAMPLING_RANDOM;
        check_ok(qd_sequences_cut(&corpus, &request, &random, &r, &err));
        check_ok(qd_sequences_cut(&corpus, &request, &again, &r, &err));
        assert_memory_equal(random.ids, again.ids, 4 * count * sizeof *random.ids);
        for (size_t i = 1; i < count; i++)
            assert_true(random.ids[4 * i] > random.ids[4 * i - 4]);
        request.window.seed = 1;
        check_ok(qd_sequences_cut(&corpus, &request, &other, &r, &err));
        if (count > 3 && count < 32)
            assert_memory_not_equal(random.ids, other.ids, 4 * count * sizeof *random.ids);
    }
}

static void a_separator_stands_once_between_documents(void **state)
{
    static const size_t ends[] = { 2, 4, 6, 8 };
    static const struct {
        uint32_t ids[8];
        int64_t separator;
        size_t put_in, count;
        uint32_t want[12];
    } rows[] = {
        { { 10, 11, 12, 13, 14, 15, 16, 17 }, BOS, 3, 11, { 10, 11, 1, 12, 13, 1, 14, 15, 1, 16, 17 } },
        { { 1, 11, 1, 13, 14, 15, 1, 17 }, BOS, 1, 9, { 1, 11, 1, 13, 1, 14, 15, 1, 17 } }, /* brought along */
        { { 10, 2, 12, 13, 14, 2, 16, 2 }, EOS, 1, 9, { 10, 2, 12, 13, 2, 14, 2, 16, 2 } },
    };
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        qd_error err = { 0 };
        qd_sequence_report r;
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        const qd_corpus corpus = { .ids = { .data = (uint32_t *)(uintptr_t)rows[i].ids, .count = 8 },
                                   .ends = (size_t *)(uintptr_t)ends,
                                   .documents = 4 };
        qd_sequence_request request = request_of(QD_DOCUMENTS_SEPARATED, 1, rows[i].count, -1);
        request.separator = rows[i].separator;
        check_ok(qd_sequences_cut(&corpus, &request, &w, &r, &err));
        expect_ids(&w, rows[i].want, rows[i].count);
        assert_int_equal(r.separators, rows[i].put_in);
        request.separator = -1;
        QD_AUTO(qd_windows_fini) qd_windows none = { 0 };
        check_fails(qd_sequences_cut(&corpus, &request, &none, &r, &err), QD_EINVAL);
        check_contains(err.text, "'separated' needs a BOS or EOS token");
    }
}

/* A rendered conversation begins with the text of BOS. */
static void a_bos_of_the_documents_own_is_not_doubled(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_sequence_report r;
    uint32_t ids[] = { BOS, 10, 11, 12, 13, BOS, 20, 21, 22 };
    size_t ends[] = { 5, 9 };
    const qd_corpus corpus = { .ids = { .data = ids, .count = 9 }, .ends = ends, .documents = 2 };
    QD_AUTO(qd_windows_fini) qd_windows within = { 0 }, joined = { 0 };
    qd_sequence_request request = request_of(QD_DOCUMENTS_WITHIN, 9, 3, BOS);
    check_ok(qd_sequences_cut(&corpus, &request, &within, &r, &err));
    expect_ids(&within, (const uint32_t[]){ BOS, 10, 11, BOS, 12, 13, BOS, 20, 21 }, 9);
    assert_int_equal(r.kept, 8); /* both of their own are in use */
    assert_int_equal(r.left_over, 1);
    request = request_of(QD_DOCUMENTS_JOINED, 1, 9, BOS);
    check_ok(qd_sequences_cut(&corpus, &request, &joined, &r, &err));
    expect_ids(&joined, (const uint32_t[]){ BOS, 10, 11, 12, 13, BOS, 20, 21, 22 }, 9);
    assert_int_equal(r.kept, 9);
}

/* ---- who judges ---- */

/* The fewest documents on both sides: 0 where some of the groups add up to `wanted`, else 1. */
static size_t fewest_shared(const size_t *sizes, size_t groups, size_t wanted)
{
    for (size_t set = 0; set < (size_t)1 << groups; set++) {
        size_t sum = 0;
        for (size_t g = 0; g < groups; g++)
            sum += set >> g & 1 ? sizes[g] : 0;
        if (sum == wanted)
            return 0;
    }
    return 1;
}

static size_t count_shared(const size_t *document, const size_t *order, size_t count, size_t every, size_t groups)
{
    size_t sides[16] = { 0 }, shared = 0;
    for (size_t i = 0; i < count; i++)
        sides[document[order[i]]] |= i % every == every - 1 ? 2 : 1;
    for (size_t g = 0; g < groups; g++)
        shared += sides[g] == 3;
    return shared;
}

static void as_few_documents_as_can_be_are_fitted_and_judged_by_at_once(void **state)
{
    size_t shared_at_all = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        qd_error err = { 0 };
        size_t sizes[12], document[120], order[120], seen[120] = { 0 }, count = 0, shared = 99;
        size_t groups = 1 + (size_t)(seed % 12);
        for (size_t g = 0; g < groups; g++) {
            sizes[g] = 1 + (size_t)qd_rng_below(qd_rng_key(seed, 5, 0), g, seed % 2 == 0 ? 10 : 3);
            for (size_t k = 0; k < sizes[g]; k++)
                document[count++] = g;
        }
        check_ok(qd_sequences_deal(document, count, EVERY, order, &shared, &err));
        for (size_t i = 0; i < count; i++)
            assert_false(seen[order[i]]++);
        size_t every = count < EVERY ? count : EVERY;
        if (every < 2)
            continue;
        assert_int_equal(count_shared(document, order, count, every, groups), shared);
        assert_int_equal(shared, fewest_shared(sizes, groups, count / every));
        shared_at_all += shared;
    }
    assert_true(shared_at_all > 20); /* some cannot be helped */
}

static void where_documents_do_not_matter_every_fifth_judges_as_ever(void **state)
{
    (void)state;
    for (size_t count = 1; count < 40; count++) {
        qd_error err = { 0 };
        size_t each[40], one[40] = { 0 }, order[40], shared;
        for (size_t i = 0; i < count; i++)
            each[i] = i;
        check_ok(qd_sequences_deal(each, count, EVERY, order, &shared, &err));
        assert_int_equal(shared, 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(order[i], i);
        check_ok(qd_sequences_deal(one, count, EVERY, order, &shared, &err));
        assert_int_equal(shared, count > 1);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(order[i], i);
    }
}

static void what_cannot_be_cut_is_refused_with_the_numbers(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_sequence_report r;
    QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = corpus_of((const size_t[]){ 5, 7, 2 }, 3);
    qd_sequence_request request = request_of(QD_DOCUMENTS_WITHIN, 4, 9, BOS);
    check_fails(qd_sequences_cut(&corpus, &request, &w, &r, &err), QD_EINVAL);
    check_contains(err.text, "none of 3 fills a sequence of 9 tokens; the longest has 7");
    request.window.length = 1;
    check_fails(qd_sequences_cut(&corpus, &request, &w, &r, &err), QD_EINVAL);
    request = request_of(QD_DOCUMENTS_JOINED, 4, 15, BOS);
    check_fails(qd_sequences_cut(&corpus, &request, &w, &r, &err), QD_EINVAL);
    check_contains(err.text, "14 tokens");
    for (size_t i = 0; qd_boundary_name(i) != NULL; i++)
        assert_int_equal(qd_boundary_find(qd_boundary_name(i)), i);
    assert_int_equal(qd_boundary_find("packed"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_is_kept_or_dropped_for_one_reason),
        cmocka_unit_test(within_documents_no_sequence_crosses_one_and_none_is_missed),
        cmocka_unit_test(fewer_are_taken_evenly_or_by_the_seed_and_none_twice),
        cmocka_unit_test(a_separator_stands_once_between_documents),
        cmocka_unit_test(a_bos_of_the_documents_own_is_not_doubled),
        cmocka_unit_test(as_few_documents_as_can_be_are_fitted_and_judged_by_at_once),
        cmocka_unit_test(where_documents_do_not_matter_every_fifth_judges_as_ever),
        cmocka_unit_test(what_cannot_be_cut_is_refused_with_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
