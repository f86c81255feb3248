/* test_reaper.c: deadlines of connections, on real TCP sockets. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/reaper.h"

typedef struct pair {
    int near, far; /* the service's end, the client's */
} pair;

static pair connect_pair(void)
{
    struct sockaddr_in where = { .sin_family = AF_INET };
    socklen_t size = sizeof where;
    const int small = 4096;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair made = { .far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    setsockopt(made.far, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(bind(listening, (struct sockaddr *)&where, size), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&where, &size), 0);
    assert_int_equal(connect(made.far, (struct sockaddr *)&where, size), 0);
    made.near = accept(listening, NULL, NULL);
    assert_true(made.near >= 0);
    close(listening);
    assert_int_equal(fcntl(made.near, F_SETFL, O_NONBLOCK), 0);
    return made;
}

/* As much as the kernel takes. */
static void fill(int fd)
{
    static const char bytes[65536];
    while (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        continue;
}

/* Seconds until the service's end was shut down; `limit` when it was not. Meanwhile the client reads `step` bytes every tenth of a second. */
static double seconds_until_cut(pair p, size_t step, double limit)
{
    static char bytes[65536];
    double start = qd_clock_seconds();
    while (qd_clock_seconds() - start < limit) {
        struct pollfd watched = { .fd = p.near, .events = POLLRDHUP };
        if (poll(&watched, 1, 100) > 0 && (watched.revents & (POLLHUP | POLLRDHUP)) != 0)
            return qd_clock_seconds() - start;
        if (step > 0) {
            (void)!recv(p.far, bytes, step, MSG_DONTWAIT);
            fill(p.near);
        }
    }
    return limit;
}

static void close_pair(pair p)
{
    close(p.near);
    close(p.far);
}

typedef enum arming { DEADLINE, SENDING } arming;

static double try(arming how, double seconds, size_t step, double limit, uint64_t *out_cut)
{
    qd_reaper *reaper = NULL;
    atomic_uint_fast64_t cut = 0;
    assert_int_equal(qd_reaper_create(&cut, &reaper, NULL), QD_OK);
    pair p = connect_pair();
    qd_reaper_socket *s = qd_reaper_add(reaper, p.near);
    assert_non_null(s);
    if (how == SENDING) {
        fill(p.near);
        qd_reaper_arm_sending(reaper, s, seconds);
    } else
        qd_reaper_arm(reaper, s, seconds);
    double passed = seconds_until_cut(p, step, limit);
    qd_reaper_remove(reaper, s);
    close_pair(p);
    *out_cut = cut;
    qd_reaper_destroy(reaper);
    return passed;
}

static void a_deadline_cuts_within_two_seconds_of_it(void **state)
{
    (void)state;
    uint64_t cut = 0;
    double passed = try(DEADLINE, 0.5, 0, 20, &cut);
    assert_int_equal(cut, 1);
    assert_true(passed >= 0.4 && passed < 20);
    try(DEADLINE, 0, 0, 2.5, &cut); /* 0 = none */
    assert_int_equal(cut, 0);
}

static void a_peer_that_takes_nothing_or_a_trickle_is_cut_and_one_that_reads_is_not(void **state)
{
    (void)state;
    uint64_t cut = 0;
    try(SENDING, 1, 0, 20, &cut);
    assert_int_equal(cut, 1);
    try(SENDING, 1, 1, 20, &cut);
    assert_int_equal(cut, 1);
    double window = fmin(check_patience(), 4); /* we read in each of them, though a processor may be long in coming */
    double passed = try(SENDING, window, 65536, 4 * window, &cut);
    assert_int_equal(cut, 0);
    assert_true(passed >= 4 * window);
}

static void a_reply_that_was_taken_whole_leaves_the_peer_alone(void **state)
{
    (void)state;
    qd_reaper *reaper = NULL;
    atomic_uint_fast64_t cut = 0;
    assert_int_equal(qd_reaper_create(&cut, &reaper, NULL), QD_OK);
    pair p = connect_pair();
    qd_reaper_socket *s = qd_reaper_add(reaper, p.near);
    assert_int_equal(send(p.near, "hello", 5, 0), 5);
    char bytes[16];
    assert_int_equal(recv(p.far, bytes, sizeof bytes, 0), 5);
    qd_reaper_arm_sending(reaper, s, 0.5);
    assert_true(seconds_until_cut(p, 0, 3) >= 3);
    assert_int_equal(cut, 0);
    qd_reaper_remove(reaper, s);
    close_pair(p);
    qd_reaper_destroy(reaper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_cuts_within_two_seconds_of_it),
        cmocka_unit_test(a_peer_that_takes_nothing_or_a_trickle_is_cut_and_one_that_reads_is_not),
        cmocka_unit_test(a_reply_that_was_taken_whole_leaves_the_peer_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
