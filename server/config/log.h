/* log.h: the only writer to stderr of the service.
 * Room: server/config. May use: base. The core never logs.
 * Threads: any; a line is written whole. */
#ifndef QD_SERVER_LOG_H
#define QD_SERVER_LOG_H

#include <pthread.h>
#include <stdatomic.h>

typedef enum qd_log_level { QD_LOG_DEBUG, QD_LOG_INFO, QD_LOG_WARN, QD_LOG_ERROR } qd_log_level;
typedef enum qd_log_format { QD_LOG_TEXT, QD_LOG_JSON } qd_log_format;

typedef struct qd_log {
    atomic_int threshold, format;
    pthread_mutex_t mutex;
} qd_log;

void qd_log_init(qd_log *log, const char *level, const char *format); /* words as in the configuration */
/* The same while others log. */
void qd_log_set(qd_log *log, const char *level, const char *format);
void qd_log_fini(qd_log *log);
/* -1 for an unknown word. */
int qd_log_level_find(const char *word);

/* time level event details. details are key=value words; a value in quotation marks is the line's last and reaches to
 * its end, so that no text from outside can pass for a key of ours. As JSON every key is a member. Control characters
 * are escaped, lines cut at 2,000 characters; of URLs user and query are left out, and of tokens all but the
 * beginning. */
void qd_log_line(qd_log *log, qd_log_level level, const char *event, const char *details);

#endif
