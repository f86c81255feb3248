/* range.h: byte ranges and the conditions around them.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: any; there is no state.
 * Source: RFC 9110 §13.1.2, §13.1.5, §14; server.md §1.3: one range, strong tags only for ranges, several ranges give
 * the whole. */
#ifndef QD_HTTP_RANGE_H
#define QD_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum qd_range_kind {
    QD_RANGE_WHOLE,         /* no range, one we do not understand, or several: 200 */
    QD_RANGE_PART,          /* 206 */
    QD_RANGE_UNSATISFIABLE, /* 416 */
} qd_range_kind;

typedef struct qd_range {
    qd_range_kind kind;
    uint64_t first, length; /* for WHOLE: 0, size */
} qd_range;

/* header NULL = none. */
qd_range qd_range_parse(const char *header, uint64_t size);
/* May a range be honoured? if_range NULL = yes; else only when it is exactly our strong tag (quotes included). tag
 * NULL = we have none. */
bool qd_if_range_ok(const char *if_range, const char *tag);
/* If-None-Match: "*" or a list holding our tag, weakly compared. header NULL = false. */
bool qd_if_none_match(const char *header, const char *tag);

#endif
