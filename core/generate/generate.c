/* generate.c: see generate.h. */
#include "generate/generate.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

enum { STRETCH = 16, ENDS_MAX = 16 }; /* tokens between two reports; ids that end a text */

/* What all groups share. */
typedef struct shared {
    const qd_model *model;
    const qd_generation *request;
    const qd_cancel *cancel;
    qd_block **blocks;
    size_t block_count, vocabulary;
    qd_head *head;
    int64_t ends[ENDS_MAX];
    size_t end_count;
} shared;

/* Sequences that take their steps together. */
typedef struct group {
    const shared *shared;
    size_t first;    /* of its sequences, counted over all */
    size_t position; /* of the token that comes next */
    size_t until;    /* where the stretch at hand ends */
    qd_cache **caches;
    qd_scratch *scratch;
    qd_matf_buf residual, logits; /* B x D, B x V */
    uint32_t *order;              /* V */
    uint32_t *tokens;             /* length x B: a step's tokens lie side by side */
} group;

static void shared_fini(shared *s)
{
    for (size_t i = 0; s->blocks != NULL && i < s->block_count; i++)
        qd_block_destroy(s->blocks[i]);
    free(s->blocks);
    qd_head_destroy(s->head);
}

/* eos_token_id is one id, a list of them, or not there. */
static void read_ends(const qd_model *model, shared *s)
{
    const json_t *ids = json_object_get(qd_model_borrow_text_config(model), "eos_token_id");
    if (ids == NULL)
        ids = json_object_get(qd_model_borrow_config_json(model), "eos_token_id");
    if (json_is_integer(ids))
        s->ends[s->end_count++] = json_integer_value(ids);
    for (size_t i = 0; i < json_array_size(ids) && s->end_count < ENDS_MAX; i++)
        s->ends[s->end_count++] = json_integer_value(json_array_get(ids, i));
}

static qd_code load_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    shared *s = ctx;
    (void)worker;
    qd_code code = qd_cancel_check(s->cancel, err);
    return code == QD_OK ? qd_block_load(s->model, index, NULL, QD_ARITHMETIC_FLOAT32, &s->blocks[index], err) : code;
}

static qd_code shared_init(const qd_model *model, const qd_generation *request, qd_pool *pool, const qd_cancel *cancel,
                           shared *s, qd_error *err)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    *s = (shared){ .model = model,
                   .request = request,
                   .cancel = cancel,
                   .block_count = config->blocks,
                   .vocabulary = config->vocabulary };
    read_ends(model, s);
    qd_code code = qd_alloc(s->block_count, sizeof *s->blocks, (void **)&s->blocks, err);
    if (code == QD_OK)
        code = qd_pool_for(pool, s->block_count, load_task, s, err);
    return code == QD_OK ? qd_head_load(model, &s->head, err) : code;
}

static void group_fini(group *g)
{
    for (size_t i = 0; g->caches != NULL && i < g->shared->block_count; i++)
        qd_cache_destroy(g->caches[i]);
    free(g->caches);
    qd_scratch_destroy(g->scratch);
    qd_matf_buf_fini(&g->residual);
    qd_matf_buf_fini(&g->logits);
    free(g->order);
    free(g->tokens);
}

static qd_code group_init(const shared *s, size_t first, group *g, qd_error *err)
{
    size_t length = s->request->length;
    *g = (group){ .shared = s, .first = first };
    qd_code code = qd_alloc(s->block_count, sizeof(qd_cache *), (void **)&g->caches, err);
    for (size_t i = 0; code == QD_OK && i < s->block_count; i++)
        code = qd_cache_create(s->model, i, QD_GENERATE_GROUP, length, &g->caches[i], err);
    if (code == QD_OK)
        code = qd_scratch_create(s->model, QD_GENERATE_GROUP, &g->scratch, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&g->residual, QD_GENERATE_GROUP, qd_model_borrow_config(s->model)->hidden, err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&g->logits, QD_GENERATE_GROUP, s->vocabulary, err);
    if (code == QD_OK)
        code = qd_alloc(s->vocabulary, sizeof *g->order, (void **)&g->order, err);
    if (code == QD_OK)
        code = qd_alloc(length * QD_GENERATE_GROUP, sizeof *g->tokens, (void **)&g->tokens, err);
    return code;
}

static bool is_end(const shared *s, uint32_t id)
{
    for (size_t i = 0; i < s->end_count; i++)
        if (s->ends[i] == (int64_t)id)
            return true;
    return false;
}

/* Tokenizers number bytes and specials first, then pieces in the order of their merges, then what was added. */
static uint32_t draw_piece(const shared *s, uint64_t key, size_t position)
{
    return (uint32_t)qd_rng_below(key, position, qd_max_size(s->vocabulary / 4, 1));
}

/* The number that a sequence's token is drawn by. The first after BOS: multiples of the golden section, which lie evenly
 * however many there are. */
static double number_of(const qd_generation *r, uint64_t key, size_t sequence, size_t position)
{
    static const double golden = 0.6180339887498949;
    if (position != 1)
        return qd_rng_uniform(key, position);
    double turned = qd_rng_uniform(qd_rng_key(r->seed, r->stream, UINT64_MAX), 0) + golden * (double)sequence;
    return turned - floor(turned);
}

/* The token at the group's position of its sequence b. */
static qd_code choose(group *g, size_t b, qd_error *err)
{
    const shared *s = g->shared;
    const qd_generation *r = s->request;
    size_t sequence = g->first + b, position = g->position;
    uint64_t key = qd_rng_key(r->seed, r->stream, sequence);
    uint32_t *out = &g->tokens[position * QD_GENERATE_GROUP + b], before = position == 0 ? 0 : out[-QD_GENERATE_GROUP];
    bool after_bos = position > 0 && (int64_t)before == r->bos;
    if (position == 0 || (is_end(s, before) && !after_bos))
        *out = r->bos >= 0 ? (uint32_t)r->bos : draw_piece(s, key, position);
    else if (after_bos && r->opening == QD_OPEN_PIECES)
        *out = draw_piece(s, key, position);
    else {
        qd_code code = qd_draw(&r->rule, qd_matf_row(g->logits.view, b), s->vocabulary,
                               number_of(r, key, sequence, position), g->order, out, err);
        return code == QD_OK ? QD_OK : qd_within(err, code, "sequence %zu, position %zu", sequence, position);
    }
    return QD_OK;
}

/* The predictions behind the group's position. */
static qd_code step(group *g, qd_error *err)
{
    const shared *s = g->shared;
    qd_matf residual = g->residual.view;
    qd_code code = qd_model_embed_at(s->model, g->tokens + g->position * QD_GENERATE_GROUP, g->position, residual, err);
    for (size_t i = 0; code == QD_OK && i < s->block_count; i++)
        code = qd_block_step(s->blocks[i], g->caches[i], g->position, residual, g->scratch, err);
    if (code == QD_OK)
        code = qd_model_final_norm(s->model, residual, err);
    return code == QD_OK ? qd_head_logits(s->head, qd_matf_const(residual), g->logits.view, err) : code;
}

static qd_code stretch_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    group *g = (group *)ctx + index;
    qd_code code = QD_OK;
    (void)worker;
    for (; code == QD_OK && g->position < g->until; g->position++) {
        code = qd_cancel_check(g->shared->cancel, err);
        for (size_t b = 0; code == QD_OK && b < QD_GENERATE_GROUP; b++)
            code = choose(g, b, err);
        if (code == QD_OK && g->position + 1 < g->shared->request->length)
            code = step(g, err);
    }
    return code;
}

/* Tokens of a group's sequences, as far as they are asked for, row by row. */
static void give(const group *g, uint32_t *out_ids)
{
    const qd_generation *r = g->shared->request;
    for (size_t b = 0; b < QD_GENERATE_GROUP && g->first + b < r->count; b++)
        for (size_t t = 0; t < r->length; t++)
            out_ids[(g->first + b) * r->length + t] = g->tokens[t * QD_GENERATE_GROUP + b];
}

/* `count` groups side by side, a task each, from sequence `first` on. */
static qd_code run_groups(const shared *s, size_t first, size_t count, qd_pool *pool, const qd_progress *progress,
                          uint32_t *out_ids, qd_error *err)
{
    const qd_generation *r = s->request;
    group *groups = NULL;
    qd_code code = qd_alloc(count, sizeof *groups, (void **)&groups, err);
    if (code != QD_OK)
        return code;
    size_t made = first * r->length,
           sequences = qd_min_size(count * QD_GENERATE_GROUP, r->count - first); /* as far as they are asked for */
    for (size_t i = 0; i < count; i++)
        groups[i].shared = s;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = group_init(s, first + i * QD_GENERATE_GROUP, &groups[i], err);
    for (size_t until = 0; code == QD_OK && until < r->length;) {
        until = qd_min_size(until + STRETCH, r->length);
        for (size_t i = 0; i < count; i++)
            groups[i].until = until;
        code = qd_pool_for(pool, count, stretch_task, groups, err);
        if (code == QD_OK)
            qd_progress_step(progress, made + sequences * until, r->count * r->length, "tokens");
    }
    for (size_t i = 0; i < count; i++) {
        if (code == QD_OK)
            give(&groups[i], out_ids);
        group_fini(&groups[i]);
    }
    free(groups);
    return code;
}

static qd_code check(const qd_model *model, const qd_generation *r, qd_error *err)
{
    size_t most = qd_model_borrow_config(model)->max_positions;
    if (most > 0 && r->length > most)
        return qd_fail(err, QD_EINVAL, "length %zu is beyond the model's max_position_embeddings of %zu", r->length,
                       most);
    if (r->bos >= (int64_t)qd_model_borrow_config(model)->vocabulary)
        return qd_fail(err, QD_EINVAL, "BOS %lld is not below the vocabulary of %zu", (long long)r->bos,
                       qd_model_borrow_config(model)->vocabulary);
    return QD_OK;
}

qd_code qd_generate(const qd_model *model, const qd_generation *request, qd_pool *pool, const qd_progress *progress,
                    const qd_cancel *cancel, uint32_t *out_ids, qd_error *err)
{
    shared s = { 0 };
    qd_code code = check(model, request, err);
    if (code == QD_OK)
        code = shared_init(model, request, pool, cancel, &s, err);
    size_t side_by_side = qd_pool_threads(pool);
    for (size_t first = 0; code == QD_OK && first < request->count; first += side_by_side * QD_GENERATE_GROUP) {
        size_t left = (request->count - first + QD_GENERATE_GROUP - 1) / QD_GENERATE_GROUP;
        code = run_groups(&s, first, qd_min_size(left, side_by_side), pool, progress, out_ids, err);
    }
    shared_fini(&s);
    return code;
}

uint64_t qd_generate_memory(const qd_model *model, size_t length, size_t threads)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    uint64_t weights = (uint64_t)config->vocabulary * config->hidden, widest = config->hidden, caches = 0;
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        weights += (uint64_t)linear->out * linear->in;
        widest = qd_max_size(widest, qd_max_size(linear->in, linear->out));
    }
    for (size_t i = 0; i < config->blocks; i++)
        caches += qd_cache_bytes(model, i, QD_GENERATE_GROUP, length);
    uint64_t rows = QD_GENERATE_GROUP * (6 * widest + config->vocabulary + length) + config->vocabulary;
    return sizeof(float) * weights + threads * (caches + sizeof(float) * rows);
}
