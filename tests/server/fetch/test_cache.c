/* test_cache.c: what a fetch promises beyond one download: nothing twice, nothing half, nothing beyond its limits. */
#include "world.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"

static world the_world;

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
        world_fetch(&the_world, &s, sources[i], NULL, &first);
        check_outcome(first, QD_OK);
        world_reset(&the_world);
        world_fetch(&the_world, &s, sources[i], NULL, &second);
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
    world_fetch(&the_world, &s, "{ORIGIN}/~older*1@tokenizer.json/files/tiny/", NULL, &old);
    check_outcome(old, QD_OK);
    world_fetch(&the_world, &s, "{ORIGIN}/~older*1@tokenizer.json/files/tiny/", NULL, &new);
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
    world_reset(&the_world);
    world_fetch(&the_world, &s, "hf://org/shards", NULL, &o);
    check_outcome(o, QD_OK);
    assert_string_equal(json_string_value(json_object_get(o.fetched.resolved, "source")), "hub");
    char page[700];
    snprintf(page, sizeof page, "%s/org/shards", s.hub_url);
    assert_string_equal(json_string_value(json_object_get(o.fetched.resolved, "url")), page);
    assert_int_equal(strlen(json_string_value(json_object_get(o.fetched.resolved, "commit"))), 40);
    /* config, tokenizer, merges, index, card and the shards; no pickle, no onnx/ */
    assert_int_equal(json_array_size(json_object_get(o.fetched.resolved, "files")), 5 + SHARDS);
    assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "shards"), 5 + SHARDS);
    assert_int_equal(o.fetched.downloaded_bytes, world_count(&the_world, "body_bytes"));
}

static void a_broken_download_is_continued_by_the_next_fetch(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome first = { 0 }, second = { 0 };
    setting s;
    setting_init(&s, &the_world);
    s.policy.retries = 1;
    world_fetch(&the_world, &s, "{ORIGIN}/~drop:1000000*1/files/tiny/", NULL, &first);
    check_outcome(first, QD_ENETWORK);
    world_reset(&the_world);
    /* the fault's count was reset with the hub's counters: it strikes again after 1000000 further bytes */
    s.policy.retries = 4;
    world_fetch(&the_world, &s, "{ORIGIN}/~drop:1000000*1/files/tiny/", NULL, &second);
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
        world_fetch(&the_world, &s, rows[i].url, NULL, &o);
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
        world_fetch(&the_world, &s, urls[i], NULL, &o);
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
    world_reset(&the_world); /* slow: what the server sent into buffers before we hung up stays small */
    world_fetch(&the_world, &s, "{ORIGIN}/~slow:4000000/files/tiny/", NULL, &full);
    long body = world_count(&the_world, "body_bytes");
    int remounted = mount("tmpfs", s.cache, "tmpfs", MS_REMOUNT, "size=20m");
    world_fetch(&the_world, &s, "{ORIGIN}/files/tiny/", NULL, &room);
    size_t files = room.code == QD_OK ? check_snapshot(&the_world, room.fetched.folder, "tiny") : 0;
    umount2(s.cache, MNT_DETACH);
    check_outcome(full, QD_ENOSPC);
    assert_true(body < 2 * 1024 * 1024);
    assert_int_equal(remounted, 0);
    check_outcome(room, QD_OK);
    assert_int_equal(files, 4);
}

static void shards_that_do_not_fit_together_are_not_begun(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting s;
    setting_init(&s, &the_world);
    assert_int_equal(mkdir(s.cache, 0755), 0);
    if (mount("tmpfs", s.cache, "tmpfs", 0, "size=1m") != 0) { /* one shard has 256 KB, six have 1.5 MB */
        print_message("# SKIP: a small tmpfs cannot be mounted here (root is needed)\n");
        skip();
    }
    world_reset(&the_world);
    world_fetch(&the_world, &s, "{ORIGIN}/files/shards/", NULL, &o);
    umount2(s.cache, MNT_DETACH);
    check_outcome(o, QD_ENOSPC);
    check_contains(o.err.text, "1572894"); /* 6 * 262149 bytes */
    assert_true(world_count(&the_world, "body_bytes") < SHARD_BYTES);
}

/* Makes a system call fail in this process from now on. */
static int forbid(const long *calls, size_t count, unsigned error)
{
    struct sock_filter filter[16] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
    unsigned short length = 1;
    for (size_t i = 0; i < count; i++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = { .len = length, .filter = filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0;
}

static long links(const outcome *o)
{
    char path[900];
    struct stat info = { 0 };
    snprintf(path, sizeof path, "%s/model.safetensors", o->fetched.folder);
    return stat(path, &info) == 0 ? (long)info.st_nlink : -1;
}

/* The exit status of a child that fetches `url` without these system calls: 0 as it should be, 77 = cannot be tried
 * here. */
static int fetch_without(const long *calls, size_t count, unsigned error, const char *url, qd_code code,
                         const char *part)
{
    pid_t child = fork();
    if (child == 0) {
        outcome o = { 0 };
        setting s;
        setting_init(&s, &the_world);
        if (forbid(calls, count, error) != 0)
            _exit(77);
        world_fetch(&the_world, &s, url, NULL, &o);
        if (o.code == QD_OK && (check_snapshot(&the_world, o.fetched.folder, "tiny") != 4 || links(&o) != 1))
            _exit(2);
        _exit(o.code == code && (part == NULL || strstr(o.err.text, part) != NULL) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_file_system_without_links_gets_copies(void **state)
{
    (void)state;
#ifdef SYS_link
    static const long calls[] = { SYS_linkat, SYS_link };
#else
    static const long calls[] = { SYS_linkat };
#endif
    int status = fetch_without(calls, QD_LENGTH(calls), EPERM, "{ORIGIN}/files/tiny/", QD_OK, NULL);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

static void a_system_without_openat2_says_so(void **state)
{
    (void)state;
    static const long calls[] = { SYS_openat2 };
    int status = fetch_without(calls, 1, ENOSYS, "file://{MODELS}/tiny", QD_EUNSUPPORTED, "openat2");
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
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

/* What the cache holds of the one file in flight: its size, the bytes on disk, the bytes on record. */
typedef struct partial {
    off_t size;
    long disk, recorded;
    size_t files;
} partial;

/* The largest; on a slow machine a small file may be under way beside the weights. */
static partial look_at_partial(const char *cache)
{
    partial p = { 0 };
    char **names = NULL, path[800];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/partial", cache);
    if (qd_dir_list(path, &names, &count, NULL) != QD_OK)
        return p;
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        snprintf(path, sizeof path, "%s/partial/%s", cache, names[i]);
        if (strchr(names[i], '.') == NULL && stat(path, &info) == 0 && info.st_size >= p.size) {
            p = (partial){ .size = info.st_size, .disk = info.st_blocks * 512L, .files = p.files + 1 };
            strcat(path, ".json");
            json_t *state = json_load_file(path, 0, NULL);
            p.recorded = (long)json_integer_value(json_object_get(state, "got"));
            json_decref(state);
        }
    }
    qd_names_free(names, count);
    return p;
}

/* Waits, at most 20 s, until the partial file has `size` bytes, `recorded` of them on record. */
static void wait_for_partial(const char *cache, off_t size, long recorded)
{
    for (double start = qd_clock_seconds(); qd_clock_seconds() - start < 20 * check_patience(); nap(0.01)) {
        partial p = look_at_partial(cache);
        if (p.files > 0 && p.size >= size && p.recorded >= recorded)
            return;
    }
    fail_msg("no partial file of %ld bytes, %ld on record, within 20 s", (long)size, recorded);
}

static double seconds_to_cancel(qd_fetcher *fetcher, const char *url, const char *cache, off_t size)
{
    job j;
    start_job(&j, fetcher, url);
    if (size > 0)
        wait_for_partial(cache, size, 0);
    else
        nap(0.5);
    double start = qd_clock_seconds();
    qd_cancel_request(&j.cancel);
    pthread_join(j.thread, NULL);
    check_outcome(j.o, QD_ECANCELLED);
    outcome_fini(&j.o);
    return qd_clock_seconds() - start;
}

static void cancelling_stops_within_two_seconds_and_keeps_the_bytes(void **state)
{
    (void)state;
    static const char slow_once[] = "{ORIGIN}/~slow:400000*1/files/tiny/";
    QD_AUTO(outcome_fini) outcome o = { 0 };
    setting s;
    setting_init(&s, &the_world);
    s.policy.low_speed_seconds = 30;
    qd_fetcher *fetcher = setting_fetcher(&s);
    world_reset(&the_world);
    assert_true(seconds_to_cancel(fetcher, slow_once, s.cache, 400000) < 2 * check_patience());
    const partial kept = look_at_partial(s.cache);
    assert_in_range(kept.size, 400000, TINY_WEIGHTS - 1); /* more than any other file has */
    assert_int_equal(kept.recorded, kept.size);
    assert_true(kept.disk < kept.size + 200000); /* what was reserved beyond is given back */
    world_fetch(&the_world, &s, slow_once, NULL, &o);
    check_outcome(o, QD_OK);
    assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "tiny"), 4);
    assert_in_range(o.fetched.downloaded_bytes, TINY_WEIGHTS - kept.size, TINY_WEIGHTS - kept.size + TINY_OTHERS);
    assert_true(seconds_to_cancel(fetcher, "{ORIGIN}/~status:503:100/files/tiny/", s.cache, 0) < 2 * check_patience());
    qd_fetcher_destroy(fetcher);
}

/* In a child of its own: a fetch, killed without warning at a moment the parent chooses. */
static pid_t fetch_in_child(const setting *s, const char *pattern)
{
    pid_t child = fork();
    if (child == 0) {
        outcome o;
        world_fetch(&the_world, s, pattern, NULL, &o);
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
    /* 3 MB at 0.6 MB a second: state is synced each second, and there are three in which to see it */
    static const char slow[] = "{ORIGIN}/~slow:600000/files/tiny/";
    static const double moments[] = { 0.02, 0.1, 0.3, -1 }; /* -1: as soon as bytes are on record */
    for (size_t i = 0; i < QD_LENGTH(moments); i++) {
        pid_t child = fetch_in_child(&s, slow);
        if (moments[i] < 0)
            wait_for_partial(s.cache, 1000000, 1000000);
        else
            nap(moments[i]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (qd_path_exists(s.cache))
            check_blobs(s.cache);
    }
    world_reset(&the_world);
    QD_AUTO(outcome_fini) outcome o = { 0 };
    world_fetch(&the_world, &s, slow, NULL, &o);
    check_outcome(o, QD_OK);
    assert_int_equal(check_snapshot(&the_world, o.fetched.folder, "tiny"), 4);
    /* the rest only */
    assert_true(world_count(&the_world, "body_bytes") <= TINY_WEIGHTS - 1000000);
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

static void a_snapshot_that_lost_a_file_is_made_again(void **state)
{
    (void)state;
    QD_AUTO(outcome_fini) outcome first = { 0 }, second = { 0 };
    setting s;
    char path[900];
    setting_init(&s, &the_world);
    world_fetch(&the_world, &s, "{ORIGIN}/files/tiny/", NULL, &first);
    check_outcome(first, QD_OK);
    snprintf(path, sizeof path, "%s/tokenizer.json", first.fetched.folder);
    assert_int_equal(unlink(path), 0);
    world_fetch(&the_world, &s, "{ORIGIN}/files/tiny/", NULL, &second);
    check_outcome(second, QD_OK);
    assert_int_equal(check_snapshot(&the_world, second.fetched.folder, "tiny"), 4);
}

static void leftovers_are_collected_when_they_are_old(void **state)
{
    (void)state;
    enum { HOUR = 3600, DAY = 24 * HOUR };
    static const struct {
        const char *folder, *end;
        time_t kept, gone; /* ages */
    } rows[] = { { "partial", "", 6 * DAY, 8 * DAY },
                 { "partial", ".json", 6 * DAY, 8 * DAY },
                 { "partial", ".json.tmp.1.1", HOUR / 2, 2 * HOUR },
                 { "index", ".json.tmp.1.1", HOUR / 2, 2 * HOUR },
                 { "snapshots", ".tmp.1.1", HOUR / 2, 2 * HOUR } };
    setting s;
    char path[700], hex[QD_DIGEST_HEX];
    qd_error err;
    setting_init(&s, &the_world);
    qd_fetcher_destroy(setting_fetcher(&s));
    check_ok(qd_sha256("x", 1, hex, &err));
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        snprintf(path, sizeof path, "%s/%s/%s%s", s.cache, rows[i].folder, hex, rows[i].end);
        check_ok(qd_file_write(path, "x", 1, &err));
        const struct timespec young[2] = { { .tv_sec = time(NULL) - rows[i].kept },
                                           { .tv_sec = time(NULL) - rows[i].kept } };
        const struct timespec old[2] = { { .tv_sec = time(NULL) - rows[i].gone },
                                         { .tv_sec = time(NULL) - rows[i].gone } };
        assert_int_equal(utimensat(AT_FDCWD, path, young, 0), 0);
        qd_fetcher_destroy(setting_fetcher(&s));
        assert_true(qd_path_exists(path));
        assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_fetch_downloads_nothing),
        cmocka_unit_test(a_changed_file_is_fetched_again_and_the_old_snapshot_stays),
        cmocka_unit_test(what_was_resolved_is_told),
        cmocka_unit_test(a_broken_download_is_continued_by_the_next_fetch),
        cmocka_unit_test(caps_hold_with_and_without_a_length),
        cmocka_unit_test(a_disk_that_would_fall_below_its_floor_takes_nothing),
        cmocka_unit_test(a_full_disk_is_noticed_before_the_body_and_heals),
        cmocka_unit_test(shards_that_do_not_fit_together_are_not_begun),
        cmocka_unit_test(a_file_system_without_links_gets_copies),
        cmocka_unit_test(a_system_without_openat2_says_so),
        cmocka_unit_test(threads_that_want_the_same_model_download_it_once),
        cmocka_unit_test(cancelling_stops_within_two_seconds_and_keeps_the_bytes),
        cmocka_unit_test(killed_at_any_moment_blobs_are_whole_and_the_download_goes_on),
        cmocka_unit_test(progress_grows_to_the_total),
        cmocka_unit_test(a_snapshot_that_lost_a_file_is_made_again),
        cmocka_unit_test(leftovers_are_collected_when_they_are_old),
        cmocka_unit_test(texts_are_fetched_once_under_their_cap),
    };
    world_open(&the_world);
    int failed = cmocka_run_group_tests_name("fetch cache", tests, NULL, NULL);
    world_close(&the_world);
    return failed;
}
