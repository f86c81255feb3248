/* notify.c: see notify.h. */
#include "cli/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"

static void read_socket(qd_notifier *notifier)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t length = name == NULL ? 0 : strlen(name);
    if (length < 2 || (name[0] != '/' && name[0] != '@') || length >= sizeof notifier->address.sun_path)
        return;
    notifier->address.sun_family = AF_UNIX;
    memcpy(notifier->address.sun_path, name, length + 1);
    if (name[0] == '@')
        notifier->address.sun_path[0] = '\0'; /* and no NUL at its end */
    notifier->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
}

static void read_watchdog(qd_notifier *notifier)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec != NULL && (pid == NULL || strtol(pid, NULL, 10) == (long)getpid()))
        notifier->watchdog_seconds = strtod(usec, NULL) * 1e-6;
    if (!(notifier->watchdog_seconds > 0))
        notifier->watchdog_seconds = 0;
}

void qd_notifier_init(qd_notifier *notifier)
{
    *notifier = (qd_notifier){ 0 };
    read_socket(notifier);
    read_watchdog(notifier);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void qd_notify(const qd_notifier *notifier, const char *format, ...)
{
    char text[1024];
    va_list args;
    if (notifier->length == 0)
        return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    QD_AUTO(qd_close_fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || length < 0)
        return;
    size_t bytes = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    if (sendto(fd, text, bytes, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&notifier->address,
               notifier->length) < 0)
        return; /* a manager that is away does not keep us from our work */
}

void qd_notify_reloading(const qd_notifier *notifier)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    qd_notify(notifier, "RELOADING=1\nMONOTONIC_USEC=%lld\n",
              (long long)now.tv_sec * 1000000 + (long long)now.tv_nsec / 1000);
}
