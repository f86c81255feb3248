/* test_wire.c: a real server on a real socket, with a real queue behind it: what raw bytes get as an answer
 * (server.md §1.5), event streams, deadlines, the stop. */
#include "check.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "folder.h"
#include "http/server.h"
#include "wire.h"

enum { STREAM_LIMIT = 4, JOB_ID = 27 };

/* One server for all claims; the model server accepts connections and never answers, so that a job stays where it
 * is. */
static struct {
    char folder[64], calibration[4096];
    int silent;
    uint16_t silent_port;
    qd_service *service;
    qd_http *http;
} world;

/* ---- a client ---- */

static int dial(void)
{
    return wire_dial(qd_http_port(world.http));
}

static void talk(const void *bytes, size_t length, qd_str *out)
{
    int fd = dial();
    say(fd, bytes, length);
    hear(fd, NULL, out);
    close(fd);
}

/* "METHOD /path", extra header lines, a body; the reply to its end. */
static void ask(const char *line, const char *headers, const char *body, qd_str *out)
{
    QD_AUTO(qd_str_fini) qd_str request = { 0 };
    qd_str_addf(&request, "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", line, headers);
    if (body != NULL)
        qd_str_addf(&request, "Content-Length: %zu\r\n", strlen(body));
    qd_str_addf(&request, "\r\n%s", body == NULL ? "" : body);
    talk(request.data, request.length, out);
}

static void expect(const char *line, const char *headers, const char *body, unsigned status, const char *part)
{
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    ask(line, headers, body, &reply);
    if (status_of(&reply) != status)
        fail_msg("%s: %u instead of %u: %s", line, status_of(&reply), status, qd_str_borrow(&reply));
    if (part != NULL)
        check_contains(qd_str_borrow(&reply), part);
}

/* A job whose download never gets anywhere. */
static void submit(char *out_id)
{
    char body[256];
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    snprintf(body, sizeof body, "{\"model\":\"http://127.0.0.1:%u/m/\",\"algorithm\":\"rtn\",\"tags\":{\"k\":\"v\"}}",
             (unsigned)world.silent_port);
    ask("POST /jobs", "", body, &reply);
    assert_int_equal(status_of(&reply), 202);
    const char *location = strstr(qd_str_borrow(&reply), "Location: /jobs/");
    assert_non_null(location);
    snprintf(out_id, JOB_ID, "%s", location + strlen("Location: /jobs/"));
    assert_int_equal(strspn(out_id, "abcdefghijklmnopqrstuvwxyz0123456789"), JOB_ID - 1);
}

static void cancel(const char *id)
{
    char line[80];
    snprintf(line, sizeof line, "POST /jobs/%s/cancel", id);
    expect(line, "", "", 202, "\"id\"");
}

/* ---- the world ---- */

static int open_silent_server(void)
{
    struct sockaddr_in where = { .sin_family = AF_INET };
    socklen_t length = sizeof where;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    world.silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (world.silent < 0 || bind(world.silent, (struct sockaddr *)&where, sizeof where) != 0 ||
        listen(world.silent, 64) != 0 || getsockname(world.silent, (struct sockaddr *)&where, &length) != 0)
        return -1;
    world.silent_port = ntohs(where.sin_port);
    return 0;
}

static qd_code open_service(qd_error *err)
{
    static const char *const networks[] = { "127.0.0.0/8", NULL };
    const qd_service_config config = {
        .state_dir = world.folder,
        .workers = 1,
        .threads = 1,
        .program = "/bin/false",
        .calibration_text = SOURCE_PATH(world.calibration, "tests/texts/novella-calibration.txt"),
        .fetch = { .hub_url = "https://huggingface.co",
                   .allow_net = networks,
                   .allow_http = true,
                   .retries = 1,
                   .retry_base_seconds = 0.01 },
    };
    return qd_service_create(&config, &world.service, err);
}

static qd_code open_http(double deadline_seconds, qd_error *err)
{
    const qd_http_config config = {
        .host = "127.0.0.1",
        .service = world.service,
        .streams = STREAM_LIMIT,
        .header_seconds = deadline_seconds, /* 0 = a service's own: a busy machine may keep a sound client waiting */
        .body_seconds = deadline_seconds,
        .heartbeat_seconds = 0.3,
    };
    world.http = NULL;
    return qd_http_start(&config, &world.http, err);
}

static int open_world(void **state)
{
    qd_error err = { 0 };
    (void)state;
    temporary_folder(world.folder, sizeof world.folder);
    if (open_silent_server() != 0)
        return -1;
    qd_code code = open_service(&err);
    if (code == QD_OK)
        code = open_http(0, &err);
    if (code != QD_OK)
        print_error("%s\n", err.text);
    return code == QD_OK ? 0 : -1;
}

static int close_world(void **state)
{
    (void)state;
    qd_http_stop(world.http);
    qd_service_destroy(world.service);
    close(world.silent);
    return qd_dir_remove(world.folder, NULL) == QD_OK ? 0 : -1;
}

/* ---- form ---- */

#define RAW(text) (text), sizeof(text) - 1

static const struct raw_case {
    const char *name, *bytes;
    size_t length;
    unsigned status;
} raw_cases[] = {
    { "no Host", RAW("GET /livez HTTP/1.1\r\n\r\n"), 400 },
    { "a blank before the colon", RAW("GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n"), 400 },
    { "two Hosts", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n"), 400 },
    { "two lengths", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
      400 },
    { "one length twice",
      RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), 400 },
    { "a list of lengths", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n\r\n{}"), 400 },
    { "a negative length", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}"), 400 },
    { "a coding we have not", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n{}"), 501 },
    { "two codings", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
      501 },
    { "chunks in HTTP/1.0",
      RAW("POST /jobs HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400 },
    { "a negative chunk",
      RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n"), 400 },
    { "a huge length", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
      413 },
    { "a length beyond the limit", RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"),
      413 },
    { "and one that asks first",
      RAW("POST /jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"), 413 },
    { "a body where none is taken", RAW("GET /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
      413 },
    { "NUL in the path", RAW("GET /livez%00x HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400 },
    { "an encoded slash", RAW("GET /jobs%2flist HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400 },
    { "half an escape", RAW("GET /jobs%4 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400 },
    { "two Ranges", RAW("GET /livez HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n"),
      400 },
    { "HTTP/2.0", RAW("GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n"), 505 },
    { "garbage", RAW("GARBAGE x\r\n\r\n"), 400 },
    { "a parameter twice", RAW("GET /jobs?limit=1&limit=2 HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400 },
};

static void hostile_forms_are_refused_and_the_connection_closed(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(raw_cases); i++) {
        const struct raw_case *c = &raw_cases[i];
        QD_AUTO(qd_str_fini) qd_str reply = { 0 };
        double start = qd_clock_seconds();
        talk(c->bytes, c->length, &reply);
        if (status_of(&reply) != c->status)
            fail_msg("%s: %u instead of %u: %s", c->name, status_of(&reply), c->status, qd_str_borrow(&reply));
        if (strstr(qd_str_borrow(&reply), "100 Continue") != NULL || qd_clock_seconds() - start > 10)
            fail_msg("%s: continued, or left open", c->name);
    }
    expect("GET /livez", "", NULL, 200, "alive");
}

static void a_message_of_two_lengths_smuggles_nothing(void **state)
{
    (void)state;
    static const char bytes[] =
        "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    talk(bytes, sizeof bytes - 1, &reply);
    assert_int_equal(status_of(&reply), 400);
    assert_int_equal(count(qd_str_borrow(&reply), "HTTP/1.1 "), 1);
    assert_null(strstr(qd_str_borrow(&reply), "alive"));
}

static void headers_and_targets_have_limits(void **state)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    for (int i = 0; i < 1000; i++)
        qd_str_add(&text, "abcdefghijklmnopqrstuvwxyz");
    QD_AUTO(qd_str_fini) qd_str request = { 0 };
    qd_str_addf(&request, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Other: %s\r\n\r\n", qd_str_borrow(&text));
    talk(request.data, request.length, &reply);
    assert_int_equal(status_of(&reply), 431);
    qd_str_clear(&request);
    qd_str_clear(&reply);
    qd_str_addf(&request, "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n", qd_str_borrow(&text));
    talk(request.data, request.length, &reply);
    assert_int_equal(status_of(&reply), 414);
}

static void a_chunked_body_beyond_the_limit_gets_413(void **state)
{
    (void)state;
    enum { CHUNK = 0x8000, CHUNKS = 40 };
    QD_AUTO(qd_str_fini) qd_str request = { 0 };
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    static char blanks[CHUNK];
    memset(blanks, ' ', sizeof blanks);
    qd_str_add(&request,
               "POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < CHUNKS; i++) {
        qd_str_add(&request, "8000\r\n");
        qd_str_add_bytes(&request, blanks, sizeof blanks);
        qd_str_add(&request, "\r\n");
    }
    qd_str_add(&request, "0\r\n\r\n");
    talk(request.data, request.length, &reply);
    assert_int_equal(status_of(&reply), 413);
    check_contains(qd_str_borrow(&reply), "1048576");
}

static void chunks_within_the_limit_are_joined(void **state)
{
    (void)state;
    static const char bytes[] =
        "POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4\r\n{\"bi\r\n6\r\ntz\":1}\r\n0\r\n\r\n";
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    talk(bytes, sizeof bytes - 1, &reply);
    assert_int_equal(status_of(&reply), 422);
    check_contains(qd_str_borrow(&reply), "\"/bitz\"");
}

static void one_connection_serves_several_requests(void **state)
{
    (void)state;
    static const char bytes[] =
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    talk(bytes, sizeof bytes - 1, &reply);
    assert_int_equal(count(qd_str_borrow(&reply), "HTTP/1.1 200"), 3);
    assert_int_equal(count(qd_str_borrow(&reply), "{\"status\":\"alive\"}"), 2); /* HEAD has no body */
}

static void a_problem_carries_the_request_id_of_its_header(void **state)
{
    (void)state;
    char id[64] = "", member[96];
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    ask("BREW /jobs", "", NULL, &reply);
    assert_int_equal(status_of(&reply), 405);
    check_contains(qd_str_borrow(&reply), "Allow: GET, HEAD, POST");
    const char *header = strstr(qd_str_borrow(&reply), "X-Request-Id: ");
    assert_non_null(header);
    assert_int_equal(sscanf(header, "X-Request-Id: %40[0-9a-f]", id), 1);
    snprintf(member, sizeof member, "\"request_id\":\"%s\"", id);
    check_contains(qd_str_borrow(&reply), member);
}

/* ---- jobs ---- */

static void what_cannot_be_a_job_is_refused_by_field(void **state)
{
    (void)state;
    expect("POST /jobs", "", "{not json", 400, "not-json");
    expect("POST /jobs", "", "[]", 400, "an object is wanted");
    expect("POST /jobs", "", "", 400, "not-json");
    expect("POST /jobs", "", "{\"model\":\"x\",\"model\":\"y\"}", 400, "uplicate");
    expect("POST /jobs", "", "{\"model\":\"hf://a/b\",\"bits\":17}", 422,
           "{\"pointer\":\"/bits\",\"detail\":\"bits: 17");
    expect("POST /jobs", "", "{\"bits\":4}", 422, "\"/model\"");
    expect("POST /jobs", "", "{\"model\":\"ftp://a/b\"}", 422, "ftp");
    expect("POST /jobs", "Idempotency-Key: two words\r\n", "{\"model\":\"hf://a/b\"}", 400, "Idempotency-Key");
}

static void a_page_of_another_site_changes_nothing(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"hf://a/b\",\"bits\":17}";
    expect("POST /jobs", "Origin: http://evil.example\r\nContent-Type: application/json\r\n", body, 403, "Origin");
    expect("POST /jobs", "Origin: null\r\n", body, 403, "Origin");
    expect("POST /jobs", "Origin: http://localhost\r\nContent-Type: text/plain\r\n", body, 415, "application/json");
    expect("POST /jobs", "Origin: http://localhost\r\nContent-Type: application/json; charset=utf-8\r\n", body, 422,
           "bits");
    expect("POST /jobs", "Content-Type: application/x-www-form-urlencoded\r\n", body, 422, "bits");
}

static void a_name_that_is_not_ours_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        unsigned status;
    } cases[] = { { "LOCALHOST:7", 200 },    { "127.9.9.9", 200 }, { "[::1]:1", 200 },
                  { "evil.example", 403 },   { "[::1", 403 },      { "localhost:1@evil.example", 403 },
                  { "localhost.evil", 403 }, { "128.0.0.1", 403 }, { "[fe80::1]", 403 } };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        QD_AUTO(qd_str_fini) qd_str request = { 0 };
        QD_AUTO(qd_str_fini) qd_str reply = { 0 };
        qd_str_addf(&request, "GET /livez HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", cases[i].host);
        talk(request.data, request.length, &reply);
        if (status_of(&reply) != cases[i].status)
            fail_msg("%s: %u instead of %u", cases[i].host, status_of(&reply), cases[i].status);
    }
}

static void a_job_can_be_read_listed_cancelled_and_deleted(void **state)
{
    (void)state;
    char id[JOB_ID], line[80], etag[80] = "", header[120];
    submit(id);
    snprintf(line, sizeof line, "GET /jobs/%s", id);
    expect(line, "", NULL, 200, id);
    expect("GET /jobs?tag=k:v&limit=1", "", NULL, 200, id);
    expect("GET /jobs?tag=k:other", "", NULL, 200, "\"data\":[]");
    expect("GET /jobs?state=nowhere", "", NULL, 400, "queued");
    expect("GET /jobs?limit=0", "", NULL, 400, "limit");
    expect("GET /jobs?cursor=x", "", NULL, 400, "cursor");
    snprintf(line, sizeof line, "DELETE /jobs/%s", id);
    expect(line, "", NULL, 409, "conflict");
    cancel(id);
    snprintf(line, sizeof line, "GET /jobs/%s/events", id);
    expect(line, "Accept: text/event-stream\r\n", NULL, 200, "event: end\ndata: {\"state\":\"cancelled\"}");
    snprintf(line, sizeof line, "GET /jobs/%s", id);
    QD_AUTO(qd_str_fini) qd_str reply = { 0 };
    ask(line, "", NULL, &reply);
    const char *tag = strstr(qd_str_borrow(&reply), "ETag: ");
    assert_true(tag != NULL && sscanf(tag, "ETag: %70[^\r]", etag) == 1);
    snprintf(header, sizeof header, "If-None-Match: %s\r\n", etag);
    expect(line, header, NULL, 304, NULL);
    expect(line, "If-None-Match: \"other\"\r\n", NULL, 200, id);
    cancel(id); /* once more is fine */
    snprintf(line, sizeof line, "POST /jobs/%s/retry", id);
    expect(line, "", "{\"bits\":3}", 422, "bits");
    expect(line, "", "[]", 400, "not-json");
    snprintf(line, sizeof line, "GET /jobs/%s/artifacts", id);
    expect(line, "", NULL, 404, "not-found");
    snprintf(line, sizeof line, "DELETE /jobs/%s", id);
    expect(line, "", NULL, 204, NULL);
    snprintf(line, sizeof line, "GET /jobs/%s", id);
    expect(line, "", NULL, 404, "not-found");
}

/* ---- streams ---- */

static int open_stream(const char *id, const char *headers, qd_str *heard, const char *mark)
{
    QD_AUTO(qd_str_fini) qd_str request = { 0 };
    int fd = dial();
    qd_str_addf(&request, "GET /jobs/%s/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n", id,
                headers);
    say(fd, request.data, request.length);
    hear(fd, mark, heard);
    return fd;
}

static void a_stream_beats_while_nothing_happens_and_ends_with_the_job(void **state)
{
    (void)state;
    char id[JOB_ID];
    QD_AUTO(qd_str_fini) qd_str heard = { 0 };
    submit(id);
    int fd = open_stream(id, "", &heard, ": heartbeat");
    check_contains(qd_str_borrow(&heard), "text/event-stream");
    check_contains(qd_str_borrow(&heard), "\nid: ");
    check_contains(qd_str_borrow(&heard), ": heartbeat");
    assert_null(strstr(qd_str_borrow(&heard), "event: end"));
    cancel(id);
    hear(fd, NULL, &heard);
    check_contains(qd_str_borrow(&heard), "event: end\ndata: {\"state\":\"cancelled\"}");
    close(fd);
}

static void a_stream_resumes_after_the_last_id_seen(void **state)
{
    (void)state;
    char id[JOB_ID], header[80];
    unsigned long long first = 0, next = 0;
    QD_AUTO(qd_str_fini) qd_str whole = { 0 };
    QD_AUTO(qd_str_fini) qd_str rest = { 0 };
    submit(id);
    cancel(id);
    close(open_stream(id, "", &whole, NULL));
    assert_int_equal(sscanf(strstr(qd_str_borrow(&whole), "\nid: "), "\nid: %llu", &first), 1);
    snprintf(header, sizeof header, "Last-Event-ID: %llu\r\n", first);
    close(open_stream(id, header, &rest, NULL));
    assert_int_equal(count(qd_str_borrow(&rest), "\nid: "), count(qd_str_borrow(&whole), "\nid: ") - 1);
    if (strstr(qd_str_borrow(&rest), "\nid: ") != NULL) {
        assert_int_equal(sscanf(strstr(qd_str_borrow(&rest), "\nid: "), "\nid: %llu", &next), 1);
        assert_true(next > first);
    }
    QD_AUTO(qd_str_fini) qd_str nothing = { 0 };
    close(open_stream(id, "Last-Event-ID: 9000000000000\r\n", &nothing, NULL));
    assert_int_equal(count(qd_str_borrow(&nothing), "\nid: "), 1); /* no event, but where its place would be */
    check_contains(qd_str_borrow(&nothing), "event: resync");
    check_contains(qd_str_borrow(&nothing), "event: end");
    QD_AUTO(qd_str_fini) qd_str wrong = { 0 };
    close(open_stream(id, "Last-Event-ID: x\r\nConnection: close\r\n", &wrong, NULL));
    assert_int_equal(status_of(&wrong), 400);
}

static void streams_beyond_the_limit_are_told_to_wait_and_a_dead_peer_frees_its_place(void **state)
{
    (void)state;
    char id[JOB_ID];
    int fds[STREAM_LIMIT];
    submit(id);
    for (size_t i = 0; i < STREAM_LIMIT; i++) {
        QD_AUTO(qd_str_fini) qd_str heard = { 0 };
        fds[i] = open_stream(id, "", &heard, "retry:");
        assert_int_equal(status_of(&heard), 200);
    }
    QD_AUTO(qd_str_fini) qd_str refused = { 0 };
    close(open_stream(id, "Connection: close\r\n", &refused, NULL));
    assert_int_equal(status_of(&refused), 429);
    check_contains(qd_str_borrow(&refused), "Retry-After: ");
    for (size_t i = 0; i < STREAM_LIMIT; i++)
        close(fds[i]);
    unsigned status = 0;
    for (double end = qd_clock_seconds() + 15 * check_patience(); status != 200 && qd_clock_seconds() < end;
         usleep(50000)) {
        QD_AUTO(qd_str_fini) qd_str heard = { 0 };
        close(open_stream(id, "", &heard, "\r\n\r\n"));
        status = status_of(&heard);
    }
    assert_int_equal(status, 200);
    cancel(id);
}

/* ---- many at once ---- */

enum { CLIENTS = 8, ROUNDS = 12 };

/* Its own requests, its own counts; cmocka's assertions belong to the main thread. */
static void *be_a_client(void *ctx)
{
    static const char *const lines[] = { "GET /jobs?limit=5", "GET /metrics", "GET /readyz",
                                         "GET /catalog",      "BREW /jobs",   "POST /jobs" };
    static const unsigned want[] = { 200, 200, 200, 200, 405, 422 };
    size_t *wrong = ctx;
    for (size_t i = 0; i < ROUNDS * QD_LENGTH(lines); i++) {
        size_t which = i % QD_LENGTH(lines);
        QD_AUTO(qd_str_fini) qd_str reply = { 0 };
        ask(lines[which], "", which == 5 ? "{\"bits\":4}" : NULL, &reply);
        *wrong += status_of(&reply) != want[which];
    }
    return NULL;
}

static void clients_at_once_each_get_their_own_answers(void **state)
{
    (void)state;
    char id[JOB_ID];
    pthread_t threads[CLIENTS];
    size_t wrong[CLIENTS] = { 0 };
    QD_AUTO(qd_str_fini) qd_str heard = { 0 };
    submit(id);
    int fd = open_stream(id, "", &heard, "retry:");
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, be_a_client, &wrong[i]), 0);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(wrong[i], 0);
    cancel(id);
    hear(fd, NULL, &heard);
    check_contains(qd_str_borrow(&heard), "event: end");
    close(fd);
}

/* ---- deadlines ---- */

static void seconds_until_cut(const char *dribble, const char *opening, double *out_seconds)
{
    double start = qd_clock_seconds();
    char byte;
    int fd = dial();
    const struct timeval patience = { .tv_usec = 100000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    say(fd, opening, strlen(opening));
    while (qd_clock_seconds() - start < 20) {
        say(fd, dribble, 1); /* keeps the library's own timer from ever running out */
        ssize_t n = recv(fd, &byte, 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
            break;
    }
    close(fd);
    *out_seconds = qd_clock_seconds() - start;
}

static void slow_headers_and_slow_bodies_are_cut(void **state)
{
    (void)state;
    double header = 0, body = 0;
    qd_error err = { 0 };
    qd_http_stop(world.http);
    check_ok(open_http(1, &err));
    seconds_until_cut("a", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", &header);
    seconds_until_cut(" ", "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", &body);
    assert_true(header > 0.5 && header < 10 * check_patience());
    assert_true(body > 0.5 && body < 10 * check_patience());
    expect("GET /livez", "", NULL, 200, "alive");
    expect("GET /metrics", "", NULL, 200, "quantd_http_cut_total 2");
}

/* ---- the end ---- */

static void a_stop_ends_streams_cleanly_and_at_once(void **state)
{
    (void)state;
    char id[JOB_ID];
    QD_AUTO(qd_str_fini) qd_str heard = { 0 };
    submit(id);
    int fd = open_stream(id, "", &heard, "\nid: ");
    int idle = dial();
    double start = qd_clock_seconds();
    qd_http_stop(world.http);
    world.http = NULL;
    double seconds = qd_clock_seconds() - start;
    hear(fd, NULL, &heard);
    /* The last chunk is there: an end, not a break. */
    check_contains(qd_str_borrow(&heard), "\r\n0\r\n\r\n");
    assert_true(seconds < 3 * check_patience());
    close(fd);
    close(idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_forms_are_refused_and_the_connection_closed),
        cmocka_unit_test(a_message_of_two_lengths_smuggles_nothing),
        cmocka_unit_test(headers_and_targets_have_limits),
        cmocka_unit_test(a_chunked_body_beyond_the_limit_gets_413),
        cmocka_unit_test(chunks_within_the_limit_are_joined),
        cmocka_unit_test(one_connection_serves_several_requests),
        cmocka_unit_test(a_problem_carries_the_request_id_of_its_header),
        cmocka_unit_test(what_cannot_be_a_job_is_refused_by_field),
        cmocka_unit_test(a_page_of_another_site_changes_nothing),
        cmocka_unit_test(a_name_that_is_not_ours_is_refused),
        cmocka_unit_test(a_job_can_be_read_listed_cancelled_and_deleted),
        cmocka_unit_test(a_stream_beats_while_nothing_happens_and_ends_with_the_job),
        cmocka_unit_test(a_stream_resumes_after_the_last_id_seen),
        cmocka_unit_test(streams_beyond_the_limit_are_told_to_wait_and_a_dead_peer_frees_its_place),
        cmocka_unit_test(clients_at_once_each_get_their_own_answers),
        cmocka_unit_test(slow_headers_and_slow_bodies_are_cut),
        cmocka_unit_test(a_stop_ends_streams_cleanly_and_at_once),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
