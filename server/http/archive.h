/* archive.h: an artifact as one tar file that is nowhere on a disk: any part of it is made when it is read.
 * Room: server/http. May use: base, jobs. Never: MHD.
 * Threads: an archive belongs to one thread at a time.
 *
 * Same artifact, same bytes: files by path, owner 0, the time the job was finished. So it has a strong tag and can be
 * read on after a break. One file is open at a time. */
#ifndef QD_HTTP_ARCHIVE_H
#define QD_HTTP_ARCHIVE_H

#include <sys/types.h>

#include "http/validator.h"

typedef struct qd_archive qd_archive;

/* Takes the artifact, even on failure. */
qd_code qd_archive_create_take(qd_artifact *artifact, qd_archive **out, qd_error *err);
void qd_archive_destroy(qd_archive *archive); /* NULL is fine */
uint64_t qd_archive_length(const qd_archive *archive);
qd_code qd_archive_tag(const qd_archive *archive, char out[QD_ETAG_LENGTH], qd_error *err);

/* Some bytes at `position`: at least one, at most `room`. 0: the end. -1: a file is not what was published. */
ssize_t qd_archive_read(qd_archive *archive, uint64_t position, char *out, size_t room);

#endif
