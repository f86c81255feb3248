/* test_log.c: log lines: whole, parseable, and without secrets, whatever they are made of. */
#include "check.h"

#include <jansson.h>
#include <unistd.h>

#include "base/rng.h"
#include "config/log.h"
#include "config/redact.h"

/* What one call writes to stderr. */
static const char *written(const char *format, const char *event, const char *details)
{
    static char text[8192];
    FILE *file = tmpfile();
    int saved = dup(2);
    qd_log log;
    fflush(stderr);
    dup2(fileno(file), 2);
    qd_log_init(&log, "info", format);
    qd_log_line(&log, QD_LOG_WARN, event, details);
    qd_log_line(&log, QD_LOG_DEBUG, "below.the-threshold", details);
    qd_log_fini(&log);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    rewind(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

static json_t *parsed(const char *event, const char *details)
{
    json_error_t error;
    const char *text = written("json", event, details);
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (line == NULL)
        print_error("%s: %s\n", text, error.text);
    assert_non_null(line);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    return line;
}

static const char *member(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static void every_key_is_a_member(void **state)
{
    (void)state;
    json_t *line = parsed("job.ended", "job=01abc status=200 seconds=0.25 request_id=000000000000000000000012 "
                                       "reason=\"it says \"hi\" and level=error\"");
    assert_string_equal(member(line, "event"), "job.ended");
    assert_string_equal(member(line, "level"), "warn");
    assert_string_equal(member(line, "job"), "01abc");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 200);
    check_near(json_real_value(json_object_get(line, "seconds")), 0.25, 0);
    assert_string_equal(member(line, "request_id"), "000000000000000000000012");
    assert_string_equal(member(line, "reason"), "it says \"hi\" and level=error");
    assert_non_null(member(line, "time"));
    json_decref(line);
}

static void no_text_passes_for_a_key_of_ours(void **state)
{
    (void)state;
    json_t *line = parsed("x", "job=a level=debug time=never");
    assert_string_equal(member(line, "level"), "warn");
    json_decref(line);
    const char *text = written("text", "x", "job=a reason=\"b\" job=c\nforged line\"");
    check_contains(text, " warn  x job=a reason=\"b\\\" job=c\\x0aforged line\"\n");
}

static void a_long_line_is_cut_and_stays_whole(void **state)
{
    (void)state;
    char details[6000] = "job=a reason=\"";
    memset(details + strlen(details), '"', sizeof details - 20);
    const char *text = written("text", "x", details);
    assert_true(strlen(text) < 2100 && text[strlen(text) - 2] == '"');
    json_decref(parsed("x", details));
}

/* Random bytes, with what the parser looks for among them. */
static void whatever_is_logged_is_one_json_object(void **state)
{
    (void)state;
    static const char *const pieces[] = { "=",       "\"",   " ",     "a=", "reason=\"",
                                          "\n",      "\\",   "://",   "?",  "@",
                                          "\xc3",    "\xff", "time=", "é",  "qd_abcdefghijklmnop",
                                          "Bearer ", "\x01", "9",     "." };
    for (uint64_t run = 0; run < 2000; run++) {
        char details[600] = "";
        size_t used = 0;
        for (uint64_t i = 0; i < 40; i++) {
            uint64_t number = qd_rng_below(qd_rng_key(run, 1, 2), i, QD_LENGTH(pieces));
            used += (size_t)snprintf(details + used, sizeof details - used, "%s", pieces[number]);
        }
        json_t *line = parsed(run % 2 == 0 ? "event" : "ev\xffil\n", details);
        assert_true(json_is_string(json_object_get(line, "level")));
        json_decref(line);
        const char *text = written("text", "x", details);
        for (const char *c = text; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 || c == text + strlen(text) - 1);
    }
}

static void secrets_of_urls_and_tokens_are_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        { "url=https://s3.example/b/k?X-Amz-Signature=abc job=1", "url=https://s3.example/b/k?... job=1" },
        { "reason=\"'https://me:word@host/x?y=1': 403\"", "reason=\"'https://...@host/x?...': 403\"" },
        { "https://host/a@b/c", "https://host/a@b/c" },
        { "token=hf_ABCDEFGHIJKLMNOP was refused", "token=hf_... was refused" },
        { "Authorization: Bearer abcdefghijklmnopqrst", "Authorization: Bearer ..." },
        { "key qd_0123456789abcdef0123", "key qd_..." },
        { "job=01qd_abcdefghijklmnop", "job=01qd_abcdefghijklmnop" },
        { "quantd_jobs is a metric, hf_short too", "quantd_jobs is a metric, hf_short too" },
        { "https://", "https://" },
        { "", "" },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char out[200];
        qd_redact(cases[i].text, out, sizeof out);
        assert_string_equal(out, cases[i].wanted);
        char small[9];
        qd_redact(cases[i].text, small, sizeof small);
        assert_true(strlen(small) < sizeof small);
    }
    const char *text = written("json", "fetch.failed", "reason=\"https://u:p@h/x?sig=1\"");
    assert_null(strstr(text, "sig=1"));
    assert_null(strstr(text, "u:p"));
}

static void a_level_can_change_while_it_logs(void **state)
{
    (void)state;
    qd_log log;
    qd_log_init(&log, "error", "text");
    qd_log_set(&log, "debug", "json");
    assert_int_equal(atomic_load(&log.threshold), QD_LOG_DEBUG);
    assert_int_equal(atomic_load(&log.format), QD_LOG_JSON);
    qd_log_fini(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_a_member),
        cmocka_unit_test(no_text_passes_for_a_key_of_ours),
        cmocka_unit_test(a_long_line_is_cut_and_stays_whole),
        cmocka_unit_test(whatever_is_logged_is_one_json_object),
        cmocka_unit_test(secrets_of_urls_and_tokens_are_left_out),
        cmocka_unit_test(a_level_can_change_while_it_logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
