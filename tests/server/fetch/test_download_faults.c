/* test_download_faults.c: a table of what happens to downloads on the way, at many places of the file: in the end the right bytes, or the right
 * code. Every connection that is made is seen: none goes to an address that is closed. */
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/rng.h"

static world the_world;
static unsigned cases;

enum { SEED = 20261125, WHOLE_TINY = TINY_WEIGHTS + TINY_OTHERS };

/* ---- every connect of this process; libcurl's too, which calls this one ---- */

static unsigned connections, strangers;

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family != AF_INET6;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    __atomic_fetch_add(&connections, 1, __ATOMIC_SEQ_CST);
    if (!is_loopback(address))
        __atomic_fetch_add(&strangers, 1, __ATOMIC_SEQ_CST);
    return (int)syscall(SYS_connect, fd, address, length);
}

/* ---- one case ---- */

typedef enum bytes { BYTES_ANY, BYTES_ONCE } bytes; /* sent by the server: each byte once */

static void fetch(const char *pattern, unsigned retries, qd_code wanted, const char *part, bytes sent)
{
    setting s;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting_init(&s, &the_world);
    if (strncmp(pattern, "hub:", 4) == 0)
        world_expand(&the_world, pattern + 4, s.hub_url, sizeof s.hub_url);
    if (retries > 0)
        s.policy.retries = retries;
    world_reset(&the_world);
    world_fetch(&the_world, &s, strncmp(pattern, "hub:", 4) == 0 ? "hf://org/tiny" : pattern, NULL, &o);
    if (o.code != wanted)
        print_error("%s\n", pattern);
    check_outcome(o, wanted);
    if (wanted == QD_OK)
        assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "tiny"), 4);
    if (part != NULL)
        check_contains(o.err.text, part);
    if (sent == BYTES_ONCE)
        assert_int_equal(world_count(&the_world, "body_bytes"), WHOLE_TINY);
    check_blobs(s.cache);
    cases++;
}

static long place(unsigned group, unsigned number)
{
    return 1 + (long)qd_rng_below(qd_rng_key(SEED, group, 0), number, TINY_WEIGHTS - 1);
}

/* ---- the groups ---- */

static void a_cut_anywhere_is_continued_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        char pattern[128];
        snprintf(pattern, sizeof pattern, "{ORIGIN}/~drop:%ld*1/files/tiny/", place(1, i));
        fetch(pattern, 0, QD_OK, NULL, BYTES_ONCE);
    }
}

/* {0}: where the first answer breaks off. */
static void what_does_not_continue_the_file_is_not_appended(void **state)
{
    (void)state;
    static const char *const rest[] = { "~older*1",           /* another file since, other ETag: 200 */
                                        "~older*1/~anyrange", /* the same, and its server sends 206 all the same */
                                        "~norange",           /* 200 for what should be 206 */
                                        "~badrange*2",        /* 206 from elsewhere */
                                        "~weak/~nodate",      /* nothing that proves it is the same file */
                                        "~noetag/~nodate" };
    for (unsigned kind = 0; kind < QD_LENGTH(rest); kind++)
        for (unsigned i = 0; i < 6; i++) {
            char pattern[200];
            snprintf(pattern, sizeof pattern, "{ORIGIN}/~drop:%ld*1/%s/files/tiny/", place(2 + kind, i), rest[kind]);
            fetch(pattern, 0, QD_OK, NULL, BYTES_ANY);
        }
}

static void a_changed_byte_is_found_wherever_it_is(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        char pattern[128];
        snprintf(pattern, sizeof pattern, "hub:{ORIGIN}/~corrupt:%ld/hub", place(10, i));
        fetch(pattern, 0, QD_EFORMAT, "sha256", BYTES_ANY);
    }
}

/* The first part is wrong, the rest is sound: the digest tells, and a start from zero mends it. */
static void a_wrong_part_that_was_continued_is_fetched_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        long cut = place(11, i);
        char pattern[160];
        snprintf(pattern, sizeof pattern, "hub:{ORIGIN}/~corrupt:%ld*1/~drop:%ld*1/hub", cut / 2, cut);
        fetch(pattern, 0, QD_OK, NULL, BYTES_ANY);
    }
}

static void storms_are_waited_out_and_given_up_when_they_do_not_end(void **state)
{
    (void)state;
    static const int statuses[] = { 408, 429, 500, 502, 503, 504 };
    static const char *const after[] = { "", ":0" };
    char pattern[128];
    for (unsigned i = 0; i < QD_LENGTH(statuses); i++)
        for (unsigned times = 1; times <= 3; times += 2)
            for (unsigned j = 0; j < QD_LENGTH(after); j++) {
                snprintf(pattern, sizeof pattern, "{ORIGIN}/~status:%d%s*%u/files/tiny/", statuses[i], after[j], times);
                fetch(pattern, 0, QD_OK, NULL, BYTES_ONCE);
            }
    for (unsigned i = 0; i < QD_LENGTH(statuses); i++) {
        snprintf(pattern, sizeof pattern, "{ORIGIN}/~status:%d:0/files/tiny/", statuses[i]);
        fetch(pattern, 0, QD_ENETWORK, "tries", BYTES_ANY);
    }
}

static void lengths_that_lie_are_found(void **state)
{
    (void)state;
    static const struct {
        int by;
        qd_code code;
    } rows[] = { { -1000, QD_EFORMAT }, { -1, QD_EFORMAT }, { 1, QD_EFORMAT }, { 1000, QD_EFORMAT } };
    for (unsigned i = 0; i < QD_LENGTH(rows); i++) {
        char pattern[128];
        snprintf(pattern, sizeof pattern, "hub:{ORIGIN}/~length:%d/hub", rows[i].by);
        fetch(pattern, 0, rows[i].code, "bytes", BYTES_ANY);
    }
}

static void a_drip_is_cut(void **state)
{
    (void)state;
    fetch("{ORIGIN}/~drip:1/files/tiny/", 1, QD_ETIMEOUT, "bytes a second", BYTES_ANY);
    fetch("{ORIGIN}/~drip:300/files/tiny/", 1, QD_ETIMEOUT, "bytes a second", BYTES_ANY);
}

/* The first and the last address of every range that is not public. */
static void a_redirect_to_any_closed_range_is_refused_without_a_connection(void **state)
{
    (void)state;
    static const char *const closed[] = {
        "0.0.0.1",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "169.254.0.0",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::8.8.8.8]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::10.1.2.3]",
        "[64:ff9b:1::8.8.8.8]",
        "[100::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[2002:a00:1::1]",
        "[3fff::1]",
        "[4000::1]",
        "[fc00::1]",
        "[fdff:ffff::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[ff0e::1]",
    };
    for (unsigned i = 0; i < QD_LENGTH(closed); i++) {
        char pattern[256];
        snprintf(pattern, sizeof pattern, "{ORIGIN}/~redirect:http%%253A%%252F%%252F%s%%252Fx/files/tiny/", closed[i]);
        fetch(pattern, 0, QD_EDENIED, "not public", BYTES_ANY);
    }
}

static void no_connection_left_this_machine(void **state)
{
    (void)state;
    assert_true(connections > cases); /* they are seen: each case makes one at least */
    assert_int_equal(strangers, 0);
    assert_true(cases >= 120);
    print_message("# %u cases, %u connections, %u of them to an address that is closed\n", cases, connections,
                  strangers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_anywhere_is_continued_there),
        cmocka_unit_test(what_does_not_continue_the_file_is_not_appended),
        cmocka_unit_test(a_changed_byte_is_found_wherever_it_is),
        cmocka_unit_test(a_wrong_part_that_was_continued_is_fetched_again),
        cmocka_unit_test(storms_are_waited_out_and_given_up_when_they_do_not_end),
        cmocka_unit_test(lengths_that_lie_are_found),
        cmocka_unit_test(a_drip_is_cut),
        cmocka_unit_test(a_redirect_to_any_closed_range_is_refused_without_a_connection),
        cmocka_unit_test(no_connection_left_this_machine),
    };
    world_open(&the_world);
    int failed = cmocka_run_group_tests_name("download faults", tests, NULL, NULL);
    world_close(&the_world);
    return failed;
}
