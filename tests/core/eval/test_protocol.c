/* test_protocol.c: windows of an evaluation by their definitions, which tokens they score, and every row of the table of protocols. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "eval/protocol.h"

enum { BOS = 9000 };

/* 1000, 1001, ..: a token says where in the text it stands. */
static qd_ids numbered(size_t count)
{
    qd_ids ids = { .data = malloc(count * sizeof(uint32_t)), .count = count, .capacity = count };
    for (size_t i = 0; i < count; i++)
        ids.data[i] = (uint32_t)(1000 + i);
    return ids;
}

static void cut(const qd_ids *ids, const qd_window_cut *how, qd_windows *out)
{
    qd_error err = { 0 };
    check_ok(qd_windows_cut(ids, how, out, &err));
}

/* The definitions, spelled out: a sequence is made and cut. */
static void windows_side_by_side_follow_their_definitions(void **state)
{
    (void)state;
    for (size_t count = 3; count < 40; count++)
        for (size_t length = 2; length <= 4; length++) {
            QD_AUTO(qd_ids_fini) qd_ids ids = numbered(count);
            QD_AUTO(qd_windows_fini) qd_windows every = { 0 }, none = { 0 }, inserted = { 0 }, first = { 0 };
            uint32_t sequence[64] = { BOS };
            memcpy(sequence + 1, ids.data, count * sizeof *sequence);
            cut(&ids, &(qd_window_cut){ .length = length, .bos = BOS }, &every);
            cut(&ids, &(qd_window_cut){ .length = length, .policy = QD_BOS_FIRST_WINDOW, .bos = BOS }, &first);
            assert_int_equal(every.count, (count + 1) / length);
            assert_int_equal(first.count, every.count);
            assert_memory_equal(first.ids, sequence, first.count * length * sizeof *sequence);
            for (size_t i = 0; i < every.count * length; i++)
                assert_int_equal(every.ids[i], i % length == 0 ? BOS : sequence[i]);
            assert_int_equal(every.tokens_used, every.count * (length - 1));
            assert_int_equal(first.tokens_used, first.count * length - 1);
            if (count >= length) {
                cut(&ids, &(qd_window_cut){ .length = length, .policy = QD_BOS_NONE, .bos = -1 }, &none);
                assert_int_equal(none.count, count / length);
                assert_memory_equal(none.ids, ids.data, none.count * length * sizeof *none.ids);
            }
            cut(&ids, &(qd_window_cut){ .length = length, .policy = QD_BOS_INSERTED, .bos = BOS }, &inserted);
            assert_int_equal(inserted.count, count / (length - 1));
            size_t next = 0;
            for (size_t i = 0; i < inserted.count * length; i++)
                assert_int_equal(inserted.ids[i], i % length == 0 ? BOS : ids.data[next++]);
            assert_int_equal(qd_windows_before(&every, every.count), every.count * (length - 1));
        }
}

/* No token is scored twice; where windows overlap, none is left out between the first that is scored and the last, but for a context that is longer
 * than what windows have in common. shared: that; 0 = side by side. */
static void check_scored(const qd_windows *w, size_t text, size_t context, size_t shared)
{
    unsigned char *seen = calloc(text, 1);
    size_t all = 0, last = 0;
    for (size_t i = 0; i < w->count; i++)
        for (size_t t = qd_windows_from(w, i); t < w->length; t++, all++) {
            uint32_t id = w->ids[i * w->length + t];
            assert_true(t >= 1 && t >= context && id != BOS);
            assert_int_equal(seen[id - 1000]++, 0);
            last = id - 1000;
        }
    size_t begin = 0;
    while (!seen[begin])
        begin++;
    assert_int_equal(all, qd_windows_before(w, w->count));
    if (shared > 0 && context <= shared)
        assert_int_equal(all, last - begin + 1);
    free(seen);
}

static void windows_that_overlap_score_no_token_twice(void **state)
{
    (void)state;
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(101);
    for (int policy = QD_BOS_EVERY_WINDOW; policy <= QD_BOS_FIRST_WINDOW; policy++)
        for (size_t length = 3; length <= 12; length++)
            for (size_t stride = 1; stride <= length - (policy == QD_BOS_INSERTED); stride++)
                for (size_t context = 0; context < length; context++) {
                    QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
                    const qd_window_cut how = { length, stride, context, 0, (qd_bos_policy)policy, BOS };
                    cut(&ids, &how, &w);
                    bool side_by_side = stride == length - (policy == QD_BOS_INSERTED);
                    assert_int_equal(w.fresh, side_by_side ? 0 : stride);
                    check_scored(&w, ids.count, context, side_by_side ? 0 : length - stride);
                    for (size_t i = 0; i < w.count; i++)
                        assert_int_equal(qd_windows_before(&w, i + 1) - qd_windows_before(&w, i),
                                         qd_windows_predictions(&w, i));
                }
}

static void max_windows_keeps_the_first_ones(void **state)
{
    (void)state;
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(100);
    QD_AUTO(qd_windows_fini) qd_windows all = { 0 }, some = { 0 }, more = { 0 };
    qd_window_cut how = { .length = 10, .stride = 5, .bos = 1 };
    cut(&ids, &how, &all);
    how.max_windows = 3;
    cut(&ids, &how, &some);
    how.max_windows = 30;
    cut(&ids, &how, &more);
    assert_int_equal(all.count, 19);
    assert_int_equal(some.count, 3);
    assert_int_equal(more.count, 19);
    assert_memory_equal(all.ids, some.ids, 30 * sizeof *all.ids);
}

static void cuts_that_score_nothing_or_leave_gaps_are_refused(void **state)
{
    static const struct {
        qd_window_cut how;
        const char *why;
    } bad[] = {
        { { .length = 1, .bos = 1 }, "at least 2" },
        { { .length = 4, .bos = -1 }, "BOS" },
        { { .length = 4, .bos = INT64_C(1) << 40 }, "no token id" },
        { { .length = 102, .bos = 1 }, "the text has 100 tokens" },
        { { .length = 8, .context = 8, .bos = 1 }, "context: 8 of the 8" },
        { { .length = 8, .stride = 9, .bos = 1 }, "stride: 9 is beyond the 8" },
        { { .length = 8, .stride = 8, .policy = QD_BOS_INSERTED, .bos = 1 }, "stride: 8 is beyond the 7" },
        { { .length = SIZE_MAX / 2, .policy = QD_BOS_NONE, .bos = -1 }, "the text has 100 tokens" },
    };
    (void)state;
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(100);
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        qd_error err = { 0 };
        qd_windows w = { 0 };
        check_fails(qd_windows_cut(&ids, &bad[i].how, &w, &err), QD_EINVAL);
        check_contains(err.text, bad[i].why);
        assert_null(w.ids);
    }
}

/* Rows are found by their names, and cut what they say: of a model with any positions, with few, and with less than they want. */
static void every_protocol_can_be_asked_for_and_cuts(void **state)
{
    static const size_t positions[] = { 0, 64, 1024, 4096 };
    (void)state;
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(7900);
    for (size_t i = 0; qd_protocol_at(i) != NULL; i++) {
        const qd_protocol *row = qd_protocol_at(i);
        assert_ptr_equal(qd_protocol_find(row->name), row);
        assert_true(strlen(row->summary) > 20 && row->length >= 2 && row->stride < row->length);
        for (size_t k = 0; k < QD_LENGTH(positions); k++)
            for (int64_t bos = -1; bos <= BOS; bos += BOS + 1) {
                const qd_protocol_use use = qd_protocol_defaults(row);
                qd_error err = { 0 };
                qd_window_cut how;
                QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
                check_ok(qd_protocol_resolve(&use, "length", positions[k], bos, &how, &err));
                cut(&ids, &how, &w);
                size_t want = positions[k] == 0 || positions[k] > row->length ? row->length : positions[k];
                assert_int_equal(w.length, want);
                assert_int_equal(how.policy, bos < 0 ? QD_BOS_NONE : row->bos);
                assert_true(how.stride < how.length && qd_windows_from(&w, 0) < w.length);
                check_scored(&w, ids.count, how.context, w.fresh == 0 ? 0 : w.length - w.fresh);
            }
    }
    assert_null(qd_protocol_find("Plain"));
}

/* What others publish, in numbers. */
static void protocols_are_the_published_ones(void **state)
{
    static const struct {
        const char *name;
        size_t length, stride, first,
            scored; /* first token that is scored; how many of a window behind the first one */
    } want[] = {
        { "plain", 2048, 0, 1, 2047 },    { "tutorial", 2048, 0, 1024, 1024 }, { "gptq", 2048, 0, 1, 2047 },
        { "strided", 1024, 512, 1, 512 }, { "llama.cpp", 512, 0, 257, 255 },
    };
    (void)state;
    QD_AUTO(qd_ids_fini) qd_ids ids = numbered(7900);
    for (size_t i = 0; i < QD_LENGTH(want); i++) {
        const qd_protocol_use use = qd_protocol_defaults(qd_protocol_find(want[i].name));
        qd_error err = { 0 };
        qd_window_cut how;
        QD_AUTO(qd_windows_fini) qd_windows w = { 0 };
        check_ok(qd_protocol_resolve(&use, "length", 0, BOS, &how, &err));
        cut(&ids, &how, &w);
        assert_int_equal(w.length, want[i].length);
        assert_int_equal(how.stride, want[i].stride);
        assert_int_equal(qd_windows_from(&w, 0), want[i].first);
        assert_int_equal(qd_windows_predictions(&w, 1), want[i].scored);
    }
}

static void what_is_given_wins_over_the_protocol(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_window_cut how;
    qd_protocol_use use = qd_protocol_defaults(qd_protocol_find("tutorial"));
    use.length = 100;
    check_ok(qd_protocol_resolve(&use, "length", 1024, BOS, &how, &err));
    assert_int_equal(how.context, 50); /* the second half of these */
    use.context = 7;
    use.stride = 20;
    use.bos = QD_BOS_NONE;
    check_ok(qd_protocol_resolve(&use, "length", 1024, BOS, &how, &err));
    assert_int_equal(how.context, 7);
    assert_int_equal(how.stride, 20);
    assert_int_equal(how.policy, QD_BOS_NONE);
    check_fails(qd_protocol_resolve(&use, "evaluation.length", 99, BOS, &how, &err), QD_EINVAL);
    check_contains(err.text, "evaluation.length: 100 is beyond the model's max_position_embeddings of 99");
    for (int i = 0; qd_bos_policy_name((size_t)i) != NULL; i++)
        assert_int_equal(qd_bos_policy_find(qd_bos_policy_name((size_t)i)), i);
    assert_int_equal(qd_bos_policy_find("every"), -1);
}

/* A rendered conversation brings the BOS that a window would be given. */
static void a_bos_of_the_texts_own_is_not_doubled(void **state)
{
    static const qd_bos_policy policies[] = { QD_BOS_EVERY_WINDOW, QD_BOS_INSERTED, QD_BOS_FIRST_WINDOW };
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(policies); i++) {
        QD_AUTO(qd_ids_fini) qd_ids ids = numbered(30), with = numbered(31);
        QD_AUTO(qd_windows_fini) qd_windows want = { 0 }, got = { 0 };
        with.data[0] = BOS;
        memcpy(with.data + 1, ids.data, 30 * sizeof *ids.data);
        const qd_window_cut how = { .length = 4, .policy = policies[i], .bos = BOS };
        cut(&ids, &how, &want);
        cut(&with, &how, &got);
        assert_int_equal(got.count, want.count);
        assert_memory_equal(got.ids, want.ids, got.count * got.length * sizeof *got.ids);
        assert_int_equal(got.tokens_used, want.tokens_used + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_side_by_side_follow_their_definitions),
        cmocka_unit_test(a_bos_of_the_texts_own_is_not_doubled),
        cmocka_unit_test(windows_that_overlap_score_no_token_twice),
        cmocka_unit_test(max_windows_keeps_the_first_ones),
        cmocka_unit_test(cuts_that_score_nothing_or_leave_gaps_are_refused),
        cmocka_unit_test(every_protocol_can_be_asked_for_and_cuts),
        cmocka_unit_test(protocols_are_the_published_ones),
        cmocka_unit_test(what_is_given_wins_over_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
