/* test_sigv4.c: signatures against those that Amazon publishes, and what is signed; names of objects and where they lie. */
#include "check.h"

#include "base/auto.h"
#include "fetch/s3.h"
#include "fetch/sigv4.h"

/* From "Signature Calculations for the Authorization Header" of the S3 API reference (examplebucket), and from the AWS
 * Signature Version 4 test suite (example.amazonaws.com). */
typedef struct vector {
    const char *what, *key, *secret, *method, *url, *date, *service, *payload;
    qd_ask_header headers[5];
    size_t count;
    const char *signature;
} vector;

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define S3_KEYS "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SUITE_KEYS "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define S3_DATE "20130524T000000Z"
#define SUITE_DATE "20150830T123600Z"

static const vector vectors[] = {
    { "GET of a range",
      S3_KEYS,
      "GET",
      "https://examplebucket.s3.amazonaws.com/test.txt",
      S3_DATE,
      "s3",
      EMPTY,
      { { "range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY }, { "x-amz-date", S3_DATE } },
      3,
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT",
      S3_KEYS,
      "PUT",
      "https://examplebucket.s3.amazonaws.com/test%24file.text",
      S3_DATE,
      "s3",
      WELCOME,
      { { "date", "Fri, 24 May 2013 00:00:00 GMT" },
        { "x-amz-content-sha256", WELCOME },
        { "x-amz-date", S3_DATE },
        { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
      4,
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "a parameter without a value",
      S3_KEYS,
      "GET",
      "https://examplebucket.s3.amazonaws.com/?lifecycle",
      S3_DATE,
      "s3",
      EMPTY,
      { { "x-amz-content-sha256", EMPTY }, { "x-amz-date", S3_DATE } },
      2,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "a list",
      S3_KEYS,
      "GET",
      "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
      S3_DATE,
      "s3",
      EMPTY,
      { { "x-amz-content-sha256", EMPTY }, { "x-amz-date", S3_DATE } },
      2,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
    { "get-vanilla",
      SUITE_KEYS,
      "GET",
      "https://example.amazonaws.com/",
      SUITE_DATE,
      "service",
      EMPTY,
      { { "x-amz-date", SUITE_DATE } },
      1,
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-query-order-key-case",
      SUITE_KEYS,
      "GET",
      "https://example.amazonaws.com/?Param2=value2&Param1=value1",
      SUITE_DATE,
      "service",
      EMPTY,
      { { "x-amz-date", SUITE_DATE } },
      1,
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "post-vanilla",
      SUITE_KEYS,
      "POST",
      "https://example.amazonaws.com/",
      SUITE_DATE,
      "service",
      EMPTY,
      { { "x-amz-date", SUITE_DATE } },
      1,
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "get-header-value-trim",
      SUITE_KEYS,
      "GET",
      "https://example.amazonaws.com/",
      SUITE_DATE,
      "service",
      EMPTY,
      { { "x-amz-date", SUITE_DATE }, { "my-header1", " value1" }, { "my-header2", " \"a   b   c\"" } },
      3,
      "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
};

static void signatures_are_those_that_amazon_publishes(void **state)
{
    (void)state;
    qd_error err;
    for (size_t i = 0; i < QD_LENGTH(vectors); i++) {
        const vector *v = &vectors[i];
        char id[64], secret[64], want[128];
        QD_AUTO(qd_url_fini) qd_url url = { 0 };
        QD_AUTO(qd_free_pointer) char *got = NULL;
        snprintf(id, sizeof id, "%s", v->key);
        snprintf(secret, sizeof secret, "%s", v->secret);
        const qd_aws_keys keys = { .id = id, .secret = secret };
        check_ok(qd_url_parse(v->url, &url, &err));
        const qd_sigv4_request request = { .method = v->method,
                                           .url = &url,
                                           .headers = v->headers,
                                           .header_count = v->count,
                                           .payload_sha256 = v->payload,
                                           .date = v->date,
                                           .region = "us-east-1",
                                           .service = v->service };
        check_ok(qd_sigv4_sign(&request, &keys, &got, &err));
        print_message("# %s\n", v->what);
        snprintf(want, sizeof want, "Signature=%s", v->signature);
        check_contains(got, want);
        snprintf(want, sizeof want,
                 "AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/%s/aws4_request, SignedHeaders=", v->key, v->date,
                 v->service);
        assert_int_equal(strncmp(got, want, strlen(want)), 0);
    }
}

static void a_port_is_signed_where_it_is_not_the_usual_one(void **state)
{
    (void)state;
    qd_error err;
    static const struct {
        const char *url, *host;
    } rows[] = { { "http://127.0.0.1:9000/a/b", "\nhost:127.0.0.1:9000\n" },
                 { "http://minio/a", "\nhost:minio\n" },
                 { "https://minio:443/a", "\nhost:minio\n" },
                 { "https://minio:80/a", "\nhost:minio:80\n" } };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_url_fini) qd_url url = { 0 };
        QD_AUTO(qd_free_pointer) char *text = NULL;
        check_ok(qd_url_parse(rows[i].url, &url, &err));
        const qd_sigv4_request request = { .method = "GET", .url = &url, .payload_sha256 = EMPTY, .date = S3_DATE };
        check_ok(qd_sigv4_canonical(&request, &text, &err));
        check_contains(text, rows[i].host);
    }
}

static void queries_are_sorted_by_name_then_value(void **state)
{
    (void)state;
    qd_error err;
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_free_pointer) char *text = NULL;
    check_ok(qd_url_parse("https://h/?b=2&a-b=1&a=2&a=1&A=0&c&a.b=", &url, &err));
    const qd_sigv4_request request = { .method = "GET", .url = &url, .payload_sha256 = EMPTY, .date = S3_DATE };
    check_ok(qd_sigv4_canonical(&request, &text, &err));
    check_contains(text, "\nA=0&a=1&a=2&a-b=1&a.b=&b=2&c=\n");
}

static void names_are_encoded_as_signatures_want_them(void **state)
{
    (void)state;
    qd_error err;
    QD_AUTO(qd_free_pointer) char *key = NULL, *value = NULL;
    check_ok(qd_aws_encode("a b/ü+~-._*'(%", QD_SLASH_STAYS, &key, &err));
    assert_string_equal(key, "a%20b/%C3%BC%2B~-._%2A%27%28%25");
    check_ok(qd_aws_encode("a/b=", QD_SLASH_ENCODED, &value, &err));
    assert_string_equal(value, "a%2Fb%3D");
}

/* ---- names and places ---- */

static void open_s3(const char *endpoint, const char *const *allow, qd_s3 *out)
{
    qd_error err;
    const qd_s3_settings settings = { .endpoint = endpoint, .region = "eu-west-3", .allow = allow };
    check_ok(qd_s3_init(&settings, out, &err));
}

static void buckets_are_hosts_at_amazon_and_paths_elsewhere(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *bucket, *url;
    } rows[] = {
        { NULL, "models", "https://models.s3.eu-west-3.amazonaws.com/a%20b/c" },
        { "https://s3.amazonaws.com", "my.models", "https://s3.eu-west-3.amazonaws.com/my.models/a%20b/c" },
        { "https://s3.us-gov-west-1.amazonaws.com", "models", "https://models.s3.us-gov-west-1.amazonaws.com/a%20b/c" },
        { "http://10.0.0.1:9000", "models", "http://10.0.0.1:9000/models/a%20b/c" },
        { "https://notamazonaws.com", "models", "https://notamazonaws.com/models/a%20b/c" },
    };
    qd_error err;
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_s3_fini) qd_s3 s3 = { 0 };
        QD_AUTO(qd_url_fini) qd_url url = { 0 };
        open_s3(rows[i].endpoint, NULL, &s3);
        check_ok(qd_s3_url(&s3, rows[i].bucket, "a b/c", NULL, &url, &err));
        QD_AUTO(qd_free_pointer) char *text = qd_url_text(&url);
        assert_string_equal(text, rows[i].url);
    }
}

static qd_code allowed(const qd_s3 *s3, const char *text, qd_error *err)
{
    QD_AUTO(qd_url_fini) qd_url url = { 0 };
    QD_AUTO(qd_s3_name_fini) qd_s3_name name = { 0 };
    qd_code code = qd_url_parse(text, &url, err);
    if (code == QD_OK)
        code = qd_s3_name_parse(&url, &name, err);
    return code == QD_OK ? qd_s3_allow(s3, &name, err) : code;
}

static void only_what_was_allowed_is_named(void **state)
{
    (void)state;
    static const char *const allow[] = { "whole", "part/a/b/", "one/x.gguf", NULL };
    static const struct {
        const char *url;
        qd_code code;
    } rows[] = {
        { "s3://whole", QD_OK },
        { "s3://whole/", QD_OK },
        { "s3://whole/x/y", QD_OK },
        { "s3://part/a/b", QD_OK },
        { "s3://part/a/b/", QD_OK },
        { "s3://part/a/b/c", QD_OK },
        { "s3://part/a%2Fb/c", QD_OK },
        { "s3://one/x.gguf", QD_OK },
        { "s3://one/x.gguf2", QD_EDENIED },
        { "s3://one/", QD_EDENIED },
        { "s3://part/a/bc", QD_EDENIED },
        { "s3://part/a", QD_EDENIED },
        { "s3://part", QD_EDENIED },
        { "s3://other/a/b", QD_EDENIED },
        { "s3://part/a/b/../c", QD_EINVAL },
        { "s3://part/a/b/%2e%2e/c", QD_EINVAL },
        { "s3://part/a/b/./c", QD_EINVAL },
        { "s3://part/a//b", QD_EINVAL },
        { "s3://part/a/b/%0ac", QD_EINVAL },
        { "s3://whole:80/x", QD_EINVAL },
        { "s3://whole/x?versionId=1", QD_EINVAL },
        { "s3://Whole/x", QD_EINVAL },
        { "s3://wh/x", QD_EINVAL },
        { "s3://-whole/x", QD_EINVAL },
        { "s3://who..le/x", QD_EINVAL },
        { "s3://whole@evil/x", QD_EINVAL },
    };
    QD_AUTO(qd_s3_fini) qd_s3 s3 = { 0 };
    qd_error err;
    open_s3("http://127.0.0.1:1", allow, &s3);
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        print_message("# %s\n", rows[i].url);
        check_code_at(allowed(&s3, rows[i].url, &err), rows[i].code, &err, __FILE__, __LINE__);
    }
}

static void settings_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const bad_bucket[] = { "UPPER", NULL }, *const bad_prefix[] = { "bucket/a/../b", NULL };
    static const qd_s3_settings rows[] = {
        { .endpoint = "ftp://x" }, { .endpoint = "https://x/path" }, { .endpoint = "https://x/?q" },
        { .allow = bad_bucket },   { .allow = bad_prefix },          { .credentials = "/nowhere/at/all" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        qd_error err;
        qd_s3 s3;
        qd_code code = qd_s3_init(&rows[i], &s3, &err);
        assert_true(code == QD_EINVAL || code == QD_ENOTFOUND);
        check_contains(err.text, "s3");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_that_amazon_publishes),
        cmocka_unit_test(a_port_is_signed_where_it_is_not_the_usual_one),
        cmocka_unit_test(queries_are_sorted_by_name_then_value),
        cmocka_unit_test(names_are_encoded_as_signatures_want_them),
        cmocka_unit_test(buckets_are_hosts_at_amazon_and_paths_elsewhere),
        cmocka_unit_test(only_what_was_allowed_is_named),
        cmocka_unit_test(settings_that_mean_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
