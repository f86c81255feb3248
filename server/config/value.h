/* value.h: a value of an option: from text into its field and back.
 * Room: server/config, private to it. May use: base.
 * Threads: a configuration belongs to one thread until it is read-only. */
#ifndef QD_CONFIG_VALUE_H
#define QD_CONFIG_VALUE_H

#include "config/config.h"
#include "config/option.h"

/* Puts one value into its field; a LIST grows by it. `where` names option and source for messages. */
qd_code qd_value_set(qd_config *config, const qd_option *option, const char *where, const char *text, qd_error *err);
/* A value of which several stand in one text, separated by commas. Other kinds than LIST hold no comma-separated values. */
qd_code qd_value_set_all(qd_config *config, const qd_option *option, const char *where, const char *text,
                         qd_error *err);
void qd_value_fini(qd_config *config, const qd_option *option);
/* As it would be written in a file, without the passwords of URLs; a LIST's with commas. Appended to `out`. */
void qd_value_print(const qd_config *config, const qd_option *option, qd_str *out);
/* Exchanges the option's value between two configurations. */
void qd_value_swap(qd_config *a, qd_config *b, const qd_option *option);
bool qd_value_equal(const qd_config *a, const qd_config *b, const qd_option *option);

#endif
