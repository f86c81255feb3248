/* head.h: header lines of one HTTP answer into a qd_reply_head.
 * Room: server/fetch, private to it. May use: base.
 * Threads: nothing is shared. */
#ifndef QD_FETCH_HEAD_H
#define QD_FETCH_HEAD_H

#include "fetch/transfer.h"

/* Forgets everything of the hop before but the hub's own headers. */
void qd_head_reset(qd_reply_head *head);
/* One raw line, not terminated; lines that are not known headers are ignored, fields that do not fit are taken as
 * absent. */
void qd_head_line(qd_reply_head *head, const char *line, size_t length);

#endif
