/* key_json.h: API keys as clients see them, and what they may ask for.
 * Room: server/api. May use: core, jobs, jansson.
 * Threads: any. */
#ifndef QD_API_KEY_JSON_H
#define QD_API_KEY_JSON_H

#include "jobs/keys.h"

/* {"id","name","scopes",...}; with `text`, which is shown once, also "key". New reference; NULL only when out of memory. */
json_t *qd_key_print(const qd_key *key, const char *text);
/* {"name","scopes":[..],"expires_in","rate_per_minute","queue_quota","disk_quota"}: the first two are required, null is as good as
 * absent. Strings are borrowed from the body. QD_EINVAL: *issues has a pointer for each finding. */
qd_code qd_key_wish_parse(const json_t *body, qd_key_wish *out, qd_issues *issues, qd_error *err);

#endif
