/* send.c: a qd_reply becomes a response of the library. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/exchange.h"
#include "http/problem.h"

enum { MADE_BLOCK = 1 << 16 };

/* Takes what the reply holds. NULL: out of memory, and the reply holds nothing any more. */
static struct MHD_Response *make_bytes(qd_reply *reply)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->length, reply->bytes, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        free(reply->bytes);
    reply->bytes = NULL;
    return response;
}

static struct MHD_Response *make_file(qd_reply *reply)
{
    struct MHD_Response *response = NULL;
    if (reply->length == 0)
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    response = MHD_create_response_from_fd_at_offset64(reply->length, reply->fd, reply->offset);
    if (response == NULL)
        qd_close_fd(&reply->fd);
    reply->fd = -1; /* the library closes it */
    return response;
}

static struct MHD_Response *make_static(const qd_reply *reply)
{
    return MHD_create_response_from_buffer(reply->length, (void *)(uintptr_t)reply->fixed, MHD_RESPMEM_PERSISTENT);
}

/* What a reply makes while it is sent. */
typedef struct making {
    void *content;
    ssize_t (*read)(void *content, uint64_t position, char *out, size_t room);
    void (*release)(void *content);
    uint64_t offset;
} making;

static ssize_t read_made(void *ctx, uint64_t position, char *out, size_t room)
{
    making *m = ctx;
    ssize_t count = m->read(m->content, m->offset + position, out, room);
    return count > 0 ? count : MHD_CONTENT_READER_END_WITH_ERROR; /* the length was told: there is no end before it */
}

static void free_made(void *ctx)
{
    making *m = ctx;
    m->release(m->content);
    free(m);
}

static struct MHD_Response *make_made(qd_reply *reply)
{
    making *m = malloc(sizeof *m);
    if (m == NULL)
        return NULL;
    *m = (making){ reply->content, reply->read, reply->release, reply->offset };
    reply->release = NULL;
    struct MHD_Response *response =
        MHD_create_response_from_callback(reply->length, MADE_BLOCK, read_made, m, free_made);
    if (response == NULL)
        free_made(m);
    return response;
}

static struct MHD_Response *make(qd_exchange *x)
{
    qd_reply *reply = &x->reply;
    struct MHD_Response *response = NULL;
    qd_error err = { 0 };
    switch (reply->payload) {
    case QD_PAYLOAD_STATIC:
        return make_static(reply);
    case QD_PAYLOAD_FILE:
        return make_file(reply);
    case QD_PAYLOAD_MADE:
        return make_made(reply);
    case QD_PAYLOAD_EVENTS: {
        if (x->request.head)
            return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
        const qd_streams_opening opening = { x->connection, reply->job, reply->after, x->request.caller.address,
                                             x->request.caller.key_id };
        qd_code code = qd_streams_open(x->http->streams, &opening, &response, &err);
        if (code == QD_OK)
            return response;
        qd_reply_failure(reply, &x->request, code, &err);
        return make_bytes(reply);
    }
    case QD_PAYLOAD_BYTES:
        break;
    }
    return make_bytes(reply);
}

/* A file beyond the number of downloads becomes 503. */
static void count_download(qd_exchange *x)
{
    if ((x->reply.payload != QD_PAYLOAD_FILE && x->reply.payload != QD_PAYLOAD_MADE) || x->request.head)
        return;
    x->download = true;
    if (atomic_fetch_add(&x->http->counters.downloads, 1) >= x->http->config.downloads)
        qd_reply_problem(&x->reply, &x->request, QD_PROBLEM_UNAVAILABLE, NULL,
                         "%u files are being sent, which is the limit", x->http->config.downloads);
}

static void add_headers(const qd_exchange *x, struct MHD_Response *response)
{
    const qd_reply *reply = &x->reply;
    if (reply->content_type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    for (size_t i = 0; i < reply->header_count; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (qd_reply_header_get(reply, "Cache-Control") == NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Request-Id", x->request.caller.request_id);
    if ((x->closes || atomic_load(&x->http->closing)) && qd_reply_header_get(reply, "Connection") == NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

enum MHD_Result qd_send(qd_exchange *x)
{
    count_download(x);
    struct MHD_Response *response = make(x);
    if (response == NULL)
        return MHD_NO;
    add_headers(x, response);
    enum MHD_Result result = MHD_queue_response(x->connection, x->reply.status, response);
    MHD_destroy_response(response);
    if (result == MHD_YES) {
        x->stage = QD_STAGE_SENT;
        x->status = x->reply.status;
        qd_counters_add(&x->http->counters, qd_route_index(x->route), x->status, qd_clock_seconds() - x->started);
    }
    return result;
}
