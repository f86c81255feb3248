/* test_durability.c: what was acknowledged survives kill -9; a full disk is survived and told. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "scratch.h"

extern char **environ;
enum { WRITERS = 4, ROUNDS = 6, LONG_ROUNDS = 60, LONG_ACKNOWLEDGED = 30000, LONGEST_MS = 700 };

/* ---- the process that is killed: this program again, as --write DIR FIRST; one line on stdout an acknowledged job
 * ---- */

typedef struct writer {
    qd_store *store;
    unsigned first;
} writer;

static void *write_and_tell(void *arg)
{
    const writer *w = arg;
    for (unsigned number = w->first;; number++) {
        qd_error err = { 0 };
        char line[32];
        if (qd_store_write(w->store, insert_numbered, &(unsigned){ number }, &err) != QD_OK)
            return NULL;
        int length = snprintf(line, sizeof line, "%u\n", number);
        if (write(STDOUT_FILENO, line, (size_t)length) != length)
            return NULL;
    }
}

static int write_until_killed(const char *dir, unsigned first)
{
    qd_store *store = NULL;
    qd_error err = { 0 };
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    if (qd_store_open(dir, &store, &err) != QD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (writer){ .store = store, .first = first + i * 100000 };
        pthread_create(&threads[i], NULL, write_and_tell, &writers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    return 1;
}

/* ---- the test ---- */

static FILE *start_writer(const char *dir, unsigned first, pid_t *out_pid)
{
    char number[32];
    int fds[2];
    snprintf(number, sizeof number, "%u", first);
    assert_int_equal(pipe(fds), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, fds[0]);
    char program[] = "/proc/self/exe", flag[] = "--write";
    char *const words[] = { program, flag, (char *)(uintptr_t)dir, number, NULL };
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    assert_int_equal(posix_spawn(out_pid, self, &actions, NULL, words, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    return fdopen(fds[0], "r");
}

static qd_code read_job(void *ctx, qd_tx *tx, qd_error *err)
{
    qd_job_row row = { 0 };
    char id[QD_ID_SIZE];
    make_id(*(unsigned *)ctx, id);
    qd_code code = qd_job_row_read(tx, id, &row, err);
    qd_job_row_fini(&row);
    return code;
}

/* Kills it after `milliseconds`, then reads what it had told: every such job must be there. */
static size_t kill_and_check(const char *dir, unsigned first, long milliseconds)
{
    static unsigned told[1 << 20];
    pid_t pid = 0;
    size_t count = 0;
    FILE *lines = start_writer(dir, first, &pid);
    assert_int_equal(fscanf(lines, "%u", &told[count++]), 1); /* it is committing now */
    nanosleep(&(struct timespec){ .tv_nsec = milliseconds * 1000000 }, NULL);
    kill(pid, SIGKILL);
    while (count < QD_LENGTH(told) && fscanf(lines, "%u", &told[count]) == 1)
        count++;
    fclose(lines);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    qd_store *store = NULL;
    qd_error err = { 0 };
    check_ok(qd_store_open(dir, &store, &err));
    for (size_t i = 0; i < count; i++)
        check_ok(qd_store_read(store, read_job, &told[i], &err));
    qd_store_close(store);
    return count;
}

static void kill_9_of_a_committing_process_loses_nothing_acknowledged(void **state)
{
    scratch s;
    size_t acknowledged = 0;
    bool is_long = getenv("QUANTD_LONG_TESTS") != NULL;
    unsigned rounds = is_long ? LONG_ROUNDS : ROUNDS;
    (void)state;
    make_scratch(&s);
    for (unsigned round = 0; round < rounds; round++)
        acknowledged += kill_and_check(s.dir, round * WRITERS * 100000, 20 + 37 * (long)round % LONGEST_MS);
    assert_true(acknowledged > (is_long ? LONG_ACKNOWLEDGED : rounds));
    print_message("# %zu acknowledged jobs in %u kills, none lost\n", acknowledged, rounds);
    drop_scratch(&s);
}

/* At most so many bytes; whether the disk was full before that. */
static int fill(const char *dir, const char *name, size_t most)
{
    char path[300];
    static const char block[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (most >= sizeof block && write(fd, block, sizeof block) > 0)
        most -= sizeof block;
    int full = most >= sizeof block && errno == ENOSPC;
    close(fd);
    return full;
}

static void check_full_disk(scratch *s)
{
    qd_error err = { 0 };
    unsigned number = 1;
    char ballast[300], filler[300], reserve[300];
    snprintf(ballast, sizeof ballast, "%s/quantd.ballast", s->dir);
    snprintf(filler, sizeof filler, "%s/filler", s->dir);
    check_ok(qd_store_open(s->dir, &s->store, &err));
    add_job(s->store, 0);
    assert_true(qd_path_exists(ballast));
    assert_false(fill(s->dir, "reserve", 512 << 10));
    assert_true(fill(s->dir, "filler", SIZE_MAX));
    /* It can be opened, too: that takes room for the log's index. */
    qd_store_close(s->store);
    s->store = NULL;
    fill(s->dir, "more", SIZE_MAX);
    check_ok(qd_store_open(s->dir, &s->store, &err));
    assert_int_equal(count_jobs(s->store, "queued"), 1);
    snprintf(reserve, sizeof reserve, "%s/reserve", s->dir);
    assert_int_equal(unlink(reserve), 0);
    qd_store_restore_ballast(s->store);
    assert_true(qd_path_exists(ballast));
    assert_true(fill(s->dir, "reserve", SIZE_MAX));
    /* The ballast lets some more be written, and is gone then. */
    for (; number < 100000; number++)
        if (qd_store_write(s->store, insert_numbered, &number, &err) != QD_OK)
            break;
    assert_true(number > 2);
    check_contains(err.text, "disk");
    assert_int_equal(err.code, QD_ENOSPC);
    assert_false(qd_path_exists(ballast));
    assert_int_equal(qd_store_health(s->store, &err), QD_ENOSPC);
    assert_int_equal(count_jobs(s->store, "queued"), number);
    /* Room comes back, and so does everything. */
    assert_int_equal(unlink(filler), 0);
    check_ok(qd_store_probe(s->store, &err));
    check_ok(qd_store_health(s->store, &err));
    add_job(s->store, number);
    qd_store_restore_ballast(s->store);
    assert_true(qd_path_exists(ballast));
    qd_store_close(s->store);
    s->store = NULL;
    check_ok(qd_store_open(s->dir, &s->store, &err));
    assert_int_equal(count_jobs(s->store, "queued"), number + 1);
    qd_store_close(s->store);
    s->store = NULL;
}

static scratch disk;

/* Also after a claim that failed: no mount stays behind. */
static int drop_disk(void **state)
{
    (void)state;
    qd_store_close(disk.store);
    umount2(disk.dir, MNT_DETACH);
    return qd_dir_remove(disk.dir, NULL) == QD_OK ? 0 : -1;
}

static void a_full_disk_is_told_read_through_and_healed(void **state)
{
    (void)state;
    make_scratch(&disk);
    if (geteuid() != 0 || mount("tmpfs", disk.dir, "tmpfs", 0, "size=4m") != 0) {
        print_message("# skipped: needs a small tmpfs, which only root may mount\n");
        skip();
    }
    check_full_disk(&disk);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--write") == 0)
        return write_until_killed(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9_of_a_committing_process_loses_nothing_acknowledged),
        cmocka_unit_test_teardown(a_full_disk_is_told_read_through_and_healed, drop_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
