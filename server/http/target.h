/* target.h: the request target: path and query, percent-decoded and checked.
 * Room: server/http. May use: base. Never: MHD.
 * Threads: a qd_target belongs to one thread at a time.
 * Source: RFC 3986 §2.1, RFC 9112 §3.2; server.md §1.5. */
#ifndef QD_HTTP_TARGET_H
#define QD_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Decodes %XX of text[0, length) into out (length + 1 bytes, NUL-terminated). QD_EINVAL: an incomplete or wrong
 * escape, %00, a control character. plus: '+' is a blank (query) or itself (path). */
typedef enum qd_plus { QD_PLUS_IS_PLUS, QD_PLUS_IS_BLANK } qd_plus;
qd_code qd_percent_decode(const char *text, size_t length, qd_plus plus, char *out, qd_error *err);

typedef struct qd_parameter {
    char *name, *value;
} qd_parameter;
enum { QD_PARAMETERS_MAX = 16 };

typedef struct qd_target {
    char *path; /* decoded, begins with '/' */
    qd_parameter parameters[QD_PARAMETERS_MAX];
    size_t parameter_count;
    char *storage; /* what the pointers above point into */
} qd_target;

/* "/jobs?limit=2", or the absolute form "http://host/jobs". QD_EINVAL: not such a target, %2F in the path, too
 * many parameters. One that is given twice is there twice: the route judges that. */
qd_code qd_target_parse(const char *raw, qd_target *out, qd_error *err);
void qd_target_fini(qd_target *target);
/* Of several the first. NULL when absent or empty. */
const char *qd_target_parameter(const qd_target *target, const char *name);
/* true or false; false when absent. QD_EINVAL: anything else, an empty value too: who asks for a dry run and forgets to say so gets none. */
qd_code qd_target_flag(const qd_target *target, const char *name, bool *out, qd_error *err);

#endif
