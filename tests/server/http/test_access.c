/* test_access.c: whose address, which host and origin, sessions, wrong keys: the parts of access without a server. */
#include "check.h"

#include "base/clock.h"
#include "http/forwarded.h"
#include "http/guard.h"
#include "http/hosts.h"
#include "http/message.h"
#include "http/sessions.h"

#define KEY "01234567890123456789abcdez"
#define OTHER "11234567890123456789abcdez"

static void a_proxy_is_believed_one_hop_at_a_time_from_the_right(void **state)
{
    (void)state;
    static const char *const trusted[] = { "10.0.0.0/8", "2001:db8:1::/48", NULL };
    static const struct {
        const char *peer, *forwarded, *client;
    } cases[] = {
        { "192.0.2.1", NULL, "192.0.2.1" },
        { "192.0.2.1", "198.51.100.5", "192.0.2.1" }, /* nobody said that this peer may speak for others */
        { "10.1.2.3", NULL, "10.1.2.3" },
        { "10.1.2.3", "198.51.100.5", "198.51.100.5" },
        { "10.1.2.3", "6.6.6.6, 198.51.100.5", "198.51.100.5" }, /* what the client invented stands left */
        { "10.1.2.3", "6.6.6.6,198.51.100.5, 10.9.9.9", "198.51.100.5" },
        { "10.1.2.3", "10.0.0.7, 10.0.0.8", "10.0.0.7" },
        { "10.1.2.3", "198.51.100.5:4711", "198.51.100.5" },
        { "10.1.2.3", "[2001:db8:9::7]:443", "2001:db8:9::7" },
        { "10.1.2.3", "2001:db8:9::7", "2001:db8:9::7" },
        { "10.1.2.3", "::ffff:198.51.100.5", "198.51.100.5" },
        { "::ffff:10.1.2.3", "198.51.100.5", "198.51.100.5" }, /* a socket of both families */
        { "2001:db8:1::5", "198.51.100.5", "198.51.100.5" },
        { "10.1.2.3", "198.51.100.5, unknown", "10.1.2.3" }, /* behind what is no address nothing is believed */
        { "10.1.2.3", "198.51.100.5, ", "10.1.2.3" },
        { "10.1.2.3", "198.51.100.5, 10.0.0.0/8", "10.1.2.3" },
        { "10.1.2.3", "", "10.1.2.3" },
        { "10.1.2.3", ",,,", "10.1.2.3" },
    };
    qd_error err = { 0 };
    QD_AUTO(qd_proxies_fini) qd_proxies proxies = { 0 };
    check_ok(qd_proxies_init(&proxies, trusted, &err));
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        qd_net peer;
        char text[QD_ADDRESS_TEXT];
        check_ok(qd_net_parse(cases[i].peer, &peer, &err));
        const qd_net client = qd_forwarded_client(&proxies, &peer, cases[i].forwarded);
        qd_net_text(&client, text);
        if (strcmp(text, cases[i].client) != 0)
            fail_msg("%s with '%s' is %s instead of %s", cases[i].peer, cases[i].forwarded, text, cases[i].client);
    }
    static const char *const wrong[] = { "10.0.0.1/8", NULL };
    check_fails(qd_proxies_init(&(qd_proxies){ 0 }, wrong, &err), QD_EINVAL);
    check_contains(err.text, "trusted-proxy: network '10.0.0.1/8'");
}

static void a_request_names_a_host_of_ours(void **state)
{
    (void)state;
    static const char *const names[] = { "quantd.example.org", "other.example:8443", "2001:db8::5", NULL };
    static const struct {
        const char *host, *listen;
        bool allowed;
    } cases[] = {
        { "localhost", "127.0.0.1", true },
        { "LocalHost:8080", "127.0.0.1", true },
        { "127.0.0.1:8080", "127.0.0.1", true },
        { "127.9.9.9", "127.0.0.1", true },
        { "[::1]:80", "127.0.0.1", true },
        { "[::ffff:127.0.0.1]", "127.0.0.1", true },
        { "192.0.2.5:8080", "192.0.2.5", true },
        { "192.0.2.6:8080", "192.0.2.5", false },
        { "192.0.2.6:8080", "0.0.0.0", true }, /* an address was not resolved from another's name */
        { "[2001:db8::7]", "::", true },
        { "evil.example", "0.0.0.0", false },
        { "evil.example", "127.0.0.1", false },
        { "localhost.evil.example", "127.0.0.1", false },
        { "127.0.0.1.evil.example", "127.0.0.1", false },
        { "0x7f.1", "127.0.0.1", false },
        { "quantd.example.org", "127.0.0.1", true },
        { "QUANTD.example.org:8080", "127.0.0.1", true },
        { "quantd.example.org.", "127.0.0.1", false },
        { "other.example:8443", "127.0.0.1", true },
        { "other.example", "127.0.0.1", false },
        { "other.example:80", "127.0.0.1", false },
        { "[2001:db8::5]:8080", "127.0.0.1", true },
        { "", "127.0.0.1", false },
        { "localhost:80x", "127.0.0.1", false },
        { "[::1", "127.0.0.1", false },
        { "localhost/", "127.0.0.1", false },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++)
        if (qd_host_allowed(cases[i].host, cases[i].listen, names) != cases[i].allowed)
            fail_msg("'%s' on %s is %s", cases[i].host, cases[i].listen, cases[i].allowed ? "refused" : "allowed");
    assert_false(qd_host_allowed("quantd.example.org", "127.0.0.1", NULL));
}

static void an_origin_is_ours_by_scheme_name_and_port(void **state)
{
    (void)state;
    assert_true(qd_origin_same("http://localhost:8080", "localhost:8080", QD_SCHEME_ANY));
    assert_true(qd_origin_same("https://localhost:8080", "localhost:8080", QD_SCHEME_ANY)); /* TLS ended before us */
    assert_true(qd_origin_same("https://LOCALHOST:8080", "localhost:8080", QD_SCHEME_HTTPS));
    assert_false(qd_origin_same("http://localhost:8080", "localhost:8080", QD_SCHEME_HTTPS));
    assert_false(qd_origin_same("http://localhost:8081", "localhost:8080", QD_SCHEME_ANY));
    assert_false(qd_origin_same("http://localhost", "localhost:8080", QD_SCHEME_ANY));
    assert_false(qd_origin_same("http://localhost:8080.evil.example", "localhost:8080", QD_SCHEME_ANY));
    assert_false(qd_origin_same("ftp://localhost:8080", "localhost:8080", QD_SCHEME_ANY));
    assert_false(qd_origin_same("null", "localhost:8080", QD_SCHEME_ANY));
    assert_false(qd_origin_same("http://localhost", NULL, QD_SCHEME_ANY));
}

static void an_address_may_be_wrong_so_often_and_others_are_not_touched(void **state)
{
    (void)state;
    qd_guard *guard = NULL;
    qd_error err = { 0 };
    check_ok(qd_guard_create(20, &guard, &err));
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(qd_guard_failed(guard, "192.0.2.1"), 0);
    unsigned wait = qd_guard_failed(guard, "192.0.2.1");
    assert_true(wait >= 1 && wait <= 3); /* 20 a minute come back one in 3 s */
    assert_int_equal(qd_guard_failed(guard, "192.0.2.2"), 0);
    for (unsigned i = 0; i < 20; i++) { /* one household is one /64 */
        char address[QD_ADDRESS_TEXT];
        snprintf(address, sizeof address, "2001:db8:1:2::%x", i + 1);
        assert_int_equal(qd_guard_failed(guard, address), 0);
    }
    assert_true(qd_guard_failed(guard, "2001:db8:1:2:ffff::1") > 0);
    assert_int_equal(qd_guard_failed(guard, "2001:db8:1:3::1"), 0);
    for (unsigned i = 0; i < 100000; i++) { /* a flood of addresses takes no memory */
        char address[QD_ADDRESS_TEXT];
        snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        qd_guard_failed(guard, address);
    }
    assert_int_equal(qd_guard_failed(guard, ""), 0);
    qd_guard_destroy(guard);
}

static void a_session_is_its_words_and_ends(void **state)
{
    (void)state;
    qd_sessions *sessions = NULL;
    char word[QD_SESSION_TEXT], wrong[QD_SESSION_TEXT], key[QD_JOB_ID] = "";
    qd_error err = { 0 };
    check_ok(qd_sessions_create(8, 3, 60, &sessions, &err));
    assert_false(qd_sessions_find(sessions, "", key));
    assert_false(qd_sessions_find(sessions, "0000000000000000000000000000000000000000", key));
    check_ok(qd_sessions_begin(sessions, KEY, word, &err));
    assert_int_equal(strlen(word), 40);
    assert_true(qd_sessions_find(sessions, word, key));
    assert_string_equal(key, KEY);
    for (size_t i = 0; i < strlen(word); i++) {
        memcpy(wrong, word, sizeof wrong);
        wrong[i] = wrong[i] == 'f' ? 'e' : 'f';
        assert_false(qd_sessions_find(sessions, wrong, key));
    }
    qd_sessions_end(sessions, word);
    assert_false(qd_sessions_find(sessions, word, key));
    qd_sessions_destroy(sessions);
    check_ok(qd_sessions_create(8, 3, 0.05, &sessions, &err));
    check_ok(qd_sessions_begin(sessions, KEY, word, &err));
    usleep(60000);
    assert_false(qd_sessions_find(sessions, word, key)); /* its time is over */
    qd_sessions_destroy(sessions);
}

static void a_key_that_logs_in_again_and_again_ends_only_its_own_sessions(void **state)
{
    (void)state;
    qd_sessions *sessions = NULL;
    char first[QD_SESSION_TEXT], words[5][QD_SESSION_TEXT], key[QD_JOB_ID];
    qd_error err = { 0 };
    check_ok(qd_sessions_create(4, 3, 60, &sessions, &err));
    check_ok(qd_sessions_begin(sessions, OTHER, first, &err));
    for (size_t i = 0; i < QD_LENGTH(words); i++) {
        check_ok(qd_sessions_begin(sessions, KEY, words[i], &err));
        usleep(1000); /* older is told by the clock */
    }
    assert_true(qd_sessions_find(sessions, first, key));
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        assert_int_equal(qd_sessions_find(sessions, words[i], key), i >= 2);
    qd_sessions_destroy(sessions);
}

#define WORD "0123456789abcdef0123456789abcdef01234567"

static void the_session_is_found_among_other_cookies(void **state)
{
    (void)state;
    static const struct {
        const char *cookie, *word;
    } cases[] = {
        { "quantd_session=" WORD, WORD },
        { "a=b; quantd_session=" WORD "; c=d", WORD },
        { "a=b, quantd_session=" WORD, WORD },
        { "xquantd_session=" WORD, NULL },
        { "quantd_session=" WORD "0", NULL },
        { "quantd_session=" WORD "x", NULL },
        { "quantd_session=0123456789ABCDEF0123456789abcdef01234567", NULL },
        { "quantd_session=", NULL },
        { "quantd_session", NULL },
        { "", NULL },
        { NULL, NULL },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char word[QD_SESSION_TEXT] = "";
        assert_int_equal(qd_session_of_cookie(cases[i].cookie, word), cases[i].word != NULL);
        if (cases[i].word != NULL)
            assert_string_equal(word, cases[i].word);
    }
}

static void a_header_that_is_set_again_has_its_last_value(void **state)
{
    (void)state;
    qd_reply reply;
    qd_reply_init(&reply);
    qd_reply_header_set(&reply, "Retry-After", "%d", 30);
    qd_reply_header_set(&reply, "ETag", "\"x\"");
    qd_reply_header_set(&reply, "retry-after", "%d", 7);
    assert_string_equal(qd_reply_header_get(&reply, "Retry-After"), "7");
    assert_int_equal(reply.header_count, 2);
    qd_reply_header_set(&reply, "ETag", "a\nb"); /* not sent, and what was there stays */
    assert_string_equal(qd_reply_header_get(&reply, "ETag"), "\"x\"");
    qd_reply_fini(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proxy_is_believed_one_hop_at_a_time_from_the_right),
        cmocka_unit_test(a_request_names_a_host_of_ours),
        cmocka_unit_test(an_origin_is_ours_by_scheme_name_and_port),
        cmocka_unit_test(an_address_may_be_wrong_so_often_and_others_are_not_touched),
        cmocka_unit_test(a_session_is_its_words_and_ends),
        cmocka_unit_test(a_key_that_logs_in_again_and_again_ends_only_its_own_sessions),
        cmocka_unit_test(the_session_is_found_among_other_cookies),
        cmocka_unit_test(a_header_that_is_set_again_has_its_last_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
