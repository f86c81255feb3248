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

static void every_option_has_a_name_and_help(void **state)
{
    (void)state;
    qd_option_help a, b;
    for (size_t i = 0; qd_config_option_at(i, &a); i++) {
        assert_non_null(a.name);
        assert_true(strlen(a.help) > 10);
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
        cmocka_unit_test(every_option_has_a_name_and_help),
        cmocka_unit_test(log_levels_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
