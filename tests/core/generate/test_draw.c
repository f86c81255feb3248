/* test_draw.c: what is drawn has the probabilities of the rule, computed here the plain way. */
#include "check.h"

#include "base/mem.h"
#include "base/rng.h"
#include "generate/draw.h"

enum { WORDS = 40 };

/* Some words are equally likely, so that the order among equals matters. */
static void make_logits(float *out)
{
    for (size_t i = 0; i < WORDS; i++)
        out[i] = (float)(3 * qd_rng_uniform(7, i)) - 2;
    out[11] = out[5] = out[30];
}

/* Probabilities of a rule: soft-max, the likeliest first, cut, normed. out_order: words by likelihood, of equals the lower id first. */
static size_t plain(const qd_draw_rule *rule, const float *logits, double *out, size_t *out_order)
{
    double weight[WORDS], total = 0, kept = 0;
    size_t count = 0, most = rule->top_k > 0 ? rule->top_k : WORDS;
    for (size_t i = 0; i < WORDS; i++)
        total += weight[i] = exp((double)logits[i] / rule->temperature);
    for (size_t i = 0; i < WORDS; i++) {
        out[i] = 0;
        size_t at = i;
        for (; at > 0 && weight[out_order[at - 1]] < weight[i]; at--)
            out_order[at] = out_order[at - 1];
        out_order[at] = i;
    }
    for (; count < most && count < WORDS && kept < rule->top_p * total; count++)
        kept += weight[out_order[count]];
    for (size_t i = 0; i < count; i++)
        out[out_order[i]] = weight[out_order[i]] / kept;
    return count;
}

static uint32_t draw(const qd_draw_rule *rule, const float *logits, double u)
{
    qd_error err = { 0 };
    float copy[WORDS];
    uint32_t order[WORDS], out = WORDS;
    memcpy(copy, logits, sizeof copy);
    check_ok(qd_draw(rule, copy, WORDS, u, order, &out, &err));
    assert_in_range(out, 0, WORDS - 1);
    return out;
}

static const qd_draw_rule rules[] = {
    { .temperature = 1, .top_p = 1 },
    { .temperature = 0.5, .top_p = 1 },
    { .temperature = 1, .top_p = 1, .top_k = 7 },
    { .temperature = 1, .top_p = 0.6 },
    { .temperature = 1.5, .top_p = 0.9, .top_k = 30 },
};

/* chi-square of DRAWS draws; its mean is the degrees of freedom f, its deviation sqrt(2 f). */
static void draws_have_the_probabilities_of_the_rule(void **state)
{
    enum { DRAWS = 20000 };
    const qd_draw_rule *rule = *state;
    float logits[WORDS];
    double wanted[WORDS], chi = 0;
    size_t order[WORDS], counts[WORDS] = { 0 };
    make_logits(logits);
    size_t words = plain(rule, logits, wanted, order);
    for (size_t i = 0; i < DRAWS; i++)
        counts[draw(rule, logits, qd_rng_uniform(qd_rng_key(3, 0, 0), i))]++;
    for (size_t i = 0; i < WORDS; i++) {
        double expected = DRAWS * wanted[i];
        if (wanted[i] == 0)
            assert_int_equal(counts[i], 0);
        else
            chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    }
    assert_true(words > 5);
    double f = (double)words - 1;
    assert_true(chi < f + 4 * sqrt(2 * f));
    assert_true(chi > f - 4 * sqrt(2 * f));
}

/* Evenly spaced numbers meet every word as often as its share says, to one. */
static void quantiles_meet_each_word_by_its_share(void **state)
{
    enum { STEPS = 4096 };
    const qd_draw_rule *rule = *state;
    float logits[WORDS];
    double wanted[WORDS];
    size_t order[WORDS], counts[WORDS] = { 0 };
    make_logits(logits);
    plain(rule, logits, wanted, order);
    for (size_t i = 0; i < STEPS; i++)
        counts[draw(rule, logits, ((double)i + 0.5) / STEPS)]++;
    for (size_t i = 0; i < WORDS; i++)
        check_near((double)counts[i], STEPS * wanted[i], 1.01);
}

static void all_words_come_by_id_and_fewer_by_likelihood(void **state)
{
    (void)state;
    float logits[WORDS];
    double wanted[WORDS];
    size_t order[WORDS];
    make_logits(logits);
    uint32_t last = draw(&rules[0], logits, 0);
    assert_int_equal(last, 0);
    for (size_t i = 1; i < 200; i++) {
        uint32_t next = draw(&rules[0], logits, (double)i / 200);
        assert_true(next >= last);
        last = next;
    }
    plain(&rules[2], logits, wanted, order);
    assert_int_equal(draw(&rules[2], logits, 0), order[0]);
    assert_int_equal(draw(&rules[2], logits, nextafter(1, 0)), order[6]);
}

static void temperature_zero_takes_the_likeliest(void **state)
{
    (void)state;
    const qd_draw_rule greedy = { .temperature = 0, .top_p = 1 };
    float logits[WORDS] = { 0 };
    logits[9] = logits[21] = 2;
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(draw(&greedy, logits, (double)i / 10), 9);
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        qd_error err = { 0 };
        float logits[WORDS];
        uint32_t order[WORDS], out = 77;
        make_logits(logits);
        logits[i * 13] = bad[i];
        check_fails(qd_draw(&rules[i], logits, WORDS, 0.5, order, &out, &err), QD_ENUMERIC);
        assert_int_equal(out, 77);
    }
}

#define RULE(index, what) \
    { "draws have the probabilities of the rule: " what, draws_have_the_probabilities_of_the_rule, NULL, NULL, \
      (void *)(uintptr_t)&rules[index] }, \
    { \
        "quantiles meet each word by its share: " what, quantiles_meet_each_word_by_its_share, NULL, NULL, \
            (void *)(uintptr_t)&rules[index] \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(0, "as predicted"),
        RULE(1, "temperature 0.5"),
        RULE(2, "the 7 likeliest"),
        RULE(3, "0.6 of the probability"),
        RULE(4, "all three"),
        cmocka_unit_test(all_words_come_by_id_and_fewer_by_likelihood),
        cmocka_unit_test(temperature_zero_takes_the_likeliest),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
