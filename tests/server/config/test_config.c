/* test_config.c: sources of options, their order, and the messages for wrong ones. */
#include "check.h"

#include <unistd.h>

#include "config/config.h"
#include "config/log.h"

static qd_error err;

static qd_code read_flags(qd_config *out, char **argv, const char *const *environment)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return qd_config_read(argc, argv, environment, out, &err);
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    check_ok(read_flags(&config, (char *[]){ "quantd", NULL }, NULL));
    assert_string_equal(config.listen, "127.0.0.1:8080");
    assert_int_equal(config.workers, 1);
    assert_true(config.threads >= 1);
    assert_null(config.allow_net);
    assert_false(config.allow_http);
}

static void flags_win_over_environment_and_file(void **state)
{
    (void)state;
    char path[] = "/tmp/qd_config_XXXXXX";
    int fd = mkstemp(path);
    const char text[] = "# a comment\nlisten = 127.0.0.1:1\nworkers=3\nallow-net = 10.0.0.0/8\ndisk-floor = 2M\n";
    assert_int_equal(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    const char *environment[] = { "QUANTD_LISTEN=127.0.0.1:2", "QUANTD_ALLOW_NET=127.0.0.0/8,fd00::/8", NULL };
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    check_ok(read_flags(&config, (char *[]){ "quantd", "--config", path, "--listen=127.0.0.1:3", "--allow-http", NULL },
                        environment));
    unlink(path);
    assert_string_equal(config.listen, "127.0.0.1:3");
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.disk_floor, 2 << 20);
    assert_true(config.allow_http);
    assert_string_equal(config.allow_net[0], "10.0.0.0/8");
    assert_string_equal(config.allow_net[2], "fd00::/8");
    assert_null(config.allow_net[3]);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    check_fails(read_flags(&config, (char *[]){ "quantd", "--wrokers=2", NULL }, NULL), QD_EINVAL);
    check_contains(err.text, "--wrokers");
    check_fails(read_flags(&config, (char *[]){ "quantd", "--workers=0", NULL }, NULL), QD_EINVAL);
    check_contains(err.text, "1..64");
    check_fails(read_flags(&config, (char *[]){ "quantd", "--workers", NULL }, NULL), QD_EINVAL);
    check_fails(read_flags(&config, (char *[]){ "quantd", "--log-level=loud", NULL }, NULL), QD_EINVAL);
    check_contains(err.text, "debug, info, warn or error");
    check_fails(read_flags(&config, (char *[]){ "quantd", "--disk-floor=-1", NULL }, NULL), QD_EINVAL);
    check_fails(read_flags(&config, (char *[]){ "quantd", "--disk-floor=99999999999T", NULL }, NULL), QD_EINVAL);
    check_fails(read_flags(&config, (char *[]){ "quantd", "serve", NULL }, NULL), QD_EINVAL);
    const char *environment[] = { "QUANTD_WORKERS=many", NULL };
    check_fails(read_flags(&config, (char *[]){ "quantd", NULL }, environment), QD_EINVAL);
    check_contains(err.text, "QUANTD_WORKERS");
}

static qd_code read_text(const char *text, qd_config *out)
{
    char path[] = "/tmp/qd_config_XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    qd_code code = read_flags(out, (char *[]){ "quantd", "--config", path, NULL }, NULL);
    unlink(path);
    return code;
}

static void messages_say_what_is_allowed_and_what_was_perhaps_meant(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *part;
    } wrong[] = {
        { "--wrokers=2", "did you mean '--workers'" },
        { "--keep-job=2d", "did you mean '--keep-jobs'" },
        { "--trusted-proxies=10.0.0.0/8", "did you mean '--trusted-proxy'" },
        { "--xyz=2", "`quantd serve --help`" },
        { "--workers=99", "1..64 jobs" },
        { "--workers=18446744073709551617", "1..64 jobs" },
        { "--keep-jobs=9999d", "0..3650d" },
        { "--drain=2w", "a time such as 90s" },
        { "--disk-floor=99999999999999999999", "0 or more bytes" },
        { "--max-file=lots", "a size such as 512M" },
        { "--auth=maybe", "is not auto, keys or none" },
        { "--check-config=yes", "no value" },
    };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++) {
        QD_AUTO(qd_config_fini) qd_config config = { 0 };
        char *flags[] = { "quantd", (char *)(uintptr_t)wrong[i].flag, NULL };
        check_fails(read_flags(&config, flags, NULL), QD_EINVAL);
        check_contains(err.text, wrong[i].part);
    }
}

static void a_file_says_a_thing_once_unless_it_is_a_list(void **state)
{
    (void)state;
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    check_fails(read_text("workers = 2\n# again\nworkers = 3\n", &config), QD_EINVAL);
    check_contains(err.text, ":3: workers");
    check_contains(err.text, "line 1");
    check_fails(read_text("workres = 2\n", &config), QD_EINVAL);
    check_contains(err.text, ":1: unknown option 'workres'; did you mean 'workers'");
    check_ok(read_text("allow-net = 10.0.0.0/8\nallow-net = fd00::/8\nkeep-jobs = 2h\n", &config));
    assert_string_equal(config.allow_net[1], "fd00::/8");
    assert_true(config.keep_jobs == 7200);
}

static void values_are_printed_with_their_sources_and_without_passwords(void **state)
{
    (void)state;
    QD_AUTO(qd_config_fini) qd_config config = { 0 };
    char *text = NULL;
    size_t size = 0;
    const char *environment[] = { "QUANTD_HUB_URL=https://me:word@hub.example/x", "QUANTD_HOST=a,b", NULL };
    check_ok(read_flags(&config, (char *[]){ "quantd", "--host", "c", "--drain=1m", NULL }, environment));
    FILE *out = open_memstream(&text, &size);
    qd_config_print(&config, out);
    fclose(out);
    check_contains(text, "hub-url = https://...@hub.example/x  # environment\n");
    check_contains(text, "host = a,b,c  # environment and flags\n");
    check_contains(text, "drain = 60  # flags\n");
    check_contains(text, "workers = 1  # default\n");
    assert_null(strstr(text, "word"));
    free(text);
}

static void a_reload_takes_what_may_change_and_names_the_rest(void **state)
{
    (void)state;
    QD_AUTO(qd_config_fini) qd_config config = { 0 }, fresh = { 0 };
    QD_AUTO(qd_str_fini) qd_str applied = { 0 }, waiting = { 0 };
    check_ok(read_text("workers = 2\nallow-net = 10.0.0.0/8\nlog-level = info\n", &config));
    check_ok(read_text("workers = 3\nallow-net = 10.0.0.0/9\nlog-level = debug\nkeep-jobs = 9d\n", &fresh));
    qd_config_adopt(&config, &fresh, &applied, &waiting);
    assert_string_equal(qd_str_borrow(&waiting), "workers,allow-net");
    assert_string_equal(qd_str_borrow(&applied), "keep-jobs,log-level");
    assert_true(config.workers == 2 && config.keep_jobs == 9 * 24 * 3600);
    assert_string_equal(config.log_level, "debug");
    assert_string_equal(config.allow_net[0], "10.0.0.0/8");
}

static void every_option_has_a_name_and_help(void **state)
{
    (void)state;
    qd_option_help a, b;
    for (size_t i = 0; qd_config_option_at(i, &a); i++) {
        assert_non_null(a.name);
        assert_true(strlen(a.help) > 10);
        assert_true(strncmp(a.environment, "QUANTD_", 7) == 0);
        for (size_t k = 0; k < i && qd_config_option_at(k, &b); k++)
            assert_string_not_equal(a.name, b.name);
    }
}

static void log_levels_are_words(void **state)
{
    (void)state;
    assert_int_equal(qd_log_level_find("warn"), QD_LOG_WARN);
    assert_int_equal(qd_log_level_find("loud"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(flags_win_over_environment_and_file),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(messages_say_what_is_allowed_and_what_was_perhaps_meant),
        cmocka_unit_test(a_file_says_a_thing_once_unless_it_is_a_list),
        cmocka_unit_test(values_are_printed_with_their_sources_and_without_passwords),
        cmocka_unit_test(a_reload_takes_what_may_change_and_names_the_rest),
        cmocka_unit_test(every_option_has_a_name_and_help),
        cmocka_unit_test(log_levels_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
