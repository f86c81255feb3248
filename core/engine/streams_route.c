/* streams_route.c: which experts the tokens of a block go to: see streams.h. */
#include "engine/streams_private.h"

#include "base/mem.h"

static size_t used(const qd_streams *s)
{
    return qd_model_borrow_config(s->model)->experts_used;
}

static const uint32_t *routes_of(const qd_streams *s, size_t sequence)
{
    return s->routes + sequence * s->length * used(s);
}

/* The router is that of the source: what decides is how the quantized stream comes to it. */
static qd_code route_task(void *ctx, size_t index, size_t worker, qd_error *err)
{
    qd_streams *s = ctx;
    qd_operand input;
    qd_code code = qd_cancel_check(s->cancel, err);
    if (code == QD_OK)
        code = qd_streams_reach(s, QD_STREAM_QUANTIZED, qd_whole(s, index), s->routed, worker, &input, err);
    if (code != QD_OK)
        return code;
    code = qd_block_route(s->block[QD_STREAM_QUANTIZED], s->routed, qd_floats_of(input), s->scratch[worker],
                          s->routes + index * s->length * used(s), err);
    qd_streams_release(s, QD_STREAM_QUANTIZED, index);
    return code;
}

static void count_traffic(qd_streams *s)
{
    memset(s->traffic, 0, qd_model_borrow_config(s->model)->experts * sizeof *s->traffic);
    for (size_t i = 0; i < s->sequences; i++) {
        size_t judged = qd_part_of(i, s->sequences) == QD_PART_JUDGE;
        for (size_t at = qd_streams_left_out(s) * used(s); at < s->length * used(s); at++) {
            qd_traffic *traffic = &s->traffic[routes_of(s, i)[at]];
            traffic->tokens++;
            traffic->judged += judged;
        }
    }
}

static qd_code reserve(qd_streams *s, qd_error *err)
{
    qd_code code = QD_OK;
    if (s->routes == NULL)
        code = qd_alloc(s->sequences * s->length * used(s), sizeof *s->routes, (void **)&s->routes, err);
    if (code == QD_OK && s->traffic == NULL)
        code = qd_alloc(qd_model_borrow_config(s->model)->experts, sizeof *s->traffic, (void **)&s->traffic, err);
    return code;
}

qd_code qd_streams_route(qd_streams *s, size_t group, qd_error *err)
{
    const qd_block *block = s->block[QD_STREAM_QUANTIZED];
    size_t place = qd_block_group_place(block, group);
    if (qd_block_group_expert(block, group) == QD_NO_EXPERT || s->routed == place)
        return QD_OK;
    qd_code code = reserve(s, err);
    s->routed = place;
    if (code == QD_OK)
        code = qd_pool_for(s->pool, s->sequences, route_task, s, err);
    if (code == QD_OK)
        count_traffic(s);
    else
        s->routed = QD_NOT_ROUTED;
    return code;
}

qd_code qd_streams_traffic(qd_streams *s, size_t group, const qd_traffic **out, qd_error *err)
{
    qd_code code = qd_streams_route(s, group, err);
    *out = s->traffic;
    return code;
}

size_t qd_streams_routed_rows(const qd_streams *s, size_t group, size_t sequence, uint32_t *out_rows)
{
    uint32_t expert = (uint32_t)qd_block_group_expert(s->block[QD_STREAM_QUANTIZED], group);
    const uint32_t *routes = routes_of(s, sequence);
    size_t count = 0;
    for (size_t t = qd_streams_left_out(s); t < s->length; t++)
        for (size_t i = 0; i < used(s); i++)
            if (routes[t * used(s) + i] == expert) {
                if (out_rows != NULL)
                    out_rows[count] = (uint32_t)t;
                count++;
            }
    return count;
}
