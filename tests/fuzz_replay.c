/* fuzz_replay.c: runs a fuzz target as a test where libFuzzer is not linked: over its stored corpus, and over damaged copies of it
 * (hostile/mutate.h). Each input takes less than a second of processor time, and all together less than 256 MB.
 * FUZZ_CORPUS is the folder below $QUANTD_SOURCE, FUZZ_CASES the number of damaged copies; both are given at compile time. QUANTD_FUZZ_CASES says
 * another number, QUANTD_FUZZ_FIRST where to begin; QUANTD_LONG_TESTS makes it 20,000. An input that breaks the target is left in the
 * working folder as crash-TARGET. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/hostile/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef FUZZ_CASES
#define FUZZ_CASES 2000
#endif
#ifndef FUZZ_HEAD
#define FUZZ_HEAD MUTATE_ALL
#endif
enum { SEEDS_MOST = 4096, LONG_CASES = 20000, MEMORY_KIB = 256 << 10 };

/* What AddressSanitizer keeps of freed memory is not the target's. A string in ASAN_OPTIONS wins. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:allocator_may_return_null=1";
}
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* The input at work, for the handlers below; test programs run one at a time. */
static const uint8_t *volatile at_work;
static volatile size_t at_work_size;
static char crash_path[256];

static void keep_input(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && at_work != NULL && write(fd, at_work, at_work_size) >= 0)
        close(fd);
}

static void on_signal(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch(const char *program)
{
    const char *name = strrchr(program, '/');
    snprintf(crash_path, sizeof crash_path, "crash-%s", name == NULL ? program : name + 1);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(keep_input);
    else
        signal(SIGSEGV, on_signal);
}

static double slowness(void)
{
    const char *text = getenv("QUANTD_TEST_SLOW");
    double factor = text == NULL ? 1.0 : atof(text);
    return factor > 1.0 ? factor : 1.0;
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

typedef struct tally {
    size_t count, failed;
    double slowest, limit; /* seconds */
    char slowest_name[300];
} tally;

static void run(const uint8_t *data, size_t size, const char *name, tally *t)
{
    uint8_t *exact = malloc(size + (size == 0)); /* own allocation: a sanitizer sees reads past the end */
    if (exact == NULL)
        abort();
    if (size > 0)
        memcpy(exact, data, size);
    at_work = exact;
    at_work_size = size;
    double start = processor_seconds();
    LLVMFuzzerTestOneInput(exact, size);
    double seconds = processor_seconds() - start;
    long peak = peak_kib();
    if (seconds > t->slowest) {
        t->slowest = seconds;
        snprintf(t->slowest_name, sizeof t->slowest_name, "%s", name);
    }
    if (seconds > t->limit || peak > MEMORY_KIB) {
        printf("# %s: %.2f s, peak of %ld KiB\n", name, seconds, peak);
        if (t->failed++ == 0)
            keep_input();
        if (peak > MEMORY_KIB) /* it only grows: all that follow would be blamed */
            exit(1);
    }
    t->count++;
    free(exact);
}

static int read_seed(const char *path, mutate_seed *out)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    out->size = fread(data, 1, sizeof data, file);
    fclose(file);
    out->bytes = malloc(out->size + 1);
    if (out->bytes == NULL)
        return -1;
    memcpy(out->bytes, data, out->size);
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run_corpus(mutate_seed *seeds, size_t *count, tally *t)
{
    const char *source = getenv("QUANTD_SOURCE");
    char folder[4096], path[8192];
    struct dirent **entries = NULL;
    snprintf(folder, sizeof folder, "%s/%s", source == NULL ? "." : source, FUZZ_CORPUS);
    int found = scandir(folder, &entries, is_visible, by_name);
    for (int i = 0; i < found; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (*count == SEEDS_MOST || read_seed(path, &seeds[*count]) != 0)
            t->failed++;
        else {
            run(seeds[*count].bytes, seeds[*count].size, entries[i]->d_name, t);
            (*count)++;
        }
        free(entries[i]);
    }
    free(entries);
}

static void report(int number, const tally *t, const char *what)
{
    printf("%s %d - %zu %s of %s are survived # slowest %.3f s (%s), peak %ld MiB\n",
           t->count > 0 && t->failed == 0 ? "ok" : "not ok", number, t->count, what, FUZZ_CORPUS, t->slowest,
           t->slowest_name, peak_kib() >> 10);
    fflush(stdout);
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    static mutate_seed seeds[SEEDS_MOST];
    static uint8_t bytes[MUTATE_MOST];
    size_t count = 0;
    tally replayed = { .limit = slowness() }, damaged = { .limit = slowness() };
    (void)argc;
    watch(argv[0]);
    printf("1..2\n");
    run_corpus(seeds, &count, &replayed);
    report(1, &replayed, "corpus files");
    unsigned long first = number_of("QUANTD_FUZZ_FIRST", 0);
    unsigned long cases = number_of("QUANTD_FUZZ_CASES", getenv("QUANTD_LONG_TESTS") == NULL ? FUZZ_CASES : LONG_CASES);
    for (unsigned long i = first; count > 0 && i < first + cases; i++) {
        char name[64];
        snprintf(name, sizeof name, "case %lu", i);
        size_t size = mutate(seeds, count, FUZZ_HEAD, i, bytes);
        run(bytes, size, name, &damaged);
    }
    report(2, &damaged, "damaged copies");
    for (size_t i = 0; i < count; i++)
        free(seeds[i].bytes);
    return replayed.failed == 0 && damaged.failed == 0 && count > 0 ? 0 : 1;
}
