/* test_cache.c: what a fetch promises beyond one download: nothing twice, nothing half, no packet and no token astray. */
#include "world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/str.h"

static world the_world;

typedef struct outcome {
    qd_code code;
    qd_error err;
    qd_fetched fetched;
} outcome;

static void outcome_fini(outcome *o)
{
    qd_fetched_fini(&o->fetched);
}

/* Fetches `pattern` (with {ORIGIN} ...) through its own fetcher on the setting's cache. */
static void fetch(const setting *s, const char *pattern, const char *token, outcome *o)
{
    char url[600];
    memset(o, 0, sizeof *o);
    world_expand(&the_world, pattern, url, sizeof url);
    qd_fetcher *fetcher = setting_fetcher(s);
    const qd_fetch_request request = { .url = url, .token = token };
    o->code = qd_fetch_model(fetcher, &request, NULL, NULL, &o->fetched, &o->err);
    qd_fetcher_destroy(fetcher);
}

#define check_outcome(o, wanted) check_code_at((o).code, (wanted), &(o).err, __FILE__, __LINE__)

static void nap(double seconds)
{
    nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9) }, NULL);
}

static void a_second_fetch_downloads_nothing(void **state)
{
    (void)state;
    static const char *const sources[] = { "{ORIGIN}/files/tiny/", "{ORIGIN}/~noetag@*/files/tiny/", "hf://org/shards",
                                           "file://{MODELS}/shards" };
    for (size_t i = 0; i < QD_LENGTH(sources); i++) {
        QD_AUTO(outcome_fini) outcome first = { 0 }, second = { 0 };
        setting s;
        setting_init(&s, &the_world);
        fetch(&s, sources[i], NULL, &first);
        check_outcome(first, QD_OK);
        world_reset(&the_world);
        fetch(&s, sources[i], NULL, &second);
        check_outcome(second, QD_OK);
        assert_int_equal(world_count(&the_world, "body_bytes"), 0);
        assert_int_equal(second.fetched.downloaded_bytes, 0);
        assert_string_equal(first.fetched.folder, second.fetched.folder);
        const json_t *files = json_object_get(second.fetched.resolved, "files");
        assert_true(json_array_size(files) >= 4);
        for (size_t j = 0; j < json_array_size(files); j++)
            assert_true(json_is_true(json_object_get(json_array_get(files, j), "cached")));
    }
}

static void a_changed_file_is_fetched_again_and_the_old_snapshot_stays(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome old = { 0 }, new = { 0 };
    setting s;
    setting_init(&s, &the_world);
    fetch(&s, "{ORIGIN}/~older*1@tokenizer.json/files/tiny/", NULL, &old);
    check_outcome(old, QD_OK);
    fetch(&s, "{ORIGIN}/~older*1@tokenizer.json/files/tiny/", NULL, &new);
    check_outcome(new, QD_OK);
    assert_string_not_equal(old.fetched.folder, new.fetched.folder);
    assert_int_equal(new.fetched.downloaded_bytes, 300000);
    assert_int_equal(check_snapshot(&the_world, new.fetched.folder, "tiny"), 4);
    assert_true(qd_path_exists(old.fetched.folder));
}

static void what_was_resolved_is_told(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting s;
    setting_init(&s, &the_world);
    fetch(&s, "hf://org/shards", NULL, &o);
    check_outcome(o, QD_OK);
    assert_string_equal(json_string_value(json_object_get(o.fetched.resolved, "source")), "hub");
    char page[700];
    snprintf(page, sizeof page, "%s/org/shards", s.hub_url);
    assert_string_equal(json_string_value(json_object_get(o.fetched.resolved, "url")), page);
    assert_int_equal(strlen(json_string_value(json_object_get(o.fetched.resolved, "commit"))), 40);
    /* config, tokenizer, merges, index and the shards; no README, no pickle, no onnx/ */
    assert_int_equal(json_array_size(json_object_get(o.fetched.resolved, "files")), 4 + SHARDS);
    assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "shards"), 4 + SHARDS);
    assert_int_equal(o.fetched.downloaded_bytes, world_count(&the_world, "body_bytes"));
}

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
        fetch(&s, url, NULL, &o);
        check_outcome(o, QD_EDENIED);
        check_contains(o.err.text, "not public");
        assert_true(qd_clock_seconds() - start < 2);
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
        fetch(&s, url, NULL, &o);
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
        fetch(&s, "hf://org/tiny", NULL, &o);
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
    fetch(&s, "{ORIGIN}/files/tiny/", NULL, &o);
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
        fetch(&s, urls[i], "hf_sesame", &o);
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

static void a_broken_download_is_continued_by_the_next_fetch(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome first = { 0 }, second = { 0 };
    setting s;
    setting_init(&s, &the_world);
    s.policy.retries = 1;
    fetch(&s, "{ORIGIN}/~drop:1000000*1/files/tiny/", NULL, &first);
    check_outcome(first, QD_ENETWORK);
    world_reset(&the_world);
    /* the fault's count was reset with the hub's counters: it strikes again after 1000000 further bytes */
    s.policy.retries = 4;
    fetch(&s, "{ORIGIN}/~drop:1000000*1/files/tiny/", NULL, &second);
    check_outcome(second, QD_OK);
    assert_int_equal(check_snapshot(&the_world, second.fetched.folder, "tiny"), 4);
    assert_int_equal(second.fetched.downloaded_bytes, TINY_WEIGHTS - 1000000);
    assert_int_equal(world_requests_with(&the_world, "bytes=1000000-"), 1);
    assert_int_equal(world_requests_with(&the_world, "bytes=2000000-"), 1);
}

static void caps_hold_with_and_without_a_length(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        uint64_t file, total;
    } rows[] = {
        { "{ORIGIN}/files/tiny/", 1000000, 0 },
        { "{ORIGIN}/~chunked/files/tiny/", 1000000, 0 },
        { "{ORIGIN}/~endless:50/files/tiny/", 4000000, 0 },
        { "{ORIGIN}/files/shards/", 0, 1000000 },
        { "{ORIGIN}/~chunked/files/shards/", 0, 1000000 },
        { "file://{MODELS}/tiny", 1000000, 0 },
        { "file://{MODELS}/shards", 0, 1000000 },
        { "hf://org/shards", 0, 1000000 },
    };
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        s.policy.max_file_bytes = rows[i].file;
        s.policy.max_total_bytes = rows[i].total;
        world_reset(&the_world);
        fetch(&s, rows[i].url, NULL, &o);
        check_outcome(o, QD_ETOOBIG);
        check_contains(o.err.text, "limit");
        assert_true(world_count(&the_world, "body_bytes") < 8000000);
    }
}

static void a_disk_that_would_fall_below_its_floor_takes_nothing(void **state)
{
    (void)state;
    static const char *const urls[] = { "{ORIGIN}/files/tiny/", "hf://org/tiny", "file://{MODELS}/tiny" };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        QD_AUTO(outcome_fini) outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        s.policy.disk_floor_bytes = UINT64_C(1) << 60;
        fetch(&s, urls[i], NULL, &o);
        check_outcome(o, QD_ENOSPC);
        check_contains(o.err.text, "free");
        assert_int_equal(check_blobs(s.cache), 0);
    }
}

static void a_full_disk_is_noticed_before_the_body_and_heals(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome full = { 0 }, room = { 0 };
    setting s;
    setting_init(&s, &the_world);
    assert_int_equal(mkdir(s.cache, 0755), 0);
    if (mount("tmpfs", s.cache, "tmpfs", 0, "size=2m") != 0) {
        print_message("# SKIP: a small tmpfs cannot be mounted here (root is needed)\n");
        skip();
    }
    world_reset(&the_world);
    fetch(&s, "{ORIGIN}/files/tiny/", NULL, &full);
    long body = world_count(&the_world, "body_bytes");
    int remounted = mount("tmpfs", s.cache, "tmpfs", MS_REMOUNT, "size=20m");
    fetch(&s, "{ORIGIN}/files/tiny/", NULL, &room);
    size_t files = room.code == QD_OK ? check_snapshot(&the_world, room.fetched.folder, "tiny") : 0;
    umount2(s.cache, MNT_DETACH);
    check_outcome(full, QD_ENOSPC);
    assert_true(body < 2 * 1024 * 1024);
    assert_int_equal(remounted, 0);
    check_outcome(room, QD_OK);
    assert_int_equal(files, 4);
}

typedef struct job {
    pthread_t thread;
    qd_fetcher *fetcher;
    char url[600];
    qd_cancel cancel;
    outcome o;
} job;

static void *run_job(void *ctx)
{
    job *j = ctx;
    const qd_fetch_request request = { .url = j->url };
    j->o.code = qd_fetch_model(j->fetcher, &request, NULL, &j->cancel, &j->o.fetched, &j->o.err);
    return NULL;
}

static void start_job(job *j, qd_fetcher *fetcher, const char *pattern)
{
    memset(j, 0, sizeof *j);
    j->fetcher = fetcher;
    world_expand(&the_world, pattern, j->url, sizeof j->url);
    assert_int_equal(pthread_create(&j->thread, NULL, run_job, j), 0);
}

static void threads_that_want_the_same_model_download_it_once(void **state)
{
    (void)state;
    static const char *const urls[] = { "{ORIGIN}/~slow:6000000/files/tiny/", "hf://org/shards" };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        setting s;
        job jobs[3];
        setting_init(&s, &the_world);
        qd_fetcher *fetcher = setting_fetcher(&s);
        world_reset(&the_world);
        for (size_t j = 0; j < QD_LENGTH(jobs); j++)
            start_job(&jobs[j], fetcher, urls[i]);
        uint64_t downloaded = 0;
        for (size_t j = 0; j < QD_LENGTH(jobs); j++) {
            pthread_join(jobs[j].thread, NULL);
            check_outcome(jobs[j].o, QD_OK);
            assert_string_equal(jobs[j].o.fetched.folder, jobs[0].o.fetched.folder);
            downloaded += jobs[j].o.fetched.downloaded_bytes;
        }
        size_t files = check_snapshot(&the_world, jobs[0].o.fetched.folder, i == 0 ? "tiny" : "shards");
        uint64_t whole = 0;
        const json_t *list = json_object_get(jobs[0].o.fetched.resolved, "files");
        assert_int_equal(json_array_size(list), files);
        for (size_t k = 0; k < files; k++)
            whole += (uint64_t)json_integer_value(json_object_get(json_array_get(list, k), "size"));
        assert_int_equal(world_count(&the_world, "body_bytes"), whole);
        assert_int_equal(downloaded, whole);
        for (size_t j = 0; j < QD_LENGTH(jobs); j++)
            outcome_fini(&jobs[j].o);
        qd_fetcher_destroy(fetcher);
    }
}

static void cancelling_stops_within_two_seconds_and_keeps_the_bytes(void **state)
{
    (void)state;
    static const char *const urls[] = { "{ORIGIN}/~slow:200000/files/tiny/", "{ORIGIN}/~status:503:100/files/tiny/" };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        setting s;
        job j;
        setting_init(&s, &the_world);
        s.policy.low_speed_seconds = 30;
        qd_fetcher *fetcher = setting_fetcher(&s);
        start_job(&j, fetcher, urls[i]);
        nap(0.7);
        double start = qd_clock_seconds();
        qd_cancel_request(&j.cancel);
        pthread_join(j.thread, NULL);
        check_outcome(j.o, QD_ECANCELLED);
        assert_true(qd_clock_seconds() - start < 2);
        outcome_fini(&j.o);
        qd_fetcher_destroy(fetcher);
        if (i > 0)
            continue;
        world_reset(&the_world);
        QD_AUTO(outcome_fini) outcome o = { 0 };
        char url[100];
        snprintf(url, sizeof url, "%s", "{ORIGIN}/~slow:200000/files/tiny/");
        s.policy.max_file_bytes = 1; /* whatever is asked for next: it asks for the rest */
        fetch(&s, url, NULL, &o);
        check_outcome(o, QD_ETOOBIG);
    }
}

static void progress_grows_to_the_total(void **state);

/* In a child of its own: a fetch, killed without warning at a moment the parent chooses. */
static pid_t fetch_in_child(const setting *s, const char *pattern)
{
    pid_t child = fork();
    if (child == 0) {
        outcome o;
        fetch(s, pattern, NULL, &o);
        _exit(o.code == QD_OK ? 0 : 1);
    }
    return child;
}

static void killed_at_any_moment_blobs_are_whole_and_the_download_goes_on(void **state)
{
    (void)state;
    setting s;
    setting_init(&s, &the_world);
    s.policy.low_speed_seconds = 30;
    /* 3 MB at 2 MB a second: state is synced each second */
    static const char slow[] = "{ORIGIN}/~slow:2000000/files/tiny/";
    static const double moments[] = { 0.02, 0.1, 0.3, 1.3, 1.3 };
    for (size_t i = 0; i < QD_LENGTH(moments); i++) {
        pid_t child = fetch_in_child(&s, slow);
        nap(moments[i]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (qd_path_exists(s.cache))
            check_blobs(s.cache);
    }
    world_reset(&the_world);
    QD_AUTO(outcome_fini) outcome o = { 0 };
    fetch(&s, slow, NULL, &o);
    check_outcome(o, QD_OK);
    assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "tiny"), 4);
    /* the rest only: at least the first second of one child was synced */
    assert_true(world_count(&the_world, "body_bytes") < TINY_WEIGHTS - 1000000);
    assert_true(check_blobs(s.cache) == 4);
}

typedef struct seen {
    uint64_t done, total;
    unsigned calls;
    pthread_t thread;
} seen;

static void take_step(void *ctx, uint64_t done, uint64_t total, const char *file)
{
    seen *s = ctx;
    assert_non_null(file);
    assert_true(pthread_equal(s->thread, pthread_self()));
    assert_true(total == 0 || done <= total);
    s->done = done;
    s->total = total;
    s->calls++;
}

static void progress_grows_to_the_total(void **state)
{
    (void)state;
    static const char *const urls[] = { "{ORIGIN}/files/tiny/", "hf://org/shards", "file://{MODELS}/shards",
                                        "{ORIGIN}/~drop:1000000*1/~older*1/files/tiny/" };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        setting s;
        char url[600];
        qd_error err;
        qd_fetched fetched = { 0 };
        seen got = { .thread = pthread_self() };
        setting_init(&s, &the_world);
        world_expand(&the_world, urls[i], url, sizeof url);
        qd_fetcher *fetcher = setting_fetcher(&s);
        world_reset(&the_world);
        check_ok(qd_fetch_model(fetcher, &(qd_fetch_request){ .url = url },
                                &(qd_fetch_progress){ .step = take_step, .ctx = &got }, NULL, &fetched, &err));
        assert_true(got.calls >= 1);
        assert_true(got.total > 0);
        assert_int_equal(got.done, got.total);
        qd_fetched_fini(&fetched);
        qd_fetcher_destroy(fetcher);
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
    char path[700], target[700];
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
        fetch(&s, rows[i].url, NULL, &o);
        check_outcome(o, rows[i].code);
        check_contains(o.err.text, rows[i].part);
    }
    setting closed;
    setting_init(&closed, &the_world);
    closed.roots[0] = NULL;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    fetch(&closed, "file://{MODELS}/tiny", NULL, &o);
    check_outcome(o, QD_EDENIED);
}

static void a_snapshot_that_lost_a_file_is_made_again(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome first = { 0 }, second = { 0 };
    setting s;
    char path[900];
    setting_init(&s, &the_world);
    fetch(&s, "{ORIGIN}/files/tiny/", NULL, &first);
    check_outcome(first, QD_OK);
    snprintf(path, sizeof path, "%s/tokenizer.json", first.fetched.folder);
    assert_int_equal(unlink(path), 0);
    fetch(&s, "{ORIGIN}/files/tiny/", NULL, &second);
    check_outcome(second, QD_OK);
    assert_int_equal(check_snapshot(&the_world, second.fetched.folder, "tiny"), 4);
}

static void old_partial_files_are_collected_and_young_ones_kept(void **state)
{
    (void)state;
    setting s;
    char path[700], hex[QD_DIGEST_HEX];
    qd_error err;
    static const char *const folders[] = { "partial", "snapshots" };
    setting_init(&s, &the_world);
    qd_fetcher_destroy(setting_fetcher(&s));
    check_ok(qd_sha256("x", 1, hex, &err));
    const struct timespec weeks_ago[2] = { { .tv_sec = time(NULL) - 8 * 86400 }, { .tv_sec = time(NULL) - 8 * 86400 } };
    for (size_t i = 0; i < QD_LENGTH(folders); i++) {
        snprintf(path, sizeof path, "%s/%s/%s%s", s.cache, folders[i], hex, i == 0 ? "" : ".tmp.1.1");
        check_ok(qd_file_write(path, "x", 1, &err));
        qd_fetcher_destroy(setting_fetcher(&s));
        assert_true(qd_path_exists(path));
        assert_int_equal(utimensat(AT_FDCWD, path, weeks_ago, 0), 0);
        qd_fetcher_destroy(setting_fetcher(&s));
        assert_false(qd_path_exists(path));
    }
}

static void texts_are_fetched_once_under_their_cap(void **state)
{
    (void)state;
    static const char *const urls[] = { "{ORIGIN}/files/texts/text.txt", "file://{MODELS}/texts/text.txt" };
    for (size_t i = 0; i < QD_LENGTH(urls); i++) {
        setting s;
        char url[600], hex[QD_DIGEST_HEX], again[QD_DIGEST_HEX];
        qd_error err;
        QD_AUTO(qd_free_pointer) char *path = NULL;
        QD_AUTO(qd_free_pointer) char *second = NULL;
        setting_init(&s, &the_world);
        world_expand(&the_world, urls[i], url, sizeof url);
        qd_fetcher *fetcher = setting_fetcher(&s);
        check_ok(qd_fetch_text(fetcher, url, 1000, NULL, &path, hex, &err));
        world_reset(&the_world);
        check_ok(qd_fetch_text(fetcher, url, 1000, NULL, &second, again, &err));
        assert_int_equal(world_count(&the_world, "body_bytes"), 0);
        assert_string_equal(path, second);
        check_ok(qd_sha256_file(path, again, &err));
        assert_string_equal(hex, again);
        QD_AUTO(qd_free_pointer) char *third = NULL;
        check_fails(qd_fetch_text(fetcher, url, 10, NULL, &third, again, &err), QD_ETOOBIG);
        check_fails(qd_fetch_text(fetcher, "hf://org/tiny", 10, NULL, &third, again, &err), QD_EINVAL);
        check_fails(qd_fetch_text(fetcher, "file:///etc/passwd", 10, NULL, &third, again, &err), QD_EDENIED);
        qd_fetcher_destroy(fetcher);
    }
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
        cmocka_unit_test(a_second_fetch_downloads_nothing),
        cmocka_unit_test(a_changed_file_is_fetched_again_and_the_old_snapshot_stays),
        cmocka_unit_test(what_was_resolved_is_told),
        cmocka_unit_test(twelve_spellings_of_closed_addresses_are_refused_without_a_packet),
        cmocka_unit_test(names_and_redirects_are_judged_at_the_socket),
        cmocka_unit_test(allow_net_opens_its_range_and_no_more),
        cmocka_unit_test(plain_http_needs_permission),
        cmocka_unit_test(urls_are_checked_without_a_network),
        cmocka_unit_test(a_token_stays_at_the_host_it_is_for),
        cmocka_unit_test(a_broken_download_is_continued_by_the_next_fetch),
        cmocka_unit_test(caps_hold_with_and_without_a_length),
        cmocka_unit_test(a_disk_that_would_fall_below_its_floor_takes_nothing),
        cmocka_unit_test(a_full_disk_is_noticed_before_the_body_and_heals),
        cmocka_unit_test(threads_that_want_the_same_model_download_it_once),
        cmocka_unit_test(cancelling_stops_within_two_seconds_and_keeps_the_bytes),
        cmocka_unit_test(killed_at_any_moment_blobs_are_whole_and_the_download_goes_on),
        cmocka_unit_test(progress_grows_to_the_total),
        cmocka_unit_test(local_sources_stay_below_their_root),
        cmocka_unit_test(a_snapshot_that_lost_a_file_is_made_again),
        cmocka_unit_test(old_partial_files_are_collected_and_young_ones_kept),
        cmocka_unit_test(texts_are_fetched_once_under_their_cap),
        cmocka_unit_test(settings_that_are_wrong_are_named),
    };
    world_open(&the_world);
    int failed = cmocka_run_group_tests_name("fetch cache", tests, NULL, NULL);
    world_close(&the_world);
    return failed;
}
