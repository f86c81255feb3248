/* bench_pool.c: what a qd_pool_for costs: empty tasks, by threads and tasks. Waiting is passive, so each call wakes the threads that sleep.
 * usage: bench_pool [--json]. Median and 90th of a hundred of seconds a call, and processor time a call. Beside them the same with a pause before each call, in which the
 * threads of the pool fall asleep: calls in a row may find them still awake. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"

enum { CALLS = 2000 };

static qd_code nothing(void *ctx, size_t index, size_t worker, qd_error *err)
{
    (void)ctx;
    (void)index;
    (void)worker;
    (void)err;
    return QD_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef struct figures {
    size_t threads, tasks;
    const char *rhythm;
    double median, ninetieth, processor; /* seconds a call */
} figures;

static figures measure(qd_pool *pool, size_t tasks, const char *rhythm, long pause_ns)
{
    static double calls[CALLS];
    size_t count = pause_ns == 0 ? CALLS : CALLS / 4;
    double spent = 0;
    qd_error err = { 0 };
    for (size_t i = 0; i < count; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = pause_ns }, NULL);
        double processor = processor_seconds(), started = qd_clock_seconds();
        if (qd_pool_for(pool, tasks, nothing, NULL, &err) != QD_OK)
            abort();
        calls[i] = qd_clock_seconds() - started;
        spent += processor_seconds() - processor;
    }
    qsort(calls, count, sizeof *calls, compare);
    return (figures){ qd_pool_threads(pool), tasks, rhythm, calls[count / 2], calls[count * 9 / 10],
                      spent / (double)count };
}

static void print(const figures *f, int json)
{
    if (json)
        printf(
            "{\"name\": \"pool, %zu threads, %zu tasks, %s\", \"value\": %.3g, \"unit\": \"s\", \"ninetieth\": %.3g, "
            "\"processor\": %.3g}\n",
            f->threads, f->tasks, f->rhythm, f->median, f->ninetieth, f->processor);
    else
        printf("%7zu %6zu %-7s %10.2f %10.2f %10.2f\n", f->threads, f->tasks, f->rhythm, 1e6 * f->median,
               1e6 * f->ninetieth, 1e6 * f->processor);
}

int main(int argc, char **argv)
{
    static const size_t threads[] = { 1, 2, 4 }, tasks[] = { 2, 64 };
    int json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (!json)
        printf("%zu processors; microseconds a call\n%7s %6s %-7s %10s %10s %10s\n", qd_pool_processors(), "threads",
               "tasks", "rhythm", "median", "90 of 100", "processor");
    for (size_t i = 0; i < QD_LENGTH(threads); i++) {
        qd_pool *pool = NULL;
        qd_error err = { 0 };
        if (qd_pool_create(threads[i], &pool, &err) != QD_OK)
            return 1;
        for (size_t k = 0; k < QD_LENGTH(tasks); k++) {
            figures row = measure(pool, tasks[k], "in row", 0), paused = measure(pool, tasks[k], "paused", 500000);
            print(&row, json);
            print(&paused, json);
        }
        qd_pool_destroy(pool);
    }
    return 0;
}
