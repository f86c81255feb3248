/* peek.h: what a model is, without its weights: for a plan that is made before anything is downloaded.
 * Room: server/fetch. May use: base, libcurl.
 * Threads: as qd_fetch_model.
 *
 * Configuration, index and tokenizer come whole, into the cache, as they would for a job. Of a weight file come the header and no more than 16 KiB
 * beyond it (a GGUF, which does not say how long its header is: as much again at most), by requests for ranges. */
#ifndef QD_FETCH_PEEK_H
#define QD_FETCH_PEEK_H

#include "fetch/fetch.h"

typedef struct qd_peeked {
    char *
        folder; /* a model folder below the cache, in which weight files have their header and a hole of the right size; fini removes it */
    json_t *resolved;        /* as qd_fetched.resolved; sha256 is null where nothing but the content tells it */
    uint64_t model_bytes;    /* of all files */
    uint64_t download_bytes; /* of weights that the cache has not */
    uint64_t read_bytes;     /* bodies transferred now */
} qd_peeked;
void qd_peeked_fini(qd_peeked *peeked);

/* Failures as qd_fetch_model has them, under the same policy and limits; free space is not judged. QD_EUNSUPPORTED: a server that does not say
 * how large a weight file is. */
qd_code qd_fetch_peek(qd_fetcher *fetcher, const qd_fetch_request *request, const qd_cancel *cancel, qd_peeked *out,
                      qd_error *err);

#endif
