/* test_s3_xml.c: what is read of a storage's answers, and what is not believed. */
#include "check.h"

#include "base/auto.h"
#include "fetch/s3_xml.h"

static qd_code read_list(const char *text, qd_s3_list *list, qd_error *err)
{
    return qd_s3_read_list(text, strlen(text), list, err);
}

static void pages_become_one_list_of_plain_names(void **state)
{
    (void)state;
    QD_AUTO(qd_s3_list_fini) qd_s3_list list = { 0 };
    qd_error err;
    check_ok(
        read_list("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"u\"><IsTruncated>true</IsTruncated>"
                  "<Contents><Key>a/b%2Fconfig.json</Key><ETag>&quot;e1&quot;</ETag><Size>12</Size></Contents>"
                  "<Contents><Key>a/b/.hidden</Key><Size>1</Size></Contents><Contents><Key>a/b/</Key><Size>0</Size>"
                  "</Contents><Contents><Key>a/b/with%20blank.json</Key><Size>1</Size></Contents>"
                  "<NextContinuationToken>to&amp;ken=</NextContinuationToken></ListBucketResult>",
                  &list, &err));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.objects[0].name, "config.json");
    assert_string_equal(list.objects[0].etag, "\"e1\"");
    assert_int_equal(list.objects[0].size, 12);
    assert_string_equal(list.next, "to&ken=");
    check_ok(
        read_list("<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
                  "<Contents><Key>a/b/m.gguf</Key><Size>5368709120</Size></Contents>"
                  "<Contents><Key>a/b/config.json</Key><Size>99</Size></Contents></ListBucketResult>",
                  &list, &err));
    assert_int_equal(list.count, 2);
    assert_null(list.next);
    assert_int_equal(qd_s3_list_find(&list, "config.json")->size, 12);
    assert_true(qd_s3_list_find(&list, "m.gguf")->size == UINT64_C(5368709120));
    assert_null(qd_s3_list_find(&list, "none"));
}

static void what_is_no_list_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } rows[] = {
        { "", "no XML" },
        { "<ListBucketResult>", "no XML" },
        { "<Error><Code>AccessDenied</Code></Error>", "'Error', not a ListBucketResult" },
        { "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "does not say where" },
        { "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>", "'-1'" },
        { "<ListBucketResult><Contents><Size>99999999999999999999</Size></Contents></ListBucketResult>", "size" },
        { "<!DOCTYPE a [<!ENTITY e \"x\">]><ListBucketResult>&e;</ListBucketResult>", "document type" },
        { "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><ListBucketResult/>", "document type" },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(qd_s3_list_fini) qd_s3_list list = { 0 };
        qd_error err;
        check_fails(read_list(rows[i].text, &list, &err), QD_EFORMAT);
        check_contains(err.text, rows[i].part);
    }
}

static void single_values_are_found_at_any_depth(void **state)
{
    (void)state;
    char out[12];
    const char *text = "<R><Error><Code>SlowDown</Code><Code>Second</Code></Error><Long>123456789012345</Long></R>";
    assert_int_equal(qd_s3_read_text(text, strlen(text), "Code", out, sizeof out), QD_SAME);
    assert_string_equal(out, "SlowDown");
    assert_int_equal(qd_s3_read_text(text, strlen(text), "Error", out, sizeof out), QD_DIFFERENT);
    assert_int_equal(qd_s3_read_text(text, strlen(text), "Long", out, sizeof out), QD_DIFFERENT);
    assert_int_equal(qd_s3_read_text("junk", 4, "Code", out, sizeof out), QD_DIFFERENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_become_one_list_of_plain_names),
        cmocka_unit_test(what_is_no_list_is_said),
        cmocka_unit_test(single_values_are_found_at_any_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
