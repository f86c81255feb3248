/* redact.h: text without what only its owner should know.
 * Room: server/config, private to it and its tests. May use: libc.
 * Threads: any. */
#ifndef QD_CONFIG_REDACT_H
#define QD_CONFIG_REDACT_H

#include <stddef.h>

/* Copies text into out (cut at size - 1 bytes). Of a URL, user and query are left out: signed links carry their right in
 * it. Of a token (hf_..., qd_..., whatever follows "Bearer "), only the beginning stays. A net below those who print:
 * they leave secrets out by themselves. */
void qd_redact(const char *text, char *out, size_t size);

#endif
