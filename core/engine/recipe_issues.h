/* recipe_issues.h: findings about a job, as sentences.
 * Room: core/engine, and the server where it judges requests. May use: core.
 * Threads: pure functions but for the list that is given. */
#ifndef QD_ENGINE_RECIPE_ISSUES_H
#define QD_ENGINE_RECIPE_ISSUES_H

#include "engine/recipe_fields.h"

/* Is the first character of C0, DEL, or C1 (two bytes in UTF-8)? */
bool qd_is_control(const char *text);
/* Code points; (size_t)-1 when there is a control character, which no label, name or URL needs. */
size_t qd_characters(const char *text);
enum { QD_URL_CHARACTERS = 2000 };
/* scheme://..., of at most so many. Whether it may be fetched is the server's to say. */
bool qd_is_url(const char *text);
/* A request's text as a message shows it: at most 60 bytes, control characters as '?'. */
typedef struct qd_shown {
    char text[64];
} qd_shown;
qd_shown qd_show(const char *text);

/* A dotted name for sentences: "calibration/samples" -> "calibration.samples". */
typedef struct qd_label {
    char text[2 * QD_WORD];
} qd_label;
qd_label qd_label_of(const char *path);

typedef struct qd_pointer {
    char text[160];
} qd_pointer;
/* parent + "/" + key, with ~ and / of the key escaped (RFC 6901). */
qd_pointer qd_pointer_to(const char *parent, const char *key);

/* Adds one; those beyond QD_ISSUES_MAX are dropped. */
void qd_complain(qd_issues *issues, const char *pointer, const char *format, ...) QD_PRINTF(3, 4);
/* true when no finding is at or below one of these members (pointers, ended by NULL): what depends on them may be judged. */
bool qd_issues_spare(const qd_issues *issues, const char *const *members);

#endif
