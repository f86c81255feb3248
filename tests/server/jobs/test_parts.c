/* test_parts.c: states, ids, lines, events of a run, the lock, the bell. */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include "jobs/bell.h"
#include "jobs/child_event.h"
#include "jobs/ident.h"
#include "jobs/lines.h"
#include "jobs/lock.h"
#include "jobs/service.h"
#include "jobs/state.h"

extern char **environ;

static void every_state_has_a_name_of_its_own_that_is_found_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_STATE_COUNT; i++) {
        qd_state_id found = QD_STATE_COUNT;
        assert_true(qd_state_find(qd_state_at(i)->name, &found));
        assert_int_equal(found, i);
        assert_string_equal(qd_state_name(i), qd_state_at(i)->name);
        check_contains(qd_state_words(), qd_state_at(i)->name);
    }
    assert_null(qd_state_at(QD_STATE_COUNT));
    assert_null(qd_state_name(QD_STATE_COUNT));
    assert_false(qd_state_find("done", &(qd_state_id){ 0 }));
}

static void every_state_but_success_can_be_left_and_every_one_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_STATE_COUNT; i++) {
        size_t out = 0, in = 0;
        for (size_t j = 0; j < QD_STATE_COUNT; j++) {
            out += qd_state_may_follow((qd_state_id)i, (qd_state_id)j);
            in += qd_state_may_follow((qd_state_id)j, (qd_state_id)i);
        }
        assert_int_equal(out == 0, i == QD_STATE_SUCCEEDED);
        assert_true(in > 0);
        assert_false(qd_state_may_follow((qd_state_id)i, (qd_state_id)i));
    }
}

static void running_states_fail_are_cancelled_or_go_back_and_final_ones_only_go_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_STATE_COUNT; i++) {
        qd_state_kind kind = qd_state_at(i)->kind;
        qd_state_id from = (qd_state_id)i;
        assert_int_equal(qd_state_may_follow(from, QD_STATE_FAILED), kind == QD_STATE_RUNNING);
        assert_int_equal(qd_state_may_follow(from, QD_STATE_CANCELLED), kind != QD_STATE_FINAL);
        assert_int_equal(qd_state_may_follow(from, QD_STATE_QUEUED),
                         kind == QD_STATE_RUNNING || (kind == QD_STATE_FINAL && from != QD_STATE_SUCCEEDED));
        assert_int_equal(qd_state_may_follow(from, QD_STATE_SUCCEEDED), from == QD_STATE_VERIFYING);
        assert_int_equal(qd_state_may_follow(from, QD_STATE_QUARANTINED), from == QD_STATE_VERIFYING);
    }
}

static void phases_are_the_running_states_in_order(void **state)
{
    (void)state;
    static const char *const names[] = { "downloading", "quantizing", "evaluating", "exporting", "verifying" };
    for (size_t i = 0; i < QD_LENGTH(names); i++) {
        assert_string_equal(qd_phase_name(i), names[i]);
        assert_int_equal(qd_state_at(QD_STATE_DOWNLOADING + i)->kind, QD_STATE_RUNNING);
    }
    assert_null(qd_phase_name(QD_LENGTH(names)));
}

static void ids_only_grow_whatever_the_clock_does(void **state)
{
    (void)state;
    qd_idents idents;
    char before[27] = "", id[27];
    qd_error err;
    qd_idents_init(&idents, "");
    for (int i = 0; i < 2000; i++) {
        check_ok(qd_ident_make(&idents, id, &err));
        assert_true(qd_ident_ok(id));
        assert_true(strcmp(id, before) > 0);
        memcpy(before, id, sizeof id);
    }
    qd_idents_fini(&idents);
    qd_idents_init(&idents, "7zzzzzzzzzzzzzzzzzzzzzzzzz"); /* from a clock far ahead */
    check_ok(qd_ident_make(&idents, id, &err));
    assert_string_equal(id, "80000000000000000000000000");
    qd_idents_fini(&idents);
}

static void ids_are_26_small_letters_and_digits(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",
                                         "abc",
                                         "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                         "../../../../../../etc/pass",
                                         "0123456789012345678901234",
                                         "012345678901234567890123456" };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++)
        assert_false(qd_ident_ok(wrong[i]));
    assert_true(qd_ident_ok("01234567890123456789abcxyz"));
}

typedef struct heard {
    size_t lines, bytes;
    char last[64];
} heard;

static void hear(void *ctx, const char *text, size_t length)
{
    heard *h = ctx;
    h->lines++;
    h->bytes += length;
    snprintf(h->last, sizeof h->last, "%.*s", (int)(length < 60 ? length : 60), text);
}

static void lines_are_the_same_however_the_bytes_arrive(void **state)
{
    (void)state;
    static const char text[] = "one\n\nthree and more\nfour\nrest";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        heard h = { 0 };
        qd_lines *lines = calloc(1, sizeof *lines);
        lines->line = hear;
        lines->ctx = &h;
        for (size_t at = 0; at < sizeof text - 1; at += piece)
            qd_lines_feed(lines, text + at, at + piece < sizeof text ? piece : sizeof text - 1 - at);
        assert_int_equal(h.lines, 4);
        assert_string_equal(h.last, "four");
        assert_int_equal(lines->dropped, 0);
        free(lines);
    }
}

static void a_line_of_16_KiB_is_heard_and_a_longer_one_dropped_alone(void **state)
{
    (void)state;
    heard h = { 0 };
    qd_lines *lines = calloc(1, sizeof *lines);
    lines->line = hear;
    lines->ctx = &h;
    char *text = malloc(QD_LINE_MAX + 1);
    memset(text, 'a', QD_LINE_MAX + 1);
    qd_lines_feed(lines, text, QD_LINE_MAX);
    qd_lines_feed(lines, "\n", 1);
    assert_int_equal(h.bytes, QD_LINE_MAX);
    qd_lines_feed(lines, text, QD_LINE_MAX);
    qd_lines_feed(lines, text, 1);
    qd_lines_feed(lines, "\nafter\n", 7);
    assert_int_equal(h.lines, 2);
    assert_string_equal(h.last, "after");
    assert_int_equal(lines->dropped, 1);
    free(text);
    free(lines);
}

static void events_outside_the_protocol_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *line, *reason;
    } wrong[] = {
        { "{}", "event" },
        { "{\"event\":\"gossip\"}", "gossip" },
        { "{\"event\":\"phase\",\"phase\":\"downloading\"}", "downloading" },
        { "{\"event\":\"phase\",\"phase\":\"succeeded\"}", "succeeded" },
        { "{\"event\":\"phase\"}", "phase" },
        { "{\"event\":\"layer\",\"index\":65536,\"name\":\"a\"}", "65536" },
        { "{\"event\":\"layer\",\"index\":-1,\"name\":\"a\"}", "index" },
        { "{\"event\":\"layer\",\"index\":1}", "name" },
        { "{\"event\":\"layer\",\"name\":\"a\"}", "index" },
        { "{\"event\":\"warning\",\"detail\":[]}", "detail" },
        { "{\"event\":\"problem\",\"detail\":\"a\"}", "code" },
        { "{\"event\":\"heartbeat\",\"rss\":-5}", "rss" },
        { "{\"event\":\"phase\",\"event\":\"phase\"}", "duplicate" },
    };
    for (size_t i = 0; i < QD_LENGTH(wrong); i++) {
        qd_child_event event = { 0 };
        qd_error err = { 0 };
        check_fails(qd_child_event_parse(wrong[i].line, strlen(wrong[i].line), &event, &err), QD_EFORMAT);
        check_contains(err.text, wrong[i].reason);
    }
}

static void a_problem_carries_the_code_it_names(void **state)
{
    (void)state;
    for (int i = QD_OK + 1; i <= QD_EINTERNAL; i++) {
        char line[200];
        qd_child_event event = { 0 };
        qd_error err = { 0 };
        snprintf(line, sizeof line, "{\"event\":\"problem\",\"code\":\"%s\",\"detail\":\"why\"}",
                 qd_code_name((qd_code)i));
        check_ok(qd_child_event_parse(line, strlen(line), &event, &err));
        assert_int_equal(event.problem, i);
        assert_string_equal(event.detail, "why");
        qd_child_event_fini(&event);
    }
}

/* A process in a group of its own that holds a lock on `path` and would for a minute. */
static pid_t start_holder(const char *path)
{
    char flock_word[] = "flock", run[] = "-x", sleep_word[] = "sleep", minute[] = "60", no_fork[] = "-F";
    char *const words[] = { flock_word, no_fork, run, (char *)(uintptr_t)path, sleep_word, minute, NULL };
    posix_spawnattr_t attributes;
    pid_t pid = 0;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    assert_int_equal(posix_spawnp(&pid, flock_word, NULL, &attributes, words, environ), 0);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

static void an_old_run_that_holds_the_lock_is_ended_after_a_grace(void **state)
{
    (void)state;
    char path[] = "/tmp/quantd-lock-XXXXXX";
    int fd = mkstemp(path), mine = -1, status = 0;
    qd_error err = { 0 };
    assert_true(fd >= 0);
    pid_t pid = start_holder(path);
    while (flock(fd, LOCK_EX | LOCK_NB) == 0) { /* until it has it */
        flock(fd, LOCK_UN);
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    check_ok(qd_lock_note(fd, pid, &err));
    check_ok(qd_lock_take(path, 0.2, NULL, &mine, &err));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(mine);
    close(fd);
    unlink(path);
}

static void *cancel_soon(void *cancel)
{
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    qd_cancel_request(cancel);
    return NULL;
}

/* Holders are ended at once, and the lock is waited for a little. */
static qd_code want_lock(const char *path)
{
    int mine = -1;
    pthread_t thread;
    qd_error err = { 0 };
    qd_cancel cancel = { 0 };
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    qd_code code = qd_lock_take(path, -1, &cancel, &mine, &err);
    pthread_join(thread, NULL);
    return code;
}

static void a_note_that_names_the_service_itself_ends_nobody(void **state)
{
    (void)state;
    char path[] = "/tmp/quantd-lock-XXXXXX";
    int fd = mkstemp(path), status = 0;
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    pid_t pid = fork();
    if (pid == 0) { /* leads a group, as a service does */
        qd_error err = { 0 };
        bool noted = setpgid(0, 0) == 0 && qd_lock_note(fd, getpid(), &err) == QD_OK;
        _exit(noted && want_lock(path) == QD_ECANCELLED ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fd);
    unlink(path);
}

static void a_process_that_only_has_the_number_of_an_old_run_is_left_alone(void **state)
{
    (void)state;
    char path[] = "/tmp/quantd-lock-XXXXXX", text[64];
    int fd = mkstemp(path), mine = -1;
    pid_t other = fork();
    qd_error err = { 0 };
    if (other == 0) {
        setpgid(0, 0);
        pause();
        _exit(0);
    }
    setpgid(other, other);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    int length = snprintf(text, sizeof text, "%ld 1\n", (long)other); /* its id, another's start time */
    assert_int_equal(pwrite(fd, text, (size_t)length, 0), length);
    assert_int_equal(want_lock(path), QD_ECANCELLED);
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
    kill(other, SIGKILL);
    assert_int_equal(waitpid(other, NULL, 0), other);
    close(fd);
    check_ok(qd_lock_take(path, -1, NULL, &mine, &err));
    close(mine);
    unlink(path);
}

typedef struct listener {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    size_t calls, goodbyes;
    uint64_t last;
    char id[27];
} listener;

static void on_woken(void *ctx, const char *id, uint64_t last)
{
    listener *l = ctx;
    pthread_mutex_lock(&l->mutex);
    l->goodbyes += id == NULL;
    l->calls += id != NULL;
    l->last = last > l->last ? last : l->last;
    if (id != NULL)
        snprintf(l->id, sizeof l->id, "%s", id);
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->mutex);
}

static void wait_for(listener *l, uint64_t last)
{
    pthread_mutex_lock(&l->mutex);
    while (l->last < last)
        pthread_cond_wait(&l->cond, &l->mutex);
    pthread_mutex_unlock(&l->mutex);
}

static void listener_init(listener *l)
{
    *l = (listener){ 0 };
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->cond, NULL);
}

static void a_watcher_hears_its_job_and_the_end_and_nothing_after_it_left(void **state)
{
    (void)state;
    listener one, all, gone;
    qd_bell *bell = NULL;
    qd_watch *watches[3];
    qd_error err = { 0 };
    listener_init(&one);
    listener_init(&all);
    listener_init(&gone);
    check_ok(qd_bell_create(&bell, &err));
    check_ok(qd_bell_watch(bell, "a", on_woken, &one, &watches[0], &err));
    check_ok(qd_bell_watch(bell, NULL, on_woken, &all, &watches[1], &err));
    check_ok(qd_bell_watch(bell, NULL, on_woken, &gone, &watches[2], &err));
    qd_bell_unwatch(bell, watches[2]);
    qd_bell_ring(bell, "a", 3);
    wait_for(&one, 3);
    qd_bell_ring(bell, "b", 9);
    wait_for(&all, 9);
    assert_string_equal(one.id, "a");
    assert_int_equal(one.last, 3);
    qd_bell_destroy(bell);
    assert_int_equal(one.goodbyes, 1);
    assert_int_equal(all.goodbyes, 1);
    assert_int_equal(gone.calls + gone.goodbyes, 0);
}

typedef struct ringer {
    qd_bell *bell;
    atomic_bool stop;
} ringer;

static void *keep_ringing(void *arg)
{
    ringer *r = arg;
    for (uint64_t i = 1; !r->stop; i++)
        qd_bell_ring(r->bell, "a", i);
    return NULL;
}

/* A sanitizer sees the use of a listener that is gone. */
static void watchers_come_and_go_while_the_bell_rings(void **state)
{
    (void)state;
    ringer r = { 0 };
    pthread_t thread;
    qd_error err = { 0 };
    size_t calls = 0;
    check_ok(qd_bell_create(&r.bell, &err));
    pthread_create(&thread, NULL, keep_ringing, &r);
    for (int i = 0; i < 500 || calls == 0; i++) {
        listener *l = malloc(sizeof *l);
        qd_watch *watch = NULL;
        listener_init(l);
        check_ok(qd_bell_watch(r.bell, i % 2 == 0 ? "a" : NULL, on_woken, l, &watch, &err));
        if (i % 50 == 0)
            wait_for(l, 1);
        qd_bell_unwatch(r.bell, watch);
        calls += l->calls;
        free(l);
    }
    r.stop = true;
    pthread_join(thread, NULL);
    qd_bell_destroy(r.bell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_a_name_of_its_own_that_is_found_again),
        cmocka_unit_test(every_state_but_success_can_be_left_and_every_one_reached),
        cmocka_unit_test(running_states_fail_are_cancelled_or_go_back_and_final_ones_only_go_back),
        cmocka_unit_test(phases_are_the_running_states_in_order),
        cmocka_unit_test(ids_only_grow_whatever_the_clock_does),
        cmocka_unit_test(ids_are_26_small_letters_and_digits),
        cmocka_unit_test(lines_are_the_same_however_the_bytes_arrive),
        cmocka_unit_test(a_line_of_16_KiB_is_heard_and_a_longer_one_dropped_alone),
        cmocka_unit_test(events_outside_the_protocol_are_refused_with_the_reason),
        cmocka_unit_test(a_problem_carries_the_code_it_names),
        cmocka_unit_test(an_old_run_that_holds_the_lock_is_ended_after_a_grace),
        cmocka_unit_test(a_note_that_names_the_service_itself_ends_nobody),
        cmocka_unit_test(a_process_that_only_has_the_number_of_an_old_run_is_left_alone),
        cmocka_unit_test(a_watcher_hears_its_job_and_the_end_and_nothing_after_it_left),
        cmocka_unit_test(watchers_come_and_go_while_the_bell_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
