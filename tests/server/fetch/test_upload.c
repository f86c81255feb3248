/* test_upload.c: a file in parts to a storage that checks every signature (tests/http/s3_server.py). */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/auto.h"
#include "base/digest.h"
#include "base/file.h"
#include "fetch/send.h"
#include "folder.h"

enum { SIZE = (64 << 20) + 12345 };

typedef struct store {
    char folder[256], url[64], file[300], sha256[QD_DIGEST_HEX];
    pid_t process;
    qd_fetcher *fetcher;
    char noted[4][200]; /* what qd_upload.note was told */
    size_t notes;
} store;

static void start(store *s)
{
    int ends[2], port = 0;
    char script[600], line[200] = "";
    SOURCE_PATH(script, "tests/http/s3_server.py");
    assert_int_equal(pipe(ends), 0);
    s->process = fork();
    if (s->process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        execlp("python3", "python3", script, "--bucket", "results", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    if (fgets(line, sizeof line, out) == NULL || sscanf(line, "listening on http://127.0.0.1:%d", &port) != 1)
        fail_msg("s3_server.py did not start: '%s'", line);
    fclose(out);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", port);
}

/* Large, mostly a hole, and no part like another. */
static void make_file(store *s)
{
    qd_error err;
    snprintf(s->file, sizeof s->file, "%s/model.safetensors", s->folder);
    int fd = open(s->file, O_RDWR | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pwrite(fd, "quantd", 6, (off_t)i * (SIZE / 5)), 6);
    close(fd);
    check_ok(qd_sha256_file(s->file, s->sha256, &err));
}

static int open_all(void **state)
{
    static const char *const allow_net[] = { "127.0.0.0/8", NULL }, *const allow[] = { "results/here", NULL };
    static store s;
    char cache[300];
    qd_error err;
    temporary_folder(s.folder, sizeof s.folder);
    start(&s);
    make_file(&s);
    snprintf(cache, sizeof cache, "%s/cache", s.folder);
    setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 1);
    const qd_fetch_policy policy = { .cache_dir = cache,
                                     .allow_net = allow_net,
                                     .allow_http = true,
                                     .retries = 3,
                                     .retry_base_seconds = 0.01,
                                     .s3 = { .endpoint = s.url, .allow = allow } };
    check_ok(qd_fetcher_create(&policy, &s.fetcher, &err));
    *state = &s;
    return 0;
}

static int close_all(void **state)
{
    store *s = *state;
    qd_fetcher_destroy(s->fetcher);
    kill(s->process, SIGKILL);
    waitpid(s->process, NULL, 0);
    qd_dir_remove(s->folder, NULL);
    return 0;
}

static void ask(const store *s, const char *more, char *out, size_t size)
{
    char command[600];
    snprintf(command, sizeof command,
             "python3 -c 'import sys,urllib.request as u; "
             "print(u.urlopen(\"%s\"+sys.argv[1], sys.argv[2].encode() or None).read().decode())' %s",
             s->url, more);
    FILE *pipe = popen(command, "r");
    size_t got = fread(out, 1, size - 1, pipe);
    out[got] = '\0';
    assert_int_equal(pclose(pipe), 0);
}

static qd_code take_note(void *ctx, const char *upload, qd_error *err)
{
    store *s = ctx;
    (void)err;
    snprintf(s->noted[s->notes++ % 4], sizeof s->noted[0], "%s", upload);
    return QD_OK;
}

static qd_code upload(store *s, const char *folder, const char *sha256, const char *stale, qd_sent *sent, qd_error *err)
{
    QD_AUTO(qd_close_fd) int fd = open(s->file, O_RDONLY);
    s->notes = 0;
    const qd_upload wish = { .url = folder,
                             .name = "sub/model.safetensors",
                             .fd = fd,
                             .size = SIZE,
                             .sha256 = sha256,
                             .stale = stale,
                             .note = take_note,
                             .ctx = s };
    return qd_fetch_upload(s->fetcher, &wish, NULL, sent, err);
}

static void a_large_file_arrives_in_parts_with_its_digest(void **state)
{
    store *s = *state;
    static char text[1 << 20];
    qd_sent sent;
    qd_error err;
    ask(s, "/_fault '{\"kind\":\"503\",\"match\":\"partNumber=2\",\"times\":1}'", text, sizeof text);
    ask(s, "/_fault '{\"kind\":\"cut\",\"match\":\"partNumber=1\",\"times\":1}'", text, sizeof text);
    check_ok(upload(s, "s3://results/here", s->sha256, NULL, &sent, &err));
    assert_int_equal(sent.bytes, SIZE);
    assert_int_equal(s->notes, 2);
    check_contains(s->noted[0], "upload/");
    assert_string_equal(s->noted[1], "");
    ask(s, "/_state ''", text, sizeof text);
    check_contains(text, "results/here/sub/model.safetensors");
    check_contains(text, s->sha256);
    check_contains(text, "\"uploads\": []");
}

static void parts_that_came_out_wrong_are_given_up(void **state)
{
    store *s = *state;
    static char text[1 << 20];
    qd_sent sent;
    qd_error err;
    ask(s, "/_fault '{\"kind\":\"corrupt\",\"match\":\"here/bad.*partNumber=2\",\"times\":1}'", text, sizeof text);
    check_fails(upload(s, "s3://results/here/bad", s->sha256, NULL, &sent, &err), QD_EFORMAT);
    check_contains(err.text, "part 2");
    assert_int_equal(sent.outlook, QD_SENT_AGAIN);
    assert_string_equal(s->noted[1], "");
    ask(s, "/_state ''", text, sizeof text);
    check_contains(text, "\"uploads\": []");
    assert_null(strstr(text, "\"results/here/bad/"));
}

static void what_an_earlier_try_left_is_given_up_first(void **state)
{
    store *s = *state;
    static char text[1 << 20];
    qd_sent sent;
    qd_error err;
    check_ok(upload(s, "s3://results/here/again/", s->sha256, "upload/of+another=try", &sent, &err));
    assert_string_equal(s->noted[0], "");
    ask(s, "/_state ''", text, sizeof text);
    check_contains(text, "DELETE /results/here/again/sub/model.safetensors?uploadId=upload%2Fof%2Banother%3Dtry 404");
}

static void another_file_than_was_published_is_not_sent(void **state)
{
    store *s = *state;
    static char text[1 << 20];
    char other[QD_DIGEST_HEX];
    qd_sent sent;
    qd_error err;
    memcpy(other, s->sha256, sizeof other);
    other[0] = other[0] == '0' ? '1' : '0';
    check_fails(upload(s, "s3://results/here/other", other, NULL, &sent, &err), QD_EFORMAT);
    assert_int_equal(sent.outlook, QD_SENT_NEVER);
    check_fails(upload(s, "s3://results/elsewhere", s->sha256, NULL, &sent, &err), QD_EDENIED);
    assert_int_equal(sent.outlook, QD_SENT_NEVER);
    ask(s, "/_state ''", text, sizeof text);
    assert_null(strstr(text, "here/other"));
    assert_null(strstr(text, "elsewhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_file_arrives_in_parts_with_its_digest),
        cmocka_unit_test(parts_that_came_out_wrong_are_given_up),
        cmocka_unit_test(what_an_earlier_try_left_is_given_up_first),
        cmocka_unit_test(another_file_than_was_published_is_not_sent),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
