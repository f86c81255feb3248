/* test_egress.c: no packet, no token and no file goes where it must not, whatever a URL or a server says. */
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"

static world the_world;

/* A listener that must never be reached: connecting would be noticed. */
static int deaf_listener(int *out_port)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), off = 0;
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        close(fd);
        return -1;
    }
    *out_port = ntohs(address.sin6_port);
    return fd;
}

static void twelve_spellings_of_closed_addresses_are_refused_without_a_packet(void **state)
{
    (void)state;
    static const char *const hosts[] = { "127.0.0.1",       "localhost", "2130706433", "0x7f.1",
                                         "0177.0.0.1",      "0",         "[::1]",      "[::ffff:127.0.0.1]",
                                         "169.254.169.254", "10.0.0.1",  "[fe80::1]",  "[fd00::1]" };
    int port = 0;
    QD_AUTO(qd_close_fd) int listener = deaf_listener(&port);
    if (listener < 0)
        skip();
    setting s;
    setting_init(&s, &the_world);
    s.allow[0] = NULL;
    for (size_t i = 0; i < QD_LENGTH(hosts); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        char url[128];
        snprintf(url, sizeof url, "http://%s:%d/m/", hosts[i], port);
        double start = qd_clock_seconds();
        world_fetch(&the_world, &s, url, NULL, &o);
        check_outcome(o, QD_EDENIED);
        check_contains(o.err.text, "not public");
        assert_true(qd_clock_seconds() - start < 10 * check_patience());
        assert_true(accept(listener, NULL, NULL) < 0);
    }
}

/* The same by redirect, where only the check at the socket stands between. */
static void names_and_redirects_are_judged_at_the_socket(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "localhost",          "2130706433",      "0x7f.1",   "0177.0.0.1", "0",        "[::1]",
        "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[fe80::1]",  "[fd00::1]"
    };
    setting s;
    setting_init(&s, &the_world);
    s.allow[0] = "127.0.0.1/32"; /* only the hub itself; localhost then opens only if it means exactly that */
    for (size_t i = 0; i < QD_LENGTH(hosts); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        int same = strcmp(hosts[i], "localhost") == 0 || strcmp(hosts[i], "2130706433") == 0 ||
                   strcmp(hosts[i], "0x7f.1") == 0 || strcmp(hosts[i], "0177.0.0.1") == 0 ||
                   strcmp(hosts[i], "[::ffff:127.0.0.1]") == 0;
        char url[300];
        snprintf(url, sizeof url,
                 "{ORIGIN}/~redirect:http%%253A%%252F%%252F%s%%253A%d%%252Ffiles%%252Ftiny%%252Fmodel.safetensors/"
                 "files/tiny/",
                 hosts[i], the_world.port);
        world_fetch(&the_world, &s, url, NULL, &o);
        if (same && o.code == QD_OK)
            continue;
        if (same) /* a machine may give localhost, or v6, no 127.0.0.1 */
            assert_true(o.code == QD_ENETWORK || o.code == QD_EDENIED);
        else
            check_outcome(o, QD_EDENIED);
    }
}

static void allow_net_opens_its_range_and_no_more(void **state)
{
    (void)state;
    static const struct {
        const char *allow;
        qd_code code;
    } rows[] = { { "127.0.0.1/32", QD_EDENIED }, /* the CDN is 127.0.0.2 */
                 { "127.0.0.2/31", QD_EDENIED }, /* the hub is 127.0.0.1 */
                 { "127.0.0.0/30", QD_OK } };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        s.allow[0] = rows[i].allow;
        world_reset(&the_world);
        world_fetch(&the_world, &s, "hf://org/tiny", NULL, &o);
        check_outcome(o, rows[i].code);
        if (o.code != QD_OK)
            check_contains(o.err.text, i == 0 ? "127.0.0.2" : "127.0.0.1");
    }
}

static void plain_http_needs_permission(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting s;
    setting_init(&s, &the_world);
    snprintf(s.hub_url, sizeof s.hub_url, "https://huggingface.co");
    s.policy.allow_http = false;
    world_reset(&the_world);
    world_fetch(&the_world, &s, "{ORIGIN}/files/tiny/", NULL, &o);
    check_outcome(o, QD_EDENIED);
    check_contains(o.err.text, "http");
    assert_int_equal(world_requests_with(&the_world, "tiny"), 0);
}

static void urls_are_checked_without_a_network(void **state)
{
    (void)state;
    static const struct {
        const char *url, *part; /* NULL = fine */
    } rows[] = { { "https://huggingface.co/org/name", NULL },
                 { "https://no-such-host.invalid/m/", NULL },
                 { "file://{MODELS}/tiny", NULL },
                 { "file:///etc/", "root" },
                 { "file://{MODELS}x/tiny", "root" },
                 { "https://10.0.0.1/m/", "10.0.0.1" },
                 { "https://0x7f.1/m/", NULL }, /* allow-net holds 127/8 */
                 { "https://[fe80::1]/m/", "fe80::1" },
                 { "https://user:pass@example.org/m/", "user" },
                 { "s3://bucket/m", "s3" },
                 { "", "empty" } };
    setting s;
    setting_init(&s, &the_world);
    qd_fetcher *fetcher = setting_fetcher(&s);
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        char url[600];
        qd_error err;
        world_expand(&the_world, rows[i].url, url, sizeof url);
        qd_code code = qd_fetch_check_url(fetcher, url, &err);
        assert_true((code == QD_OK) == (rows[i].part == NULL));
        if (rows[i].part != NULL)
            check_contains(err.text, rows[i].part);
    }
    qd_fetcher_destroy(fetcher);
}

static void a_certificate_that_nobody_vouches_for_is_refused(void **state)
{
    (void)state;
    if (the_world.tls[0] == '\0') {
        print_message("# SKIP: no openssl program to make a certificate with\n");
        skip();
    }
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting s;
    setting_init(&s, &the_world);
    world_reset(&the_world);
    world_fetch(&the_world, &s, "{TLS}/files/tiny/", "hf_sesame", &o);
    check_outcome(o, QD_ENETWORK);
    check_contains(o.err.text, "certificate");
    assert_int_equal(world_requests_with(&the_world, "tiny"), 0);
    assert_null(strstr(o.err.text, "tries")); /* asking again gives the same */
}

static void a_token_stays_at_the_host_it_is_for(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "hf://org/tiny", "{ORIGIN}/~redirect:{CDN2}%252Ffiles%252Ftiny%252Fmodel.safetensors/files/tiny/"
    };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        world_reset(&the_world);
        world_fetch(&the_world, &s, urls[i], "hf_sesame", &o);
        check_outcome(o, QD_OK);
        json_t *stats = world_stats(&the_world);
        const json_t *tokens = json_object_get(stats, "tokens");
        const json_t *at_origin = json_object_get(tokens, the_world.origin + strlen("http://"));
        assert_int_equal(json_object_size(tokens), 1);
        assert_string_equal(json_string_value(json_array_get(at_origin, 0)), "Bearer hf_sesame");
        json_decref(stats);
        assert_true(world_requests_with(&the_world, the_world.cdn + strlen("http://")) > 0);
    }
}

static void local_sources_stay_below_their_root(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        qd_code code;
        const char *part;
    } rows[] = { { "file:///etc", QD_EDENIED, "root" },
                 { "file://{MODELS}/../x", QD_EDENIED, ".." },
                 { "file://{MODELS}/linked", QD_EDENIED, "symbolic link" },
                 { "file://{MODELS}/link-inside", QD_EDENIED, "symbolic link" },
                 { "file://{MODELS}/fifo", QD_EFORMAT, "regular file" },
                 { "file://{MODELS}/not-there", QD_ENOTFOUND, "config.json" } };
    char path[700], target[800];
    snprintf(path, sizeof path, "%s/linked", the_world.models);
    assert_int_equal(symlink("/etc", path), 0);
    snprintf(path, sizeof path, "%s/link-inside", the_world.models);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/link-inside/config.json", the_world.models);
    snprintf(target, sizeof target, "%s/tiny/config.json", the_world.models);
    assert_int_equal(symlink(target, path), 0);
    snprintf(path, sizeof path, "%s/fifo", the_world.models);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/fifo/config.json", the_world.models);
    assert_int_equal(mkfifo(path, 0644), 0);
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        world_fetch(&the_world, &s, rows[i].url, NULL, &o);
        check_outcome(o, rows[i].code);
        check_contains(o.err.text, rows[i].part);
    }
    QD_AUTO(outcome_fini) outcome by_link = { 0 };
    setting linked;
    setting_init(&linked, &the_world);
    snprintf(path, sizeof path, "%s/linked-root", the_world.folder);
    assert_int_equal(symlink(the_world.models, path), 0);
    linked.roots[0] = path; /* the operator may name a root by a link; what lies below may not be one */
    snprintf(target, sizeof target, "file://%s/tiny/", path);
    world_fetch(&the_world, &linked, target, NULL, &by_link);
    check_outcome(by_link, QD_OK);
    setting closed;
    setting_init(&closed, &the_world);
    closed.roots[0] = NULL;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    world_fetch(&the_world, &closed, "file://{MODELS}/tiny", NULL, &o);
    check_outcome(o, QD_EDENIED);
}

static void settings_that_are_wrong_are_named(void **state)
{
    (void)state;
    setting s;
    qd_error err;
    qd_fetcher *fetcher = NULL;
    setting_init(&s, &the_world);
    s.allow[1] = "10.0.0.0/99";
    check_fails(qd_fetcher_create(&s.policy, &fetcher, &err), QD_EINVAL);
    check_contains(err.text, "10.0.0.0/99");
    setting_init(&s, &the_world);
    s.roots[0] = "/no/such/folder";
    check_fails(qd_fetcher_create(&s.policy, &fetcher, &err), QD_ENOTFOUND);
    check_contains(err.text, "/no/such/folder");
    setting_init(&s, &the_world);
    snprintf(s.hub_url, sizeof s.hub_url, "ftp://x");
    check_fails(qd_fetcher_create(&s.policy, &fetcher, &err), QD_EINVAL);
    check_contains(err.text, "hub-url");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twelve_spellings_of_closed_addresses_are_refused_without_a_packet),
        cmocka_unit_test(names_and_redirects_are_judged_at_the_socket),
        cmocka_unit_test(allow_net_opens_its_range_and_no_more),
        cmocka_unit_test(plain_http_needs_permission),
        cmocka_unit_test(urls_are_checked_without_a_network),
        cmocka_unit_test(a_certificate_that_nobody_vouches_for_is_refused),
        cmocka_unit_test(a_token_stays_at_the_host_it_is_for),
        cmocka_unit_test(local_sources_stay_below_their_root),
        cmocka_unit_test(settings_that_are_wrong_are_named),
    };
    world_open(&the_world);
    int failed = cmocka_run_group_tests_name("fetch egress", tests, NULL, NULL);
    world_close(&the_world);
    return failed;
}
