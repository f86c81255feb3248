/* bench_queue.c: a long queue: how long one claim takes when several workers take from it, and how long a service takes to start on it.
 *
 * Usage: bench_queue [JOBS [CLAIMERS]]     (10000 and 8)
 * Works in a folder below TMPDIR, on the store as the service uses it: one writer, synchronous=FULL. Every claim is a transaction of its own
 * that returns after its fsync. Exit status 1: a job was claimed twice, or not at all. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/service.h"
#include "store/job_rows.h"

enum { PRODUCERS = 8, CLAIMERS_MAX = 64 };

typedef struct bench {
    qd_store *store;
    size_t jobs, claimers;
    double *seconds;  /* of each claim, by job */
    unsigned *claims; /* of each job */
} bench;

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_queue: %s\n", err->text);
    exit(1);
}

static void make_id(size_t number, char out[QD_ID_SIZE])
{
    snprintf(out, QD_ID_SIZE, "%026zu", number);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What a commit cannot be faster than: this disk's own time for 4 KiB and a sync, now. */
static void time_disk(const char *dir)
{
    enum { SYNCS = 1000 };
    static const char block[4096];
    double seconds[SYNCS];
    char path[300];
    snprintf(path, sizeof path, "%s/syncs", dir);
    QD_AUTO(qd_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t i = 0; i < SYNCS; i++) {
        double began = qd_clock_seconds();
        if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) != 0) {
            perror(path);
            exit(1);
        }
        seconds[i] = qd_clock_seconds() - began;
    }
    qsort(seconds, SYNCS, sizeof *seconds, compare);
    printf("the disk: 4 KiB and fdatasync p50 %.2f ms, p99 %.2f ms\n", 1e3 * seconds[SYNCS / 2],
           1e3 * seconds[SYNCS * 99 / 100]);
}

/* ---- filling ---- */

typedef struct producer {
    bench *bench;
    size_t first;
    pthread_t thread;
} producer;

static qd_code insert(void *ctx, qd_tx *tx, qd_error *err)
{
    char object[] = "{}";
    qd_job_row row = { .state = "queued",
                       .tags = object,
                       .request = object,
                       .recipe = object,
                       .resolved = object,
                       .priority = 50,
                       .created_ms = qd_clock_wall_ms() };
    make_id(*(const size_t *)ctx, row.id);
    return qd_job_row_insert(tx, &row, err);
}

static void *produce(void *arg)
{
    const producer *p = arg;
    qd_error err = { 0 };
    for (size_t i = p->first; i < p->bench->jobs; i += PRODUCERS)
        stop_on(qd_store_write(p->bench->store, insert, &i, &err), &err);
    return NULL;
}

static void fill(bench *b)
{
    producer producers[PRODUCERS];
    double began = qd_clock_seconds();
    for (size_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){ .bench = b, .first = i };
        pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    double spent = qd_clock_seconds() - began;
    printf("%zu jobs queued in %.2f s: %.0f durable inserts a second\n", b->jobs, spent, (double)b->jobs / spent);
}

/* ---- claiming ---- */

static qd_code claim_one(void *ctx, qd_tx *tx, qd_error *err)
{
    qd_job_row *row = ctx;
    qd_job_row_fini(row);
    return qd_job_row_claim(tx, "queued", "downloading", qd_clock_wall_ms(), row, err);
}

/* Its end, so that no more jobs are under way than there are workers. */
static qd_code end_one(void *ctx, qd_tx *tx, qd_error *err)
{
    const qd_job_row *row = ctx;
    return qd_job_row_move(tx, row->id, row->attempt, "downloading", "failed", err);
}

static void *claim(void *arg)
{
    bench *b = arg;
    for (;;) {
        qd_error err = { 0 };
        qd_job_row row = { 0 };
        double began = qd_clock_seconds();
        qd_code code = qd_store_write(b->store, claim_one, &row, &err);
        double spent = qd_clock_seconds() - began;
        if (code == QD_ENOTFOUND) {
            qd_job_row_fini(&row);
            return NULL;
        }
        stop_on(code, &err);
        size_t number = strtoul(row.id, NULL, 10);
        __atomic_fetch_add(&b->claims[number], row.attempt, __ATOMIC_SEQ_CST);
        b->seconds[number] = spent;
        stop_on(qd_store_write(b->store, end_one, &row, &err), &err);
        qd_job_row_fini(&row);
    }
}

static int empty(bench *b)
{
    pthread_t threads[CLAIMERS_MAX];
    size_t wrong = 0;
    double began = qd_clock_seconds();
    for (size_t i = 0; i < b->claimers; i++)
        pthread_create(&threads[i], NULL, claim, b);
    for (size_t i = 0; i < b->claimers; i++)
        pthread_join(threads[i], NULL);
    double spent = qd_clock_seconds() - began;
    for (size_t i = 0; i < b->jobs; i++)
        wrong += b->claims[i] != 1;
    qsort(b->seconds, b->jobs, sizeof *b->seconds, compare);
    printf("%zu claimers: %.0f claims and ends a second, a claim p50 %.2f ms, p99 %.2f ms, max %.2f ms; %zu jobs not "
           "claimed exactly "
           "once\n",
           b->claimers, (double)b->jobs / spent, 1e3 * b->seconds[b->jobs / 2], 1e3 * b->seconds[b->jobs * 99 / 100],
           1e3 * b->seconds[b->jobs - 1], wrong);
    return wrong > 0;
}

/* ---- starting: every job was running when the last service died, and has its folder ---- */

static qd_code run_again(void *ctx, qd_tx *tx, qd_error *err)
{
    char id[QD_ID_SIZE];
    make_id(*(const size_t *)ctx, id);
    return qd_job_row_move(tx, id, 1, "failed", "quantizing", err);
}

static double processor_seconds(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

static void start(bench *b, const char *dir)
{
    qd_error err = { 0 };
    qd_service *service = NULL;
    char path[512];
    for (size_t i = 0; i < b->jobs; i++) {
        snprintf(path, sizeof path, "%s/jobs/%026zu/work", dir, i);
        stop_on(qd_dir_make(path, &err), &err);
        stop_on(qd_store_write(b->store, run_again, &i, &err), &err);
    }
    qd_store_close(b->store);
    const char *const none[] = { NULL };
    const qd_service_config config = { .state_dir = dir,
                                       .workers = 1,
                                       .threads = 1,
                                       .program = "/bin/false",
                                       .disk_floor_bytes = UINT64_MAX / 2, /* nothing is begun */
                                       .fetch = { .hub_url = "https://huggingface.co", .file_roots = none } };
    double began = qd_clock_seconds(), processor = processor_seconds();
    stop_on(qd_service_create(&config, &service, &err), &err);
    printf("service started on %zu jobs that were running: %.2f s (%.2f s of processor time)\n", b->jobs,
           qd_clock_seconds() - began, processor_seconds() - processor);
    qd_service_destroy(service);
}

int main(int argc, char **argv)
{
    const char *base = getenv("TMPDIR");
    char dir[256];
    qd_error err = { 0 };
    bench b = { .jobs = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000,
                .claimers = argc > 2 ? strtoul(argv[2], NULL, 10) : 8 };
    snprintf(dir, sizeof dir, "%s/bench-queue-XXXXXX", base == NULL ? "/tmp" : base);
    if (b.jobs == 0 || b.claimers == 0 || b.claimers > CLAIMERS_MAX || mkdtemp(dir) == NULL) {
        fprintf(stderr, "usage: bench_queue [JOBS [CLAIMERS]]     (at most %d claimers)\n", (int)CLAIMERS_MAX);
        return 1;
    }
    stop_on(qd_alloc(b.jobs, sizeof *b.seconds, (void **)&b.seconds, &err), &err);
    stop_on(qd_alloc(b.jobs, sizeof *b.claims, (void **)&b.claims, &err), &err);
    time_disk(dir);
    stop_on(qd_store_open(dir, &b.store, &err), &err);
    fill(&b);
    int status = empty(&b);
    start(&b, dir);
    qd_dir_remove(dir, NULL);
    free(b.seconds);
    free(b.claims);
    return status;
}
