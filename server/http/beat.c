/* beat.c: does the thread that serves connections still do so? See server.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/exchange.h"

/* Where a client of this machine reaches us. */
static socklen_t own_address(const qd_http *http, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    const char *host = http->config.host == NULL ? "127.0.0.1" : http->config.host;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(http->port);
        if (memcmp(&v6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
            v6->sin6_addr = in6addr_loopback;
        return sizeof *v6;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(http->port);
    if (inet_pton(AF_INET, host, &v4->sin_addr) != 1 || v4->sin_addr.s_addr == htonl(INADDR_ANY))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof *v4;
}

static qd_code wait_for(int fd, short what, double until, qd_error *err)
{
    struct pollfd one = { .fd = fd, .events = what };
    for (;;) {
        double left = until - qd_clock_seconds();
        int ready = left <= 0 ? 0 : poll(&one, 1, (int)(left * 1000) + 1);
        if (ready > 0)
            return QD_OK;
        if (ready < 0 && errno != EINTR)
            return qd_fail_errno(err, "poll");
        if (ready == 0)
            return qd_fail(err, QD_ETIMEOUT, "no connection thread answers");
    }
}

/* The kernel accepts connections for a dead server too: only bytes, or the end, come from our threads. Under TLS the
 * answer to this request is an alert, and beyond the limit of connections the end; both are signs of life. */
qd_code qd_http_beat(const qd_http *http, double patience_seconds, qd_error *err)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    double until = qd_clock_seconds() + patience_seconds;
    struct sockaddr_storage address;
    char byte;
    socklen_t length = own_address(http, &address);
    QD_AUTO(qd_close_fd) int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? QD_OK /* nothing to ask with: that is no hang */
                                                  : qd_fail_errno(err, "socket");
    if (connect(fd, (const struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS)
        return qd_fail_errno(err, "connect to our own address");
    qd_code code = wait_for(fd, POLLOUT, until, err);
    if (code == QD_OK && send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return QD_OK; /* closed at once: somebody did that */
    if (code == QD_OK)
        code = wait_for(fd, POLLIN, until, err);
    if (code == QD_OK && recv(fd, &byte, 1, 0) < 0)
        return QD_OK; /* reset: the same */
    return code;
}
