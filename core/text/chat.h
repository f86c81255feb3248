/* chat.h: a conversation as the text that a model was trained on, by the model's own chat template.
 * Room: core/text. May use: base, jansson, utf8proc. Knows no model.
 * Threads: a qd_chat is immutable after compiling: any thread may render with it.
 *
 * Templates are programs in a template language (Jinja's, as the usual readers run it: a block's line break and the
 * blanks before it vanish). What common templates use is run here; everything else is QD_EUNSUPPORTED with its name and
 * line, when it is compiled or when it is reached: a rendered text is the usual readers' text, byte for byte, or there
 * is none. */
#ifndef QD_TEXT_CHAT_H
#define QD_TEXT_CHAT_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

typedef struct qd_chat qd_chat;

/* `variables`: an object of strings that the template may name (bos_token, eos_token, ...), or NULL. A template that is
 * wrong is QD_EFORMAT. */
qd_code qd_chat_compile(const char *text, size_t length, const json_t *variables, qd_chat **out, qd_error *err);
void qd_chat_destroy(qd_chat *chat); /* NULL is fine */

/* Appends the conversation: `messages` is an array of {"role": "...", "content": "..."}, other keys being the template's
 * to read; tools are QD_EUNSUPPORTED. No answer is begun behind it (add_generation_prompt is false). QD_EINVAL: the
 * template refuses this conversation (raise_exception) or fails on it; QD_ETOOBIG: it does not end, or writes without
 * end. */
qd_code qd_chat_render(const qd_chat *chat, const json_t *messages, qd_str *out, qd_error *err);

enum { QD_CHAT_TEMPLATE_LIMIT = 1 << 20 }; /* bytes of a template */

#endif
