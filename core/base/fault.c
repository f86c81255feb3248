/* fault.c: see fault.h. Only in a build with --enable-fault-injection. What this keeps is the process's, as the environment that says it.
 *
 * QUANTD_FAULT=[server/|run/]POINT:N:kill|eio|enospc|sleep|short[,...]   acts at the N-th hit of POINT in a process
 * QUANTD_FAULT_TRACE=FILE   the first hits of each point, a line each; with it an order is carried out once in all processes
 *                           together, so that what is started again is not hit again */
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { POINTS_MAX = 256, ORDERS_MAX = 4, HITS_TOLD = 3, SLEEP_SECONDS = 2, USAGE = 64 };

typedef enum act { ACT_NONE, ACT_KILL, ACT_EIO, ACT_ENOSPC, ACT_SLEEP, ACT_SHORT } act;
static const char *const act_names[] = { "", "kill", "eio", "enospc", "sleep", "short" };

typedef struct order {
    char text[96], process[16], point[64];
    unsigned at;
    act what;
} order;

static struct {
    pthread_once_t read;
    const char *process;
    order orders[ORDERS_MAX];
    size_t order_count;
    int trace;
    atomic_uint hits[POINTS_MAX];
} faults = { .read = PTHREAD_ONCE_INIT, .process = "tool", .trace = -1 };

/* A misspelt order would make a test that tries nothing. */
static void give_up(const char *what, const char *text)
{
    fprintf(stderr, "%s: '%s'\n", what, text);
    _exit(USAGE);
}

static size_t index_of(const char *name)
{
    size_t i = 0;
    const qd_fault_point *point;
    while ((point = qd_fault_point_at(i)) != NULL && strcmp(point->name, name) != 0)
        i++;
    if (point == NULL || i >= POINTS_MAX)
        give_up("a fault point that fault_points.c does not list", name);
    return i;
}

static act act_of(const char *text)
{
    for (size_t i = 1; i < QD_LENGTH(act_names); i++)
        if (strcmp(act_names[i], text) == 0)
            return (act)i;
    give_up("QUANTD_FAULT: an act is kill, eio, enospc, sleep or short", text);
    return ACT_NONE;
}

static void read_order(const char *text, order *out)
{
    char where[64] = "", word[16] = "";
    if (strlen(text) >= sizeof out->text || sscanf(text, "%63[^:]:%u:%15s", where, &out->at, word) != 3 || out->at == 0)
        give_up("QUANTD_FAULT is [server/|run/]POINT:N:ACT[,...]", text);
    const char *slash = strchr(where, '/');
    snprintf(out->text, sizeof out->text, "%s", text);
    snprintf(out->process, sizeof out->process, "%.*s", slash == NULL ? 0 : (int)(slash - where), where);
    snprintf(out->point, sizeof out->point, "%s", slash == NULL ? where : slash + 1);
    out->what = act_of(word);
    index_of(out->point);
}

static void read_orders(void)
{
    char copy[512] = "", *rest = copy;
    const char *text = getenv("QUANTD_FAULT"), *path = getenv("QUANTD_FAULT_TRACE");
    if (path != NULL && (faults.trace = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        give_up("QUANTD_FAULT_TRACE cannot be opened", path);
    if (text != NULL && (size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy)
        give_up("QUANTD_FAULT is too long", text);
    for (const char *word; (word = strsep(&rest, ",")) != NULL && *word != '\0';) {
        if (faults.order_count == ORDERS_MAX)
            give_up("QUANTD_FAULT holds four orders at most", text);
        read_order(word, &faults.orders[faults.order_count++]);
    }
}

void qd_fault_process(const char *name)
{
    faults.process = name;
    pthread_once(&faults.read, read_orders);
}

static void tell(const char *text)
{
    if (faults.trace >= 0 && write(faults.trace, text, strlen(text)) < 0)
        give_up("the trace cannot be written", text);
}

/* The first of all processes that comes to this. */
static bool is_first(const order *o)
{
    char text[32768], line[128];
    if (faults.trace < 0)
        return true;
    flock(faults.trace, LOCK_EX);
    ssize_t length = pread(faults.trace, text, sizeof text - 1, 0);
    text[length < 0 ? 0 : length] = '\0';
    snprintf(line, sizeof line, "fired %s\n", o->text);
    bool first = strstr(text, line) == NULL;
    if (first)
        tell(line);
    flock(faults.trace, LOCK_UN);
    return first;
}

static bool is_meant(const order *o, const char *name, unsigned hit)
{
    return o->at == hit && strcmp(o->point, name) == 0 &&
           (o->process[0] == '\0' || strcmp(o->process, faults.process) == 0);
}

static act act_at(const char *name)
{
    char line[128];
    pthread_once(&faults.read, read_orders);
    if (faults.trace < 0 && faults.order_count == 0)
        return ACT_NONE;
    unsigned hit = atomic_fetch_add(&faults.hits[index_of(name)], 1) + 1;
    snprintf(line, sizeof line, "%s/%s %u\n", faults.process, name, hit);
    if (hit <= HITS_TOLD)
        tell(line);
    for (size_t i = 0; i < faults.order_count; i++)
        if (is_meant(&faults.orders[i], name, hit) && is_first(&faults.orders[i]))
            return faults.orders[i].what;
    return ACT_NONE;
}

bool qd_fault_hit(const char *name)
{
    switch (act_at(name)) {
    case ACT_KILL:
        raise(SIGKILL);
        break;
    case ACT_SLEEP:
        nanosleep(&(struct timespec){ .tv_sec = SLEEP_SECONDS }, NULL);
        break;
    case ACT_EIO:
        errno = EIO;
        return true;
    case ACT_ENOSPC:
        errno = ENOSPC;
        return true;
    case ACT_NONE:
    case ACT_SHORT:
        break;
    }
    return false;
}

qd_code qd_fault_code(const char *name, qd_error *err)
{
    return qd_fault_hit(name) ? qd_fail_errno(err, "fault point '%s'", name) : QD_OK;
}

size_t qd_fault_length(const char *name, size_t length)
{
    return act_at(name) == ACT_SHORT && length > 1 ? length / 2 : length;
}

bool qd_fault_variable(const char *line)
{
    return strncmp(line, "QUANTD_FAULT", 12) == 0;
}
