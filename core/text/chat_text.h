/* chat_text.h: what filters and methods of chat templates do to texts, as Python's str does it.
 * Room: core/text, private to it. May use: base, utf8proc.
 * Threads: pure functions over the caller's data. */
#ifndef QD_TEXT_CHAT_TEXT_H
#define QD_TEXT_CHAT_TEXT_H

#include "text/chat_run.h"

typedef enum qd_chat_sides { QD_CHAT_LEFT = 1, QD_CHAT_RIGHT = 2, QD_CHAT_BOTH = 3 } qd_chat_sides;
/* Without the characters of `set` (absent or none: white space) at its sides. */
qd_code qd_chat_strip(qd_chat_run *run, qd_chat_text text, const qd_chat_value *set, qd_chat_sides sides,
                      qd_chat_value *out);

/* QD_CHAT_TITLE_FILTER: words begin behind blanks, hyphens and opening brackets; QD_CHAT_TITLE_METHOD: behind whatever is
 * no letter. */
typedef enum qd_chat_case {
    QD_CHAT_UPPER,
    QD_CHAT_LOWER,
    QD_CHAT_CAPITALIZE,
    QD_CHAT_TITLE_FILTER,
    QD_CHAT_TITLE_METHOD
} qd_chat_case;
/* QD_EUNSUPPORTED for the few letters whose case takes more than a table of single letters. */
qd_code qd_chat_change_case(qd_chat_run *run, qd_chat_text text, qd_chat_case which, qd_chat_value *out);

/* The first `most` of them; most < 0: all. */
qd_code qd_chat_replace(qd_chat_run *run, qd_chat_text text, qd_chat_text old, qd_chat_text fresh, int64_t most,
                        qd_chat_value *out);
/* At `separator` (absent or none: at white space), `most` times at most; most < 0: everywhere. */
qd_code qd_chat_split(qd_chat_run *run, qd_chat_text text, const qd_chat_value *separator, int64_t most,
                      qd_chat_value *out);

#endif
