/* hostile_child.c: in the place of `quantd run`, a program whose files have taken it over. What it tries follows from the
 * job's name; the outcome of each try is a warning of the job: NAME=ok, or NAME= and the errno's name.
 * Arguments: run JOB.json --out DIR --model DIR --work DIR --threads N --progress-fd 3 [...] */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "confine/cage.h"

extern char **environ;

enum { EVENTS = 3 };
static const char *job, *out_dir, *model, *work;

/* {"event":EVENT,KEY:TEXT} */
static void say(const char *event, const char *key, const char *text)
{
    if (dprintf(EVENTS, "{\"event\":\"%s\",\"%s\":\"%s\"}\n", event, key, text) < 0)
        _exit(70);
}

static void tell(const char *name, int result)
{
    char text[160];
    int number = errno;
    snprintf(text, sizeof text, "%s=%s", name, result >= 0 ? "ok" : strerrorname_np(number));
    say("warning", "detail", text);
}

static void phase(const char *name)
{
    say("phase", "phase", name);
}

/* A file that is `tail` away from the artifact's folder, state/jobs/ID/out. */
static const char *at(const char *tail)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", out_dir, tail);
    return path;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd;
}

static int try_remove_after(const char *path)
{
    int result = try_open(path, O_WRONLY | O_CREAT);
    if (result >= 0)
        unlink(path);
    return result;
}

/* ---- files ---- */

static int read_passwords(void)
{
    return try_open("/etc/passwd", O_RDONLY);
}

static int read_database(void)
{
    return try_open(at("../../../quantd.db"), O_RDONLY);
}

static int read_other_job(void)
{
    return try_open(at("../../neighbour/job.json"), O_RDONLY);
}

static int list_jobs(void)
{
    return try_open(at("../.."), O_RDONLY | O_DIRECTORY);
}

static int read_secret(void)
{
    return try_open(at("../../../../secret"), O_RDONLY);
}

static int read_log(void)
{
    return try_open(at("../log.txt"), O_RDONLY);
}

static int rewrite_job(void)
{
    return try_open(job, O_WRONLY);
}

static int write_in_state(void)
{
    return try_remove_after(at("../../../written"));
}

static int write_in_tmp(void)
{
    return try_remove_after("/tmp/quantd-hostile-child");
}

static int move_out(void)
{
    char moved[4096];
    snprintf(moved, sizeof moved, "%s/../../../moved", work); /* out is no way to it once it is gone */
    int result = rename(out_dir, moved);
    if (result == 0)
        rename(moved, out_dir);
    return result;
}

static int change_mode(void)
{
    return chmod(at("../../../../secret"), 0600);
}

static int cut_file(void)
{
    return truncate(at("../../../../secret"), 3);
}

static int make_device(void)
{
    int result = mknod(at("device"), S_IFCHR | 0600, 0x103);
    if (result == 0)
        unlink(at("device"));
    return result;
}

static int watch_files(void)
{
    return inotify_init1(IN_CLOEXEC);
}

/* What a run has to be able to do. */
static int own_files(void)
{
    char from[4096], to[4096];
    snprintf(from, sizeof from, "%s/a", work);
    snprintf(to, sizeof to, "%s/b", work);
    int result = try_open(from, O_RDWR | O_CREAT | O_TRUNC);
    if (result >= 0)
        result = rename(from, to);
    if (result == 0)
        result = mkdir(at("part"), 0755);
    if (result == 0)
        result = rmdir(at("part"));
    return result;
}

static int own_model(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", model);
    return try_open(path, O_RDONLY);
}

static int own_status(void)
{
    return try_open("/proc/self/statm", O_RDONLY);
}

/* ---- the network ---- */

static int use_socket(int domain, int type)
{
    int fd = socket(domain, type | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd;
}

static int tcp(void)
{
    return use_socket(AF_INET, SOCK_STREAM);
}

static int udp(void)
{
    return use_socket(AF_INET6, SOCK_DGRAM);
}

static int unix_socket(void)
{
    return use_socket(AF_UNIX, SOCK_STREAM);
}

static int socket_pair(void)
{
    int fds[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

/* EFAULT is what a kernel says that would have done it. */
static int io_uring(void)
{
    return (int)syscall(SYS_io_uring_setup, 1, NULL);
}

/* ---- other processes, the system ---- */

static int trace_parent(void)
{
    return (int)ptrace(PTRACE_SEIZE, getppid(), NULL, NULL); /* ends with us */
}

static int read_parent_memory(void)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%ld/environ", (long)getppid());
    return try_open(path, O_RDONLY);
}

static int signal_parent(void)
{
    return kill(getppid(), 0);
}

static int limit_parent(void)
{
    struct rlimit old;
    return prlimit(getppid(), RLIMIT_NOFILE, NULL, &old);
}

static int fork_once(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return pid;
}

/* In a child that shares our memory: exec that succeeds would end this program. */
static int run_shell(void)
{
    char *const words[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "exit 0" }, NULL };
    volatile int failed = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        execve("/bin/sh", words, environ);
        failed = errno;
        _exit(0);
    }
    if (pid > 0) {
        waitpid(pid, NULL, 0);
        errno = failed;
    }
    return pid < 0 || failed != 0 ? -1 : 0;
}

/* Without a new process: a success would show as a job that says nothing more. */
static int become_shell(void)
{
    char *const words[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "kill -9 $$" }, NULL };
    return execve("/bin/sh", words, environ);
}

static int new_namespace(void)
{
    return unshare(CLONE_NEWNS | CLONE_NEWNET);
}

static int mount_something(void)
{
    return mount("none", "/nowhere-at-all", "tmpfs", 0, NULL);
}

static int keyring(void)
{
    return (int)syscall(SYS_keyctl, 0 /* get id */, -3 /* session */, 0);
}

static int load_program(void)
{
    return (int)syscall(SYS_bpf, 9999, NULL, 0);
}

static int other_personality(void)
{
    return (int)syscall(SYS_personality, 0xffffffff);
}

static int nameless_file(void)
{
    return memfd_create("x", 0);
}

static int future_call(void)
{
    return (int)syscall(463); /* setxattrat; its arguments are wrong where it is known */
}

static void *nothing(void *arg)
{
    return arg;
}

static int start_thread(void)
{
    pthread_t thread;
    errno = pthread_create(&thread, NULL, nothing, NULL);
    return errno != 0 ? -1 : pthread_join(thread, NULL);
}

/* ---- what was inherited ---- */

static int descriptors(void)
{
    for (int fd = EVENTS + 2; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return fd;
    errno = ENOENT;
    return -1;
}

static int secrets(void)
{
    static const char *const names[] = { "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "QUANTD_SIGNING_KEY", "SLURM_JOB_ID",
                                         "HOME" };
    errno = ENOENT;
    for (size_t i = 0; i < QD_LENGTH(names); i++)
        if (getenv(names[i]) != NULL)
            return 0;
    return -1;
}

static int locale(void)
{
    return getenv("LC_ALL") == NULL ? -1 : 0;
}

static int niceness(void)
{
    errno = ERANGE;
    return getpriority(PRIO_PROCESS, 0) == 10 && sched_getscheduler(0) == SCHED_BATCH ? 0 : -1;
}

static const struct {
    const char *name;
    int (*run)(void);
} attempts[] = {
    { "descriptors", descriptors }, /* before others leave theirs open */
    { "read-passwords", read_passwords },
    { "read-database", read_database },
    { "read-other-job", read_other_job },
    { "list-jobs", list_jobs },
    { "read-secret", read_secret },
    { "read-log", read_log },
    { "rewrite-job", rewrite_job },
    { "write-in-state", write_in_state },
    { "write-in-tmp", write_in_tmp },
    { "move-out", move_out },
    { "change-mode", change_mode },
    { "cut-file", cut_file },
    { "make-device", make_device },
    { "watch-files", watch_files },
    { "own-files", own_files },
    { "own-model", own_model },
    { "own-status", own_status },
    { "tcp", tcp },
    { "udp", udp },
    { "unix-socket", unix_socket },
    { "socket-pair", socket_pair },
    { "io-uring", io_uring },
    { "trace-parent", trace_parent },
    { "read-parent-memory", read_parent_memory },
    { "signal-parent", signal_parent },
    { "limit-parent", limit_parent },
    { "fork", fork_once },
    { "run-shell", run_shell },
    { "mount", mount_something },
    { "keyring", keyring },
    { "bpf", load_program },
    { "personality", other_personality },
    { "memfd", nameless_file },
    { "future-call", future_call },
    { "thread", start_thread },
    { "secrets", secrets },
    { "locale", locale },
    { "niceness", niceness },
    { "new-namespace", new_namespace },
};

static void try_all(void)
{
    for (size_t i = 0; i < QD_LENGTH(attempts); i++) {
        errno = 0;
        tell(attempts[i].name, attempts[i].run());
    }
    if (getenv("QUANTD_CONFINED") == NULL)
        return;
    qd_error err = { 0 };
    tell("bolt", qd_cage_bolt(&err) == QD_OK ? 0 : -1);
    tell("become-shell", become_shell());
    tell("thread-behind-bolt", start_thread());
}

/* ---- what takes too much ---- */

static void finish(void)
{
    phase("evaluating");
    phase("exporting");
    FILE *manifest = fopen(at("manifest.json"), "we");
    fputs("{\"format\":\"test\",\"files\":[]}\n", manifest);
    fclose(manifest);
    phase("verifying");
    say("result", "from", "hostile_child");
}

/* 1 MiB at a time, touched, up to 10 GiB; where there is no more, what `quantd run` would say. */
static void eat_memory(void)
{
    enum { PIECE = 1 << 20, PIECES = 10240 };
    for (int i = 0; i < PIECES; i++) {
        char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED) {
            say("problem", "code\":\"out-of-memory\",\"detail", "1048576 bytes of memory");
            exit(1);
        }
        memset(piece, 1, PIECE);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

/* In one piece, and never touched. */
static void grab_memory(void)
{
    void *all =
        mmap(NULL, UINT64_C(10) << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) {
        say("problem", "code\":\"out-of-memory\",\"detail", "10737418240 bytes of memory");
        exit(1);
    }
}

/* Up to 512 MiB, with holes: the size is what is limited. */
static void fill_disk(void)
{
    static const char block[1 << 12];
    char path[4096];
    snprintf(path, sizeof path, "%s/filler", work);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && i < 32; i++)
        if (pwrite(fd, block, sizeof block, (off_t)i << 24) < 0)
            _exit(9);
}

/* As fast as a disk under load, for longer than anybody waits. */
static void flood_log(void)
{
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 10240; i++) {
        if (write(STDERR_FILENO, block, sizeof block) < 0)
            _exit(9);
        nanosleep(&(struct timespec){ .tv_nsec = 4000000 }, NULL);
    }
}

static void chatter(void)
{
    for (int i = 0; i < 20000; i++)
        dprintf(EVENTS, "this is no JSON at all, and it says it again and again\n");
}

/* The first time only. */
static int been_here(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/been-here", work);
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0;
}

static void stop_itself(void)
{
    if (!been_here())
        raise(SIGSTOP);
}

static void spin(void)
{
    volatile bool first = !been_here();
    while (first)
        continue;
}

static void die_with_progress(void)
{
    char path[4096];
    for (int i = 0;; i++) {
        char number[12];
        snprintf(number, sizeof number, "%d", i);
        snprintf(path, sizeof path, "%s/layer%d", work, i);
        bool fresh = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0;
        dprintf(EVENTS,
                "{\"event\":\"layer\",\"index\":%d,\"name\":\"layer.%d\",\"shape\":[2,2],\"bits\":4,\"error\":{"
                "\"calibration\":0.25},"
                "\"degraded\":false,\"resumed\":%s}\n",
                i, i, fresh ? "false" : "true");
        if (fresh)
            abort();
    }
}

static void be_killed(void)
{
    kill(getpid(), SIGKILL);
    raise(SIGKILL);
}

static const struct {
    const char *name;
    void (*run)(void);
} behaviours[] = {
    { "tries-all", try_all },
    { "eats-memory", eat_memory },
    { "grabs-memory", grab_memory },
    { "fills-disk", fill_disk },
    { "floods-log", flood_log },
    { "chatters", chatter },
    { "stops-itself", stop_itself },
    { "spins", spin },
    { "dies-with-progress", die_with_progress },
    { "is-killed", be_killed },
};

static void read_name(char *out, size_t size)
{
    char text[16384] = "";
    int fd = open(job, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        _exit(66);
    close(fd);
    const char *name = strstr(text, "\"name\": \"");
    snprintf(out, size, "%s", name == NULL ? "" : name + 9);
    out[strcspn(out, "\"")] = '\0';
}

int main(int argc, char **argv)
{
    char name[64];
    if (argc < 13 || strcmp(argv[3], "--out") != 0 || strcmp(argv[5], "--model") != 0 || strcmp(argv[7], "--work") != 0)
        return 64;
    job = argv[2];
    out_dir = argv[4];
    model = argv[6];
    work = argv[8];
    read_name(name, sizeof name);
    phase("quantizing");
    for (size_t i = 0; i < QD_LENGTH(behaviours); i++)
        if (strcmp(behaviours[i].name, name) == 0) {
            behaviours[i].run();
            finish();
            return 0;
        }
    return 65;
}
