/* manual.h: the manual page, written from the tables of verbs and options.
 * Room: server/cli, private to it. May use: config.
 * Threads: any. */
#ifndef QD_CLI_MANUAL_H
#define QD_CLI_MANUAL_H

#include <stdio.h>

/* quantd.1 as man(7) text: what the build installs; printed by `quantd --man`. */
void qd_manual_print(FILE *out);

#endif
