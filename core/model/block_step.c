/* block_step.c: keys and values of sequences that grow token by token: see arch.h. A step takes the same walk as a whole
 * sequence; only its attention looks elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/block_private.h"

struct qd_cache {
    qd_matf_buf keys, values; /* sequence after sequence, T x KV hd each */
    const qd_rope *rope;      /* NULL: this block rotates nothing */
    qd_matf_buf cosine, sine; /* T x r/2 */
    qd_matf_buf scores;       /* H / KV x T: of one sequence and key/value head at a time */
    size_t sequences, most, next;
};

void qd_cache_destroy(qd_cache *cache)
{
    if (cache == NULL)
        return;
    qd_matf_buf *parts[] = { &cache->keys, &cache->values, &cache->cosine, &cache->sine, &cache->scores };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
    free(cache);
}

static const qd_rope *rope_of(const qd_decoder *d, size_t block)
{
    return d->layers[block].rope == QD_NO_ROPE ? NULL : &d->ropes[d->layers[block].rope];
}

static qd_code init_parts(const qd_decoder *d, qd_cache *c, qd_error *err)
{
    size_t rows, half = c->rope == NULL ? 0 : c->rope->dimensions / 2;
    if (!qd_mul_size(c->sequences, c->most, &rows))
        return qd_fail(err, QD_ETOOBIG, "%zu sequences of %zu tokens", c->sequences, c->most);
    const struct {
        qd_matf_buf *buf;
        size_t rows, cols;
    } parts[] = {
        { &c->keys, rows, d->kv_heads * d->head_dim },
        { &c->values, rows, d->kv_heads * d->head_dim },
        { &c->cosine, c->most, half },
        { &c->sine, c->most, half },
        { &c->scores, d->heads / d->kv_heads, c->most },
    };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++)
        if (parts[i].cols != 0)
            code = qd_matf_buf_init(parts[i].buf, parts[i].rows, parts[i].cols, err);
    if (code == QD_OK && c->rope != NULL)
        qd_rope_tables(c->rope, c->most, c->cosine.view, c->sine.view);
    return code;
}

qd_code qd_cache_create(const qd_model *model, size_t block, size_t sequences, size_t max_tokens, qd_cache **out,
                        qd_error *err)
{
    const qd_decoder *d = qd_model_decoder(model);
    qd_cache *c = NULL;
    qd_code code = qd_model_need_forward(model, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *c, (void **)&c, err);
    if (code != QD_OK)
        return code;
    *c = (qd_cache){ .rope = rope_of(d, block), .sequences = sequences, .most = max_tokens };
    code = init_parts(d, c, err);
    if (code != QD_OK) {
        qd_cache_destroy(c);
        return code;
    }
    *out = c;
    return QD_OK;
}

uint64_t qd_cache_bytes(const qd_model *model, size_t block, size_t sequences, size_t max_tokens)
{
    const qd_decoder *d = qd_model_decoder(model);
    const qd_rope *rope = rope_of(d, block);
    uint64_t kept = 2ull * sequences * d->kv_heads * d->head_dim, tables = rope == NULL ? 0 : rope->dimensions;
    return sizeof(float) * max_tokens * (kept + tables + d->heads / d->kv_heads);
}

/* One row of a table, as often as there are sequences: they all stand at the same position. */
static qd_cmatf repeated(const qd_matf_buf *table, size_t row, size_t times)
{
    return (qd_cmatf){ times, table->view.cols, 0, qd_matf_row(table->view, row) };
}

void qd_step_attend(const qd_step *step, const qd_attention *attention, const qd_heads *heads, qd_matf out)
{
    qd_cache *c = step->cache;
    qd_matf q = heads->q, k = heads->k, v = heads->v;
    if (c->rope != NULL) {
        qd_cmatf cosine = repeated(&c->cosine, step->position, q.rows),
                 sine = repeated(&c->sine, step->position, q.rows);
        qd_rope_apply(c->rope, cosine, sine, attention->head_dim, q);
        qd_rope_apply(c->rope, cosine, sine, attention->head_dim, k);
    }
    for (size_t b = 0; b < q.rows; b++) {
        size_t first = b * c->most, seen = step->position + 1;
        memcpy(qd_matf_row(c->keys.view, first + step->position), qd_matf_row(k, b), k.cols * sizeof(float));
        memcpy(qd_matf_row(c->values.view, first + step->position), qd_matf_row(v, b), v.cols * sizeof(float));
        qd_attention_last(attention, qd_matf_const(qd_matf_block(q, b, 0, 1, q.cols)),
                          qd_matf_const(qd_matf_block(c->keys.view, first, 0, seen, k.cols)),
                          qd_matf_const(qd_matf_block(c->values.view, first, 0, seen, v.cols)), c->scores.view,
                          qd_matf_block(out, b, 0, 1, out.cols));
    }
}

static qd_code check_place(const qd_cache *cache, size_t position, size_t rows, qd_error *err)
{
    if (rows != cache->sequences)
        return qd_fail(err, QD_ESHAPE, "a step of %zu sequences, the cache holds %zu", rows, cache->sequences);
    if (position >= cache->most)
        return qd_fail(err, QD_ESHAPE, "position %zu, the cache holds %zu tokens a sequence", position, cache->most);
    if (position != cache->next)
        return qd_fail(err, QD_EINVAL, "position %zu, the next one is %zu", position, cache->next);
    return QD_OK;
}

qd_code qd_block_step(const qd_block *block, qd_cache *cache, size_t position, qd_matf residual, qd_scratch *scratch,
                      qd_error *err)
{
    const qd_step step = { cache, position };
    qd_code code = check_place(cache, position, residual.rows, err);
    if (code != QD_OK)
        return code;
    cache->next = position + 1;
    scratch->step = &step;
    code = qd_block_forward(block, residual, scratch, err);
    scratch->step = NULL;
    return code;
}
