/* wire.h: a client of bytes on a loopback socket, for tests. */
#ifndef QD_TESTS_WIRE_H
#define QD_TESTS_WIRE_H

#include "check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/str.h"

static inline int wire_dial(uint16_t port)
{
    struct sockaddr_in where = { .sin_family = AF_INET, .sin_port = htons(port) };
    const struct timeval patience = { .tv_sec = 20 };
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
    return fd;
}

static inline void say(int fd, const void *bytes, size_t length)
{
    /* A server that refuses early may have closed already. */
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, (const char *)bytes + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        sent += (size_t)n;
    }
}

/* Reads until `mark` has come, or to the end when mark is NULL or never comes. */
static inline void hear(int fd, const char *mark, qd_str *out)
{
    char chunk[4096];
    ssize_t n;
    while ((mark == NULL || strstr(qd_str_borrow(out), mark) == NULL) && (n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        qd_str_add_bytes(out, chunk, (size_t)n);
}

static inline unsigned status_of(const qd_str *reply)
{
    unsigned status = 0;
    if (sscanf(qd_str_borrow(reply), "HTTP/1.1 %u", &status) != 1)
        return 0;
    return status;
}

static inline size_t count(const char *text, const char *part)
{
    size_t found = 0;
    while ((text = strstr(text, part)) != NULL) {
        found++;
        text += strlen(part);
    }
    return found;
}

#endif
