/* test_policy.c: addresses, URLs, headers, pauses: what is decided without a network, by table. */
#include "check.h"

#include "base/auto.h"
#include "fetch/head.h"
#include "fetch/hub_api.h"
#include "fetch/policy.h"
#include "fetch/retry.h"
#include "fetch/run.h"
#include "fetch/url.h"

/* The first and last address of every blocked network, and their neighbours outside. */
static const struct {
    const char *address;
    qd_verdict verdict;
} judged[] = {
    { "0.0.0.0", QD_ADDRESS_BLOCKED },
    { "0.255.255.255", QD_ADDRESS_BLOCKED },
    { "1.0.0.0", QD_ADDRESS_PUBLIC },
    { "9.255.255.255", QD_ADDRESS_PUBLIC },
    { "10.0.0.0", QD_ADDRESS_BLOCKED },
    { "10.255.255.255", QD_ADDRESS_BLOCKED },
    { "11.0.0.0", QD_ADDRESS_PUBLIC },
    { "100.63.255.255", QD_ADDRESS_PUBLIC },
    { "100.64.0.0", QD_ADDRESS_BLOCKED },
    { "100.127.255.255", QD_ADDRESS_BLOCKED },
    { "100.128.0.0", QD_ADDRESS_PUBLIC },
    { "126.255.255.255", QD_ADDRESS_PUBLIC },
    { "127.0.0.0", QD_ADDRESS_BLOCKED },
    { "127.255.255.255", QD_ADDRESS_BLOCKED },
    { "128.0.0.0", QD_ADDRESS_PUBLIC },
    { "169.253.255.255", QD_ADDRESS_PUBLIC },
    { "169.254.0.0", QD_ADDRESS_BLOCKED },
    { "169.254.169.254", QD_ADDRESS_BLOCKED },
    { "169.254.255.255", QD_ADDRESS_BLOCKED },
    { "169.255.0.0", QD_ADDRESS_PUBLIC },
    { "172.15.255.255", QD_ADDRESS_PUBLIC },
    { "172.16.0.0", QD_ADDRESS_BLOCKED },
    { "172.31.255.255", QD_ADDRESS_BLOCKED },
    { "172.32.0.0", QD_ADDRESS_PUBLIC },
    { "191.255.255.255", QD_ADDRESS_PUBLIC },
    { "192.0.0.0", QD_ADDRESS_BLOCKED },
    { "192.0.0.255", QD_ADDRESS_BLOCKED },
    { "192.0.1.0", QD_ADDRESS_PUBLIC },
    { "192.0.2.0", QD_ADDRESS_BLOCKED },
    { "192.0.2.255", QD_ADDRESS_BLOCKED },
    { "192.0.3.0", QD_ADDRESS_PUBLIC },
    { "192.88.98.255", QD_ADDRESS_PUBLIC },
    { "192.88.99.0", QD_ADDRESS_BLOCKED },
    { "192.88.99.255", QD_ADDRESS_BLOCKED },
    { "192.88.100.0", QD_ADDRESS_PUBLIC },
    { "192.167.255.255", QD_ADDRESS_PUBLIC },
    { "192.168.0.0", QD_ADDRESS_BLOCKED },
    { "192.168.255.255", QD_ADDRESS_BLOCKED },
    { "192.169.0.0", QD_ADDRESS_PUBLIC },
    { "198.17.255.255", QD_ADDRESS_PUBLIC },
    { "198.18.0.0", QD_ADDRESS_BLOCKED },
    { "198.19.255.255", QD_ADDRESS_BLOCKED },
    { "198.20.0.0", QD_ADDRESS_PUBLIC },
    { "198.51.99.255", QD_ADDRESS_PUBLIC },
    { "198.51.100.0", QD_ADDRESS_BLOCKED },
    { "198.51.100.255", QD_ADDRESS_BLOCKED },
    { "198.51.101.0", QD_ADDRESS_PUBLIC },
    { "203.0.112.255", QD_ADDRESS_PUBLIC },
    { "203.0.113.0", QD_ADDRESS_BLOCKED },
    { "203.0.113.255", QD_ADDRESS_BLOCKED },
    { "203.0.114.0", QD_ADDRESS_PUBLIC },
    { "223.255.255.255", QD_ADDRESS_PUBLIC },
    { "224.0.0.0", QD_ADDRESS_BLOCKED },
    { "239.255.255.255", QD_ADDRESS_BLOCKED },
    { "240.0.0.0", QD_ADDRESS_BLOCKED },
    { "255.255.255.255", QD_ADDRESS_BLOCKED },
    { "::", QD_ADDRESS_BLOCKED },
    { "::1", QD_ADDRESS_BLOCKED },
    { "::8.8.8.8", QD_ADDRESS_BLOCKED },
    { "::ffff:127.0.0.1", QD_ADDRESS_BLOCKED },
    { "::ffff:8.8.8.8", QD_ADDRESS_PUBLIC },
    { "::ffff:0:8.8.8.8", QD_ADDRESS_BLOCKED },
    { "64:ff9b::10.1.2.3", QD_ADDRESS_BLOCKED },
    { "64:ff9b::8.8.8.8", QD_ADDRESS_PUBLIC },
    { "64:ff9b:1::8.8.8.8", QD_ADDRESS_BLOCKED },
    { "100::1", QD_ADDRESS_BLOCKED },
    { "1fff:ffff::1", QD_ADDRESS_BLOCKED },
    { "2000::", QD_ADDRESS_PUBLIC },
    { "2001::1", QD_ADDRESS_BLOCKED },
    { "2001:0:ffff::1", QD_ADDRESS_BLOCKED },
    { "2001:1::1", QD_ADDRESS_PUBLIC },
    { "2001:db8::1", QD_ADDRESS_BLOCKED },
    { "2001:db8:ffff::1", QD_ADDRESS_BLOCKED },
    { "2001:db9::1", QD_ADDRESS_PUBLIC },
    { "2002:7f00:1::1", QD_ADDRESS_BLOCKED },
    { "2002:a9fe:a9fe::1", QD_ADDRESS_BLOCKED },
    { "2002:808:808::1", QD_ADDRESS_PUBLIC },
    { "2606:4700::1111", QD_ADDRESS_PUBLIC },
    { "3fff::1", QD_ADDRESS_BLOCKED },
    { "3fff:fff::1", QD_ADDRESS_BLOCKED },
    { "3fff:1000::1", QD_ADDRESS_PUBLIC },
    { "4000::1", QD_ADDRESS_BLOCKED },
    { "fc00::1", QD_ADDRESS_BLOCKED },
    { "fd00::1", QD_ADDRESS_BLOCKED },
    { "fe80::1", QD_ADDRESS_BLOCKED },
    { "fec0::1", QD_ADDRESS_BLOCKED },
    { "ff02::1", QD_ADDRESS_BLOCKED },
};

static qd_verdict judge(const qd_address_policy *policy, const char *text)
{
    qd_net address;
    qd_error err;
    const char *reason = NULL;
    check_ok(qd_net_parse(text, &address, &err));
    qd_verdict verdict = qd_address_judge(policy, &address, &reason);
    assert_true((verdict == QD_ADDRESS_BLOCKED) == (reason != NULL));
    return verdict;
}

static void addresses_are_public_or_blocked_as_the_registries_say(void **state)
{
    (void)state;
    const qd_address_policy none = { 0 };
    for (size_t i = 0; i < QD_LENGTH(judged); i++)
        if (judge(&none, judged[i].address) != judged[i].verdict)
            fail_msg("%s is judged %d", judged[i].address, judge(&none, judged[i].address));
}

static void allow_net_opens_exactly_its_range(void **state)
{
    (void)state;
    static const char *const nets[] = { "10.1.2.0/23", "192.168.7.9", "fd12:3400::/22", NULL };
    static const struct {
        const char *address;
        qd_verdict verdict;
    } rows[] = {
        { "10.1.1.255", QD_ADDRESS_BLOCKED },        { "10.1.2.0", QD_ADDRESS_ALLOWED },
        { "10.1.3.255", QD_ADDRESS_ALLOWED },        { "10.1.4.0", QD_ADDRESS_BLOCKED },
        { "192.168.7.8", QD_ADDRESS_BLOCKED },       { "192.168.7.9", QD_ADDRESS_ALLOWED },
        { "192.168.7.10", QD_ADDRESS_BLOCKED },      { "fd12:33ff::1", QD_ADDRESS_BLOCKED },
        { "fd12:3400::", QD_ADDRESS_ALLOWED },       { "fd12:37ff::1", QD_ADDRESS_ALLOWED },
        { "fd12:3800::", QD_ADDRESS_BLOCKED },       { "::ffff:10.1.2.3", QD_ADDRESS_ALLOWED },
        { "64:ff9b::10.1.2.3", QD_ADDRESS_ALLOWED }, { "::ffff:10.1.4.1", QD_ADDRESS_BLOCKED },
    };
    qd_error err;
    QD_AUTO(qd_address_policy_fini) qd_address_policy policy = { 0 };
    check_ok(qd_address_policy_init(&policy, nets, &err));
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (judge(&policy, rows[i].address) != rows[i].verdict)
            fail_msg("%s is judged %d", rows[i].address, judge(&policy, rows[i].address));
}

static void networks_that_are_none_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "/8",         "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",  "10.0.0.0/8x", "10.0.0.1/8",
        "10.0.0/8", "fd00::/129", "fd00::1/8",   "localhost", "0x7f.0.0.1/8", "::/0/0"
    };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        const char *const nets[] = { bad[i], NULL };
        qd_address_policy policy = { 0 };
        qd_error err;
        check_fails(qd_address_policy_init(&policy, nets, &err), QD_EINVAL);
        check_contains(err.text, "allow-net");
    }
}

static void numbers_are_addresses_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *host, *address; /* NULL: a name */
    } rows[] = { { "127.0.0.1", "127.0.0.1" },
                 { "2130706433", "127.0.0.1" },
                 { "0x7f.1", "127.0.0.1" },
                 { "0177.0.0.1", "127.0.0.1" },
                 { "0", "0.0.0.0" },
                 { "[::1]", "::1" },
                 { "[fe80::1]", "fe80::1" },
                 { "[::ffff:127.0.0.1]", "::ffff:127.0.0.1" },
                 { "10.1", "10.0.0.1" },
                 { "example.org", NULL },
                 { "127.0.0.1.example.org", NULL } };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        qd_net net, want;
        qd_error err;
        qd_literal literal = qd_host_literal(rows[i].host, &net);
        assert_int_equal(literal, rows[i].address == NULL ? QD_NOT_LITERAL : QD_LITERAL);
        if (rows[i].address == NULL)
            continue;
        check_ok(qd_net_parse(rows[i].address, &want, &err));
        assert_memory_equal(net.bytes, want.bytes, sizeof net.bytes);
    }
}

static const struct {
    const char *text;
    qd_code code;
    const char *shown; /* the URL again, or a part of the message */
} urls[] = {
    { "https://huggingface.co/org/name", QD_OK, "https://huggingface.co/org/name" },
    { "HTTPS://Example.ORG", QD_OK, "https://example.org/" },
    { "https://example.org:443/a", QD_OK, "https://example.org/a" },
    { "http://example.org:8080/a?b=c#d", QD_OK, "http://example.org:8080/a?b=c" },
    { "https://[2001:DB8::1]:8443/x", QD_OK, "https://[2001:db8::1]:8443/x" },
    { "https://example.org?x=1", QD_OK, "https://example.org/?x=1" },
    { "file:///srv/models/a%20b", QD_OK, "file:///srv/models/a%20b" },
    { "file://localhost/srv", QD_OK, "file:///srv" },
    { "hf://HuggingFaceTB/SmolLM2-135M", QD_OK, "hf://HuggingFaceTB/SmolLM2-135M" },
    { "", QD_EINVAL, "empty" },
    { "example.org/model", QD_EINVAL, "scheme" },
    { "ftp://example.org/", QD_EINVAL, "'ftp'" },
    { "gopher://x/", QD_EINVAL, "gopher" },
    { "javascript:alert(1)", QD_EINVAL, "javascript" },
    { "https:/example.org", QD_EINVAL, "scheme" },
    { "https://", QD_EINVAL, "no host" },
    { "https:///path", QD_EINVAL, "no host" },
    { "https://user:secret@example.org/m", QD_EINVAL, "user name" },
    { "https://user@example.org/m", QD_EINVAL, "user name" },
    { "https://example.org@10.0.0.1/", QD_EINVAL, "user name" },
    { "https://example.org\\@10.0.0.1/", QD_EINVAL, "0x5c" },
    { "https://exa mple.org/", QD_EINVAL, "0x20" },
    { "https://example.org/a\tb", QD_EINVAL, "0x09" },
    { "https://example.org/a\r\nHost: x", QD_EINVAL, "0x0d" },
    { "https://ex\xc3\xa4mple.org/", QD_EINVAL, "0xc3" },
    { "https://example.org:0/", QD_EINVAL, "port" },
    { "https://example.org:65536/", QD_EINVAL, "port" },
    { "https://example.org:99999999999/", QD_EINVAL, "port" },
    { "https://example.org:8a/", QD_EINVAL, "port" },
    { "https://[::1/", QD_EINVAL, "bracket" },
    { "https://[fe80::1%25eth0]/", QD_EINVAL, "cannot stand" },
    { "https://127.0.0.1%2eexample.org/", QD_EINVAL, "cannot stand" },
    { "https://example.org/%zz", QD_EINVAL, "percent" },
    { "https://example.org/%0", QD_EINVAL, "percent" },
    { "https://example.org/a%00b", QD_EINVAL, "percent" },
    { "file://server/share", QD_EINVAL, "no host" },
};

static void urls_are_taken_or_refused_with_the_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        QD_AUTO(qd_url_fini) qd_url url = { 0 };
        qd_error err;
        check_fails(qd_url_parse(urls[i].text, &url, &err), urls[i].code);
        if (urls[i].code != QD_OK) {
            check_contains(err.text, urls[i].shown);
            assert_null(strstr(err.text, "secret"));
            continue;
        }
        QD_AUTO(qd_free_pointer) char *text = qd_url_text(&url);
        assert_string_equal(text, urls[i].shown);
    }
}

static void a_public_url_has_no_query(void **state)
{
    (void)state;
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    qd_error err;
    check_ok(qd_url_parse("https://example.org/m/?Signature=secret", &url, &err));
    QD_AUTO(qd_free_pointer) char *shown = qd_url_public(&url);
    assert_string_equal(shown, "https://example.org/m/");
    QD_AUTO(qd_url_fini) qd_url sibling = { 0 };
    check_ok(qd_url_sibling(&url, "config.json", &sibling, &err));
    QD_AUTO(qd_free_pointer) char *text = qd_url_text(&sibling);
    assert_string_equal(text, "https://example.org/m/config.json?Signature=secret");
}

static const struct {
    const char *text;
    qd_code code;
    qd_source_kind kind;
    const char *repo, *revision, *weights, *part;
} sources[] = {
    { "https://huggingface.co/org/name", QD_OK, QD_SOURCE_HUB, "org/name", NULL, NULL, NULL },
    { "https://huggingface.co/org/name/", QD_OK, QD_SOURCE_HUB, "org/name", NULL, NULL, NULL },
    { "https://huggingface.co/org/name/tree/v1", QD_OK, QD_SOURCE_HUB, "org/name", "v1", NULL, NULL },
    { "https://huggingface.co/org/name/resolve/main/model.safetensors", QD_OK, QD_SOURCE_HUB, "org/name", "main",
      "model.safetensors", NULL },
    { "hf://Org/Name", QD_OK, QD_SOURCE_HUB, "Org/Name", NULL, NULL, NULL },
    { "hf://Org/Name/tree/v1", QD_OK, QD_SOURCE_HUB, "Org/Name", "v1", NULL, NULL },
    { "https://huggingface.co/name", QD_EINVAL, QD_SOURCE_HUB, NULL, NULL, NULL, "org/name" },
    { "https://huggingface.co/org/..", QD_EINVAL, QD_SOURCE_HUB, NULL, NULL, NULL, "org/name" },
    { "https://huggingface.co/org/name/commits/main", QD_EINVAL, QD_SOURCE_HUB, NULL, NULL, NULL, "tree" },
    { "hf://org", QD_EINVAL, QD_SOURCE_HUB, NULL, NULL, NULL, "org/name" },
    { "https://huggingface.co:444/org/name", QD_OK, QD_SOURCE_DIRECTORY, NULL, NULL, NULL, NULL },
    { "http://huggingface.co/org/name", QD_OK, QD_SOURCE_DIRECTORY, NULL, NULL, NULL, NULL },
    { "https://example.org/models/x", QD_OK, QD_SOURCE_DIRECTORY, NULL, NULL, NULL, NULL },
    { "https://example.org/models/x.safetensors", QD_OK, QD_SOURCE_FILE, NULL, NULL, "x.safetensors", NULL },
    { "https://example.org/models/x.gguf", QD_OK, QD_SOURCE_FILE, NULL, NULL, "x.gguf", NULL },
    { "https://example.org/models/x-00001-of-00002.gguf", QD_OK, QD_SOURCE_FILE, NULL, NULL, "x-00001-of-00002.gguf",
      NULL },
    { "https://huggingface.co/org/name/resolve/main/x.Q4_1.gguf", QD_OK, QD_SOURCE_HUB, "org/name", "main",
      "x.Q4_1.gguf", NULL },
    { "file:///srv/models/x.gguf", QD_OK, QD_SOURCE_FOLDER, NULL, NULL, "x.gguf", NULL },
    { "https://example.org/models/pytorch_model.bin", QD_EUNSUPPORTED, QD_SOURCE_FILE, NULL, NULL, NULL,
      "safetensors" },
    { "file:///srv/models/x", QD_OK, QD_SOURCE_FOLDER, NULL, NULL, NULL, NULL },
    { "file:///srv/../etc/", QD_EDENIED, QD_SOURCE_FOLDER, NULL, NULL, NULL, ".." },
    { "file:///srv/%2e%2e/etc/", QD_EDENIED, QD_SOURCE_FOLDER, NULL, NULL, NULL, ".." },
};

static void check_same_text(const char *got, const char *want)
{
    assert_true((got == NULL) == (want == NULL));
    if (want != NULL)
        assert_string_equal(got, want);
}

static void model_urls_are_classified(void **state)
{
    (void)state;
    QD_AUTO(qd_url_fini) qd_url hub = { 0 };
    qd_error err;
    check_ok(qd_url_parse("https://huggingface.co", &hub, &err));
    for (size_t i = 0; i < QD_LENGTH(sources); i++) {
        QD_AUTO(qd_source_fini) qd_source source = { 0 };
        check_fails(qd_source_classify(sources[i].text, &hub, &source, &err), sources[i].code);
        if (sources[i].code != QD_OK) {
            check_contains(err.text, sources[i].part);
            continue;
        }
        assert_int_equal(source.kind, sources[i].kind);
        check_same_text(source.repo, sources[i].repo);
        check_same_text(source.revision, sources[i].revision);
        check_same_text(source.weights, sources[i].weights);
    }
}

static void redirects_never_leave_https_nor_the_web(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        qd_redirects redirects;
        const char *part; /* NULL = followed */
    } rows[] = {
        { "https://h/a", "https://other/b", QD_REDIRECTS_ANYWHERE, NULL },
        { "http://h/a", "https://h/b", QD_REDIRECTS_ANYWHERE, NULL },
        { "http://h/a", "http://other/b", QD_REDIRECTS_ANYWHERE, NULL },
        { "https://h/a", "http://h/b", QD_REDIRECTS_ANYWHERE, "plain http" },
        { "https://h/a", "file:///etc/passwd", QD_REDIRECTS_ANYWHERE, "only https and http" },
        { "https://h/a", "hf://org/name", QD_REDIRECTS_ANYWHERE, "only https and http" },
        { "https://h/a", "gopher://h/", QD_REDIRECTS_ANYWHERE, "gopher" },
        { "https://h/a", "ftp://h/", QD_REDIRECTS_ANYWHERE, "ftp" },
        { "https://h/a", "https://user:pw@h/", QD_REDIRECTS_ANYWHERE, "user name" },
        { "https://h/a", "https://h:443/b", QD_REDIRECTS_SAME_ORIGIN, NULL },
        { "https://h/a", "https://h:444/b", QD_REDIRECTS_SAME_ORIGIN, "another host" },
        { "https://h/a", "https://h.evil/b", QD_REDIRECTS_SAME_ORIGIN, "another host" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_url_fini) qd_url from = { 0 };
        QD_AUTO(qd_url_fini) qd_url to = { 0 };
        qd_error err;
        check_ok(qd_url_parse(rows[i].from, &from, &err));
        check_fails(qd_redirect_target(&from, &from, rows[i].to, rows[i].redirects, &to, &err),
                    rows[i].part == NULL ? QD_OK : QD_EDENIED);
        if (rows[i].part != NULL)
            check_contains(err.text, rows[i].part);
    }
}

static void take_line(qd_reply_head *head, const char *line)
{
    qd_head_line(head, line, strlen(line));
}

static void header_lines_are_read_strictly(void **state)
{
    (void)state;
    qd_reply_head head = { .hub_size = QD_SIZE_UNKNOWN };
    qd_head_reset(&head);
    take_line(&head, "Content-Length: 18446744073709551616\r\n");
    assert_true(head.length == QD_SIZE_UNKNOWN);
    take_line(&head, "content-LENGTH:  12 \r\n");
    assert_int_equal(head.length, 12);
    take_line(&head, "Content-Range: bytes 5-9/10\r\n");
    assert_int_equal(head.range_start, 5);
    assert_int_equal(head.range_total, 10);
    take_line(&head, "Content-Range: bytes */77\r\n");
    assert_true(head.range_start == QD_SIZE_UNKNOWN);
    assert_int_equal(head.range_total, 77);
    take_line(&head, "ETag: \"abc\"\r\n");
    assert_string_equal(head.etag, "\"abc\"");
    take_line(&head, "Retry-After: 7\r\n");
    assert_int_equal(head.retry_after, 7);
    take_line(&head, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
    assert_int_equal(head.retry_after, -1);
    take_line(&head, "no colon here");
    take_line(&head, ":");
    take_line(&head, "");
    assert_true(qd_etag_is_strong("\"a\""));
    assert_false(qd_etag_is_strong("W/\"a\""));
    assert_false(qd_etag_is_strong("\""));
}

static void the_next_page_is_found_among_links(void **state)
{
    (void)state;
    char out[64];
    assert_int_equal(qd_link_next("<https://h/a?c=1>; rel=\"next\"", out, sizeof out), QD_SAME);
    assert_string_equal(out, "https://h/a?c=1");
    assert_int_equal(qd_link_next("<https://h/p>; rel=\"prev\", <https://h/n>; rel=\"next\"", out, sizeof out),
                     QD_SAME);
    assert_string_equal(out, "https://h/n");
    assert_int_equal(qd_link_next("<https://h/p>; rel=\"prev\"", out, sizeof out), QD_DIFFERENT);
    assert_int_equal(qd_link_next("", out, sizeof out), QD_DIFFERENT);
    assert_int_equal(qd_link_next("<<<<", out, sizeof out), QD_DIFFERENT);
}

static void pauses_are_jittered_and_bounded(void **state)
{
    (void)state;
    qd_retry retry;
    double least = 1e9, most = 0;
    for (uint64_t key = 0; key < 1000; key++) {
        qd_retry_init(&retry, 20, 0.5, key);
        for (unsigned tries = 0; tries < 15; tries++)
            assert_int_equal(qd_retry_count(&retry, 0), QD_TRY_AGAIN);
        double pause = qd_retry_pause(&retry, -1);
        assert_true(pause >= 0 && pause < 60);
        least = fmin(least, pause);
        most = fmax(most, pause);
        qd_retry_init(&retry, 20, 0.5, key);
        assert_int_equal(qd_retry_count(&retry, 0), QD_TRY_AGAIN);
        assert_true(qd_retry_pause(&retry, -1) < 1.0); /* 0.5 * 2^1 */
    }
    assert_true(least < 1 && most > 59);
    check_close(qd_retry_pause(&retry, 7), 7, 0);
    check_close(qd_retry_pause(&retry, 100000), 120, 0);
}

static void progress_of_a_mebibyte_brings_new_tries(void **state)
{
    (void)state;
    qd_retry retry;
    qd_retry_init(&retry, 3, 0.5, 1);
    assert_int_equal(qd_retry_count(&retry, 1000), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_count(&retry, 2000), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_count(&retry, 1 << 20), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_count(&retry, (1 << 20) + 5), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_count(&retry, (1 << 20) + 6), QD_GIVE_UP);
    qd_retry_init(&retry, 8, 0.5, 1);
    assert_int_equal(qd_retry_unreachable(&retry), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_unreachable(&retry), QD_TRY_AGAIN);
    assert_int_equal(qd_retry_unreachable(&retry), QD_GIVE_UP);
}

static void only_passing_troubles_are_asked_again(void **state)
{
    (void)state;
    static const long again[] = { 408, 425, 429, 500, 502, 503, 504 };
    static const long never[] = { 200, 301, 400, 401, 403, 404, 409, 410, 451, 501, 505, 600 };
    for (size_t i = 0; i < QD_LENGTH(again); i++)
        assert_int_equal(qd_retry_status(again[i]), QD_TRY_AGAIN);
    for (size_t i = 0; i < QD_LENGTH(never); i++)
        assert_int_equal(qd_retry_status(never[i]), QD_GIVE_UP);
}

static void hub_pages_are_checked(void **state)
{
    (void)state;
#define OID "\"0123456789012345678901234567890123456789\""
    static const struct {
        const char *page, *part; /* NULL = taken */
    } rows[] = {
        { "[]", NULL },
        { "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":3,\"oid\":" OID "}]", NULL },
        { "[{\"type\":\"directory\",\"path\":\"onnx\",\"size\":0,\"oid\":" OID "}]", NULL },
        { "[{\"type\":\"file\",\"path\":\"a name.py\"}]", NULL },
        { "{}", "not an array" },
        { "[1]", "not an object" },
        { "[{\"type\":\"file\",\"path\":\"config.json\",\"oid\":" OID "}]", "size" },
        { "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":-1,\"oid\":" OID "}]", "size" },
        { "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":1e99,\"oid\":" OID "}]", "size" },
        { "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":1,\"oid\":\"xyz\"}]", "40 hex digits" },
        { "[{\"type\":\"file\",\"path\":\"a.safetensors\",\"lfs\":{\"size\":1,\"oid\":" OID "}}]", "64 hex digits" },
        { "[{\"type\":\"file\",\"path\":\"a/../b.json\"}]", "a/../b.json" },
        { "[{\"type\":\"file\",\"path\":\"/b.json\"}]", "/b.json" },
        { "[{\"type\":\"file\",\"path\":\"a\\\\b.json\"}]", "lists a file" },
        { "[{\"type\":\"file\",\"path\":\"a\\u0001.json\"}]", "lists a file" },
        { "[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]", "deep" },
        { "[", "JSON" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_hub_tree_fini) qd_hub_tree tree = { 0 };
        qd_error err;
        qd_code code = qd_hub_read_page(rows[i].page, strlen(rows[i].page), &tree, &err);
        check_code_at(code, rows[i].part == NULL ? QD_OK : QD_EFORMAT, &err, __FILE__, __LINE__);
        if (rows[i].part != NULL)
            check_contains(err.text, rows[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_public_or_blocked_as_the_registries_say),
        cmocka_unit_test(allow_net_opens_exactly_its_range),
        cmocka_unit_test(networks_that_are_none_are_refused_by_name),
        cmocka_unit_test(numbers_are_addresses_in_every_spelling),
        cmocka_unit_test(urls_are_taken_or_refused_with_the_reason),
        cmocka_unit_test(a_public_url_has_no_query),
        cmocka_unit_test(model_urls_are_classified),
        cmocka_unit_test(redirects_never_leave_https_nor_the_web),
        cmocka_unit_test(header_lines_are_read_strictly),
        cmocka_unit_test(the_next_page_is_found_among_links),
        cmocka_unit_test(pauses_are_jittered_and_bounded),
        cmocka_unit_test(progress_of_a_mebibyte_brings_new_tries),
        cmocka_unit_test(only_passing_troubles_are_asked_again),
        cmocka_unit_test(hub_pages_are_checked),
    };
    return cmocka_run_group_tests_name("fetch policy", tests, NULL, NULL);
}
