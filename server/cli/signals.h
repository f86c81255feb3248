/* signals.h: SIGTERM, SIGINT and SIGHUP as something to wait for.
 * Room: server/cli. May use: base.
 * Threads: the main thread; it is the process's only use of signal handlers. */
#ifndef QD_CLI_SIGNALS_H
#define QD_CLI_SIGNALS_H

typedef enum qd_wish { QD_WISH_NONE, QD_WISH_RELOAD, QD_WISH_STOP } qd_wish;

/* From here on. SIGPIPE is ignored. Two SIGTERM or SIGINT may wait to be taken up; a third ends the process at once: jobs
 * are resumed at the next start. */
void qd_signals_install(void);
/* Nobody waits for signals any more: from now on the next one ends the process. */
void qd_signals_last(void);
/* The next wish, or QD_WISH_NONE after so long. */
qd_wish qd_signals_wait(double seconds);
/* "SIGTERM" or "SIGINT": the newest that asked to stop. */
const char *qd_signals_name(void);

#endif
