/* test_pack.c: the dense bit stream of formats.md §4.2. */
#include "base/rng.h"
#include "check.h"
#include "quant/pack.h"

static void every_width_and_length_survives_the_round_trip(void **state)
{
    (void)state;
    uint8_t codes[101], back[101];
    uint32_t words[102];
    for (unsigned bits = 1; bits <= 8; bits++)
        for (size_t count = 0; count <= 101; count++) {
            for (size_t i = 0; i < count; i++)
                codes[i] = (uint8_t)(qd_rng_bits(bits, i) & ((1U << bits) - 1));
            size_t size = qd_pack_words(count, bits);
            assert_int_equal(size, (count * bits + 31) / 32);
            memset(words, 0xAA, sizeof words);
            qd_pack_row(codes, count, bits, words);
            assert_int_equal(words[size], 0xAAAAAAAA);
            memset(back, 0xBB, sizeof back);
            qd_unpack_row(words, count, bits, back);
            assert_memory_equal(codes, back, count);
            if (count < sizeof back)
                assert_int_equal(back[count], 0xBB);
        }
}

static void element_i_is_at_bits_i_times_b_and_tail_bits_are_zero(void **state)
{
    (void)state;
    for (unsigned bits = 1; bits <= 8; bits++) {
        enum { COUNT = 45 };
        uint8_t codes[COUNT];
        uint32_t words[COUNT];
        for (size_t i = 0; i < COUNT; i++)
            codes[i] = (uint8_t)(qd_rng_bits(10 + bits, i) & ((1U << bits) - 1));
        qd_pack_row(codes, COUNT, bits, words);
        for (size_t at = 0; at < 32 * qd_pack_words(COUNT, bits); at++) {
            unsigned want = at < COUNT * bits ? (unsigned)codes[at / bits] >> (at % bits) & 1U : 0U;
            assert_int_equal(words[at / 32] >> (at % 32) & 1U, want);
        }
    }
}

static void layouts_of_known_codes_are_these_words(void **state)
{
    (void)state;
    /* codes are stored as value - low */
    static const int four[8] = { -8, -7, -1, 0, 1, 6, 7, 2 },
                     two[16] = { -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1 },
                     eight[4] = { -128, -1, 0, 127 };
    uint8_t codes[32];
    uint32_t words[3];
    for (size_t i = 0; i < 8; i++)
        codes[i] = (uint8_t)(four[i] + 8);
    qd_pack_row(codes, 8, 4, words);
    assert_int_equal(words[0], 0xAFE98710);
    for (size_t i = 0; i < 16; i++)
        codes[i] = (uint8_t)(two[i] + 2);
    qd_pack_row(codes, 16, 2, words);
    assert_int_equal(words[0], 0xE4E4E4E4);
    for (size_t i = 0; i < 4; i++)
        codes[i] = (uint8_t)(eight[i] + 128);
    qd_pack_row(codes, 4, 8, words);
    assert_int_equal(words[0], 0xFF807F00);
    for (size_t i = 0; i < 32; i++) /* three bits straddle words */
        codes[i] = (uint8_t)(i % 8);
    qd_pack_row(codes, 32, 3, words);
    assert_int_equal(words[0], 0x88FAC688);
    assert_int_equal(words[1], 0xC688FAC6);
    assert_int_equal(words[2], 0xFAC688FA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_and_length_survives_the_round_trip),
        cmocka_unit_test(element_i_is_at_bits_i_times_b_and_tail_bits_are_zero),
        cmocka_unit_test(layouts_of_known_codes_are_these_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
