/* load_client.c: many clients at once on one thread, for bench_load.py. Prints one line of JSON.
 *
 *   load_client mix PORT CLIENTS SECONDS EVERY BODY PATH   keep-alive; every EVERYth request is POST /jobs with BODY, the others GET PATH
 *   load_client streams PORT CLIENTS SECONDS PATH          event streams; latency is arrival less the event's own time
 *   load_client slow-header|slow-body|slow-read PORT CLIENTS SECONDS PATH
 *                                                          a few bytes every three seconds; when is each cut?
 */
#define _GNU_SOURCE /* strcasestr */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 14, EVENTS = 512, OPEN_AT_ONCE = 50, STATUSES = 600 };
static const double dribble_seconds = 3;

typedef struct samples {
    double *value;
    size_t count, room;
} samples;

typedef struct client {
    int fd;
    bool posting, dead;
    size_t requests, filled, skip; /* skip: bytes of a body still to come */
    double asked, opened, closed, dribbled;
    uint64_t last_id, ids, gaps;
    char buffer[BUFFER];
} client;

typedef struct load {
    const char *mode, *body, *path;
    uint16_t port;
    size_t clients, every;
    double seconds, start;
    int poll;
    client *all;
    samples get, post, fan, cut;
    uint64_t statuses[STATUSES];
    uint64_t truncated, closed, resyncs, ends, events;
} load;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void add(samples *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room == 0 ? 4096 : 2 * s->room;
        s->value = realloc(s->value, s->room * sizeof *s->value);
        if (s->value == NULL)
            die("realloc");
    }
    s->value[s->count++] = value;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, samples *s)
{
    if (s->count > 0)
        qsort(s->value, s->count, sizeof *s->value, compare);
    const double none = 0, *v = s->count > 0 ? s->value : &none;
    size_t last = s->count > 0 ? s->count - 1 : 0;
    printf("\"%s\":{\"count\":%zu,\"p50\":%.6f,\"p99\":%.6f,\"max\":%.6f},", name, s->count, v[last / 2],
           v[last - last / 100], v[last]);
}

static void say(client *c, const char *bytes, size_t length)
{
    if (send(c->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        c->dead = true;
}

static void ask(load *l, client *c)
{
    char request[BUFFER];
    c->posting = l->every > 0 && c->requests++ % l->every == l->every - 1;
    int n = c->posting ? snprintf(request, sizeof request,
                                  "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
                                  strlen(l->body), l->body)
                       : snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", l->path);
    c->asked = now(CLOCK_MONOTONIC);
    say(c, request, (size_t)n);
}

/* ---- mix ---- */

static const char *find_header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at == NULL ? NULL : at + strlen(name);
}

/* A whole reply was read: the next request. */
static void reply_done(load *l, client *c)
{
    add(c->posting ? &l->post : &l->get, now(CLOCK_MONOTONIC) - c->asked);
    c->asked = 0;
    if (now(CLOCK_MONOTONIC) - l->start < l->seconds)
        ask(l, c);
}

static void read_reply(load *l, client *c)
{
    ssize_t n = recv(c->fd, c->buffer + c->filled, BUFFER - 1 - c->filled, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        l->truncated += c->filled > 0 || c->skip > 0;
        l->closed++;
        c->dead = true;
        return;
    }
    if (c->skip > 0) {
        c->skip -= (size_t)n < c->skip ? (size_t)n : c->skip;
        if (c->skip == 0)
            reply_done(l, c);
        return;
    }
    c->filled += (size_t)n;
    c->buffer[c->filled] = '\0';
    char *end = strstr(c->buffer, "\r\n\r\n");
    if (end == NULL)
        return;
    unsigned status = 0;
    sscanf(c->buffer, "HTTP/1.1 %u", &status);
    l->statuses[status < STATUSES ? status : 0]++;
    *end = '\0';
    const char *length = find_header(c->buffer, "\r\nContent-Length: ");
    size_t body = length == NULL ? 0 : strtoull(length, NULL, 10);
    size_t here = c->filled - (size_t)(end + 4 - c->buffer);
    c->filled = 0;
    c->skip = body > here ? body - here : 0;
    if (c->skip == 0)
        reply_done(l, c);
}

/* ---- streams ---- */

static double time_of(const char *frame)
{
    struct tm t = { 0 };
    int ms = 0;
    const char *at = strstr(frame, "\"time\":\"");
    if (at == NULL || sscanf(at + 8, "%d-%d-%dT%d:%d:%d.%dZ", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min,
                             &t.tm_sec, &ms) != 7)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    return (double)timegm(&t) + ms * 1e-3;
}

static void take_frame(load *l, client *c, const char *frame, double arrived)
{
    const char *id = strstr(frame, "id: ");
    if (strstr(frame, "event: resync") != NULL)
        l->resyncs++;
    if (strstr(frame, "event: end") != NULL)
        l->ends++;
    if (id == NULL)
        return;
    uint64_t number = strtoull(id + 4, NULL, 10);
    c->gaps += c->ids > 0 && number != c->last_id + 1;
    c->last_id = number;
    c->ids++;
    l->events++;
    double made = time_of(frame);
    /* What was there before the stream was opened is no fan-out. */
    if (made > c->opened)
        add(&l->fan, arrived - made);
}

static void read_events(load *l, client *c)
{
    ssize_t n = recv(c->fd, c->buffer + c->filled, BUFFER - 1 - c->filled, 0);
    double arrived = now(CLOCK_REALTIME);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        l->closed++;
        c->dead = true;
        return;
    }
    c->filled += (size_t)n;
    c->buffer[c->filled] = '\0';
    char *at = c->buffer, *end;
    while ((end = strstr(at, "\n\n")) != NULL) {
        *end = '\0';
        take_frame(l, c, at, arrived);
        at = end + 2;
    }
    c->filled -= (size_t)(at - c->buffer);
    memmove(c->buffer, at, c->filled);
}

static void ask_stream(load *l, client *c)
{
    char request[512];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
                     l->path);
    c->opened = now(CLOCK_REALTIME);
    say(c, request, (size_t)n);
}

/* ---- slow ---- */

static void begin_slow(load *l, client *c)
{
    static const char header[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    static const char body[] = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    c->opened = c->dribbled = now(CLOCK_MONOTONIC);
    if (strcmp(l->mode, "slow-header") == 0)
        say(c, header, sizeof header - 1);
    else if (strcmp(l->mode, "slow-body") == 0)
        say(c, body, sizeof body - 1);
    else
        ask(l, c);
}

static void dribble(load *l, client *c)
{
    char byte;
    if (c->dead || now(CLOCK_MONOTONIC) - c->dribbled < dribble_seconds)
        return;
    c->dribbled = now(CLOCK_MONOTONIC);
    if (strcmp(l->mode, "slow-header") == 0)
        (void)!send(c->fd, "X-A: b\r\n", 8, MSG_NOSIGNAL);
    else if (strcmp(l->mode, "slow-body") == 0)
        (void)!send(c->fd, " ", 1, MSG_NOSIGNAL);
    else
        (void)!recv(c->fd, &byte, 1, 0);
}

static void note_cut(load *l, client *c, uint32_t events)
{
    char bytes[4096];
    if (strcmp(l->mode, "slow-read") == 0) {
        if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0)
            return;
    } else {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n > 0 || (n < 0 && errno == EAGAIN))
            return;
    }
    add(&l->cut, now(CLOCK_MONOTONIC) - c->opened);
    l->closed++;
    c->dead = true;
}

/* ---- all ---- */

static void open_client(load *l, client *c)
{
    struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(l->port) };
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = c };
    const int small = 4096;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (strcmp(l->mode, "slow-read") == 0) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        event.events = EPOLLRDHUP; /* what is readable stays unread */
    }
    if (connect(c->fd, (struct sockaddr *)&where, sizeof where) != 0)
        die("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
    if (strcmp(l->mode, "mix") == 0)
        ask(l, c);
    else if (strcmp(l->mode, "streams") == 0)
        ask_stream(l, c);
    else
        begin_slow(l, c);
}

static void serve(load *l, const struct epoll_event *event)
{
    client *c = event->data.ptr;
    if (c->dead)
        return;
    if (strcmp(l->mode, "mix") == 0)
        read_reply(l, c);
    else if (strcmp(l->mode, "streams") == 0)
        read_events(l, c);
    else
        note_cut(l, c, event->events);
    if (c->dead) {
        close(c->fd);
        c->closed = now(CLOCK_MONOTONIC);
    }
}

static bool over(const load *l)
{
    double passed = now(CLOCK_MONOTONIC) - l->start;
    if (l->closed == l->clients)
        return true;
    if (strcmp(l->mode, "mix") != 0 || passed < l->seconds)
        return passed > l->seconds;
    for (size_t i = 0; i < l->clients; i++) /* replies in flight are awaited */
        if (!l->all[i].dead && l->all[i].asked > 0 && passed < l->seconds + 10)
            return false;
    return true;
}

static void run(load *l)
{
    struct epoll_event events[EVENTS];
    size_t opened = 0;
    l->start = now(CLOCK_MONOTONIC);
    while (!over(l)) {
        for (int i = 0; opened < l->clients && i < OPEN_AT_ONCE; i++)
            open_client(l, &l->all[opened++]);
        int n = epoll_wait(l->poll, events, EVENTS, opened < l->clients ? 1 : 100);
        for (int i = 0; i < n; i++)
            serve(l, &events[i]);
        for (size_t i = 0; strncmp(l->mode, "slow-", 5) == 0 && i < opened; i++)
            dribble(l, &l->all[i]);
    }
}

static void print(load *l)
{
    uint64_t gaps = 0, fewest = UINT64_MAX, most = 0, last_min = UINT64_MAX, last_max = 0;
    for (size_t i = 0; i < l->clients; i++) {
        const client *c = &l->all[i];
        gaps += c->gaps;
        fewest = c->ids < fewest ? c->ids : fewest;
        most = c->ids > most ? c->ids : most;
        last_min = c->last_id < last_min ? c->last_id : last_min;
        last_max = c->last_id > last_max ? c->last_id : last_max;
    }
    printf("{");
    print_samples("get", &l->get);
    print_samples("post", &l->post);
    print_samples("fan_out", &l->fan);
    print_samples("cut", &l->cut);
    printf("\"statuses\":{");
    const char *comma = "";
    for (size_t i = 0; i < STATUSES; i++)
        if (l->statuses[i] > 0) {
            printf("%s\"%zu\":%" PRIu64, comma, i, l->statuses[i]);
            comma = ",";
        }
    printf("},\"events\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"fewest\":%" PRIu64 ",\"most\":%" PRIu64
           ",\"last\":[%" PRIu64 ",%" PRIu64 "],\"truncated\":%" PRIu64 ",\"closed\":%" PRIu64 ",\"resyncs\":%" PRIu64
           ",\"ends\":%" PRIu64 ",\"seconds\":%.3f}\n",
           l->events, gaps, fewest, most, last_min, last_max, l->truncated, l->closed, l->resyncs, l->ends,
           now(CLOCK_MONOTONIC) - l->start);
}

int main(int argc, char **argv)
{
    bool mix = argc == 8 && strcmp(argv[1], "mix") == 0;
    if (!mix && argc != 6) {
        fprintf(stderr, "usage: see the head of load_client.c\n");
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    load l = { .mode = argv[1],
               .port = (uint16_t)atoi(argv[2]),
               .clients = strtoull(argv[3], NULL, 10),
               .seconds = atof(argv[4]),
               .every = mix ? strtoull(argv[5], NULL, 10) : 0,
               .body = mix ? argv[6] : "",
               .path = argv[argc - 1] };
    l.poll = epoll_create1(EPOLL_CLOEXEC);
    l.all = calloc(l.clients, sizeof *l.all);
    if (l.poll < 0 || l.all == NULL)
        die("load_client");
    run(&l);
    print(&l);
    return 0;
}
