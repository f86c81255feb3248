/* peek_item.h: the header of one weight file, in a sparse file of the weight file's size.
 * Room: server/fetch, private to it. May use: base, libcurl.
 * Threads: as qd_item_obtain. */
#ifndef QD_FETCH_PEEK_ITEM_H
#define QD_FETCH_PEEK_ITEM_H

#include "fetch/run.h"

/* A new folder below the cache, under a name that is swept when a week old. Heap string. */
qd_code qd_peek_folder(const qd_cache *cache, char **out, qd_error *err);

/* Is this a weight file of a run that wants headers only? */
qd_same qd_peek_takes(const qd_fetch_run *run, const qd_item *item);
/* From its URL, by ranges. Afterwards the item is present or absent; present, its origin says whether the cache has the whole file. */
qd_code qd_peek_item(qd_fetch_run *run, qd_line *line, qd_item *item, qd_error *err);
/* From an open local file. */
qd_code qd_peek_local(qd_fetch_run *run, const char *path, int fd, const struct stat *info, qd_item *item,
                      qd_error *err);

#endif
