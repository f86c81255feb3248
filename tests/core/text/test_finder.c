/* test_finder.c: added tokens in one walk against a search at every place; SentencePiece's table, made here. */
#include "check.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/sign.h"
#include "text/component.h"
#include "text/finder.h"

enum { ROUNDS = 300, STRINGS = 12, LONGEST = 6, TEXT = 60 };

static size_t random_string(uint64_t key, uint64_t *counter, size_t least, size_t most, char *out)
{
    size_t length = least + qd_rng_below(key, (*counter)++, most - least + 1);
    for (size_t i = 0; i < length; i++)
        out[i] = "abc"[qd_rng_below(key, (*counter)++, 3)];
    out[length] = '\0';
    return length;
}

/* The plain way: every string at every place. -1: none begins there. */
static int longest_at(char strings[][LONGEST + 1], const char *text)
{
    int found = -1;
    for (int i = 0; i < STRINGS; i++)
        if (strncmp(text, strings[i], strlen(strings[i])) == 0 &&
            (found < 0 || strlen(strings[i]) > strlen(strings[found])))
            found = i;
    return found;
}

static void one_walk_finds_what_a_search_at_every_place_finds(void **state)
{
    (void)state;
    uint64_t key = qd_rng_key(6, 0, 0), counter = 0;
    size_t found = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        qd_error err = { 0 };
        QD_AUTO(qd_finder_fini) qd_finder finder = { 0 };
        QD_AUTO(qd_finds_fini) qd_finds finds = { 0 };
        char strings[STRINGS][LONGEST + 1], text[TEXT + 1];
        for (int i = 0; i < STRINGS; i++) {
            size_t length = random_string(key, &counter, 1, LONGEST, strings[i]);
            check_ok(qd_finder_add(&finder, strings[i], length, i, &err));
        }
        check_ok(qd_finder_finish(&finder, &err));
        size_t length = random_string(key, &counter, 0, TEXT, text), next = 0;
        check_ok(qd_finder_run(&finder, text, length, &finds, &err));
        for (size_t at = length; at-- > 0;) {
            int want = longest_at(strings, text + at);
            if (want < 0)
                continue;
            assert_true(next < finds.count);
            assert_int_equal(finds.items[next].start, at);
            assert_string_equal(strings[finds.items[next].value], strings[want]);
            next++;
        }
        assert_int_equal(next, finds.count);
        found += next;
    }
    assert_true(found > 1000);
}

/* ---- a table: every node has 256 units of its own ---- */

enum { BLOCK = 256, UNITS = 40 * BLOCK };

typedef struct table {
    uint32_t units[UNITS];
    size_t blocks;
    char texts[256];
    size_t texts_length;
} table;

/* The block of the children of unit `at`, made when there is none yet. */
static uint32_t block_of(table *t, uint32_t at)
{
    if (t->units[at] >> 10 == 0) {
        t->blocks++;
        assert_true((t->blocks + 1) * BLOCK <= UNITS);
        t->units[at] |= (uint32_t)(t->blocks * BLOCK ^ at) << 10;
    }
    return at ^ t->units[at] >> 10;
}

static void add(table *t, const char *from, const char *to)
{
    uint32_t at = 0;
    for (; *from != '\0'; from++) {
        at = block_of(t, at) ^ (unsigned char)*from;
        t->units[at] |= (unsigned char)*from;
    }
    uint32_t leaf = block_of(t, at);
    t->units[at] |= 1u << 8;
    t->units[leaf] = 1u << 31 | (uint32_t)t->texts_length;
    memcpy(t->texts + t->texts_length, to, strlen(to) + 1);
    t->texts_length += strlen(to) + 1;
}

static qd_code normalize(const unsigned char *bytes, size_t length, const char *text, qd_str *out)
{
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) char *base64 = NULL;
    QD_AUTO(qd_chain_fini) qd_chain chain = { 0 };
    QD_AUTO(qd_pieces_fini) qd_pieces pieces = { 0 }, spare = { 0 };
    check_ok(qd_base64_encode(bytes, length, &base64, &err));
    QD_AUTO(qd_json_fini) json_t *spec = json_pack("{s:s, s:s}", "type", "Precompiled", "precompiled_charsmap", base64);
    qd_code code = qd_chain_parse(&qd_normalizers, spec, &chain, &err);
    if (code != QD_OK)
        return code;
    check_ok(qd_pieces_add(&pieces, text, strlen(text), QD_PLACE_START, &err));
    check_ok(qd_chain_run(&chain, &pieces, &spare, &err));
    qd_str_add_bytes(out, qd_piece_text(&pieces, 0), pieces.items[0].length);
    return QD_OK;
}

/* Bytes of the table as in a file. */
static size_t lay_out(const table *t, unsigned char *out)
{
    size_t units = (t->blocks + 1) * BLOCK, used = 4 + 4 * units;
    for (size_t i = 0; i <= units; i++) {
        uint32_t value = i == 0 ? (uint32_t)(4 * units) : t->units[i - 1];
        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = (unsigned char)(value >> 8 * k);
    }
    memcpy(out + used, t->texts, t->texts_length);
    return used + t->texts_length;
}

static void a_table_changes_graphemes_first_and_characters_else(void **state)
{
    (void)state;
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) table *t = NULL;
    QD_AUTO(qd_free_pointer) unsigned char *bytes = NULL;
    QD_AUTO(qd_str_fini) qd_str out = { 0 };
    check_ok(qd_alloc(1, sizeof *t, (void **)&t, &err));
    check_ok(qd_alloc(sizeof *t + 4, 1, (void **)&bytes, &err));
    add(t, "\xEF\xAC\x81", "fi");
    add(t, "A", "a");
    add(t, "e\xCC\x81", "\xC3\xA9");
    add(t, "\xE2\x80\x8B", ""); /* goes away */
    size_t length = lay_out(t, bytes);
    check_ok(normalize(bytes, length, "A\xEF\xAC\x81 e\xCC\x81 e\xCC\xA3 \xE2\x80\x8B.z", &out));
    assert_string_equal(qd_str_borrow(&out), "afi \xC3\xA9 e\xCC\xA3 .z");
    qd_str_clear(&out);
    check_ok(normalize(bytes, length, "A\xCC\x81", &out)); /* the grapheme begins with an entry: all of it is that */
    assert_string_equal(qd_str_borrow(&out), "a");
    bytes[0] += 4; /* one unit more, of texts */
    assert_int_equal(normalize(bytes, 8, "A", &out), QD_EFORMAT);
    assert_int_equal(normalize(bytes, 3, "A", &out), QD_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_walk_finds_what_a_search_at_every_place_finds),
        cmocka_unit_test(a_table_changes_graphemes_first_and_characters_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
