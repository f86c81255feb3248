/* settings.h: the service's configuration, owned.
 * Room: server/jobs, private to it. May use: base, fetch.
 * Threads: read-only once made. */
#ifndef QD_JOBS_SETTINGS_H
#define QD_JOBS_SETTINGS_H

#include "base/sign.h"
#include "jobs/service.h"

/* A copy of a configuration with its defaults filled in; state_dir is absolute and exists. */
typedef struct qd_settings {
    qd_service_config config; /* its pointers lead into the members below */
    char *state_dir, *program, *calibration_text, *evaluation_text, *evaluation_tasks, *cache_dir, *hub_url, *cgroup;
    char **launcher, **allow_net, **file_roots; /* NULL-terminated, never NULL */
    size_t launcher_count;
    qd_signer *signer;   /* NULL = artifacts are not signed */
    size_t threads_each; /* of one job's run */
} qd_settings;
qd_code qd_settings_init(const qd_service_config *config, qd_settings *out, qd_error *err);
/* Zeros that stand for a default. */
void qd_settings_fill_limits(qd_service_config *config);
void qd_settings_fini(qd_settings *settings);

#endif
