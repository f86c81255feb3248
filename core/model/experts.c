/* experts.c: see experts.h. */
#include "model/experts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/rows.h"
#include "linalg/vexp.h"

void qd_expert_room_fini(qd_expert_room *room)
{
    qd_matf_buf *parts[] = { &room->probabilities, &room->picked, &room->sum, &room->gate, &room->up };
    for (size_t i = 0; i < QD_LENGTH(parts); i++)
        qd_matf_buf_fini(parts[i]);
    free(room->experts);
    free(room->shares);
    free(room->rows);
    free(room->order);
    free(room->first);
    *room = (qd_expert_room){ 0 };
}

static qd_code init_lists(qd_expert_room *room, size_t places, size_t experts, qd_error *err)
{
    qd_code code = qd_alloc(places, sizeof *room->experts, (void **)&room->experts, err);
    if (code == QD_OK)
        code = qd_alloc(places, sizeof *room->shares, (void **)&room->shares, err);
    if (code == QD_OK)
        code = qd_alloc(places, sizeof *room->rows, (void **)&room->rows, err);
    if (code == QD_OK)
        code = qd_alloc(places, sizeof *room->order, (void **)&room->order, err);
    return code == QD_OK ? qd_alloc(experts + 1, sizeof *room->first, (void **)&room->first, err) : code;
}

qd_code qd_expert_room_init(size_t tokens, size_t hidden, size_t features, size_t experts, size_t used,
                            qd_expert_room *out, qd_error *err)
{
    qd_expert_room room = { 0 };
    const struct {
        qd_matf_buf *buf;
        size_t cols;
    } parts[] = {
        { &room.probabilities, experts }, { &room.picked, hidden }, { &room.sum, hidden },
        { &room.gate, features },         { &room.up, features },
    };
    qd_code code = init_lists(&room, tokens * used, experts, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(parts); i++)
        code = qd_matf_buf_init(parts[i].buf, tokens, parts[i].cols, err);
    if (code != QD_OK) {
        qd_expert_room_fini(&room);
        return code;
    }
    *out = room;
    return QD_OK;
}

/* The k largest of a row, as ascending numbers. Values that are no numbers lose to nothing and win over nothing: k
 * different experts are chosen all the same. */
static void choose_row(const float *probability, size_t experts, size_t used, uint32_t *out)
{
    for (size_t n = 0; n < used; n++) {
        size_t best = experts;
        for (size_t e = 0, taken = 0; e < experts; e++) {
            if (taken < n && out[taken] == e) /* `out` is ascending */
                taken++;
            else if (best == experts || probability[e] > probability[best])
                best = e;
        }
        size_t at = n;
        for (; at > 0 && out[at - 1] > best; at--)
            out[at] = out[at - 1];
        out[at] = (uint32_t)best;
    }
}

void qd_mixture_choose(const qd_mixture *mixture, qd_cmatf input, qd_matf probabilities, uint32_t *out_experts,
                       float *out_shares)
{
    size_t experts = mixture->router->weight.view.rows, used = mixture->used;
    qd_matf p = qd_matf_block(probabilities, 0, 0, input.rows, experts);
    qd_dense_apply(mixture->router, qd_operand_floats(input), QD_SET, p);
    for (size_t t = 0; t < input.rows; t++) {
        uint32_t *chosen = out_experts + t * used;
        float *share = out_shares + t * used, sum = 0;
        qd_softmax_row(qd_matf_row(p, t), experts);
        choose_row(qd_matf_row(p, t), experts, used, chosen);
        for (size_t i = 0; i < used; i++) {
            share[i] = qd_matf_row(p, t)[chosen[i]];
            sum += share[i];
        }
        for (size_t i = 0; mixture->routing == QD_ROUTING_RENORMALIZED && i < used; i++)
            share[i] /= sum;
    }
}

void qd_mixture_gate(const qd_mixture *mixture, size_t expert, qd_cmatf x, qd_matf up, qd_matf out)
{
    const qd_dense *const *own = mixture->linears + QD_EXPERT_LAYERS * expert;
    const qd_dense *const dense[] = { own[QD_EXPERT_GATE], own[QD_EXPERT_UP] };
    if (qd_dense_apply_gated(dense[0], dense[1], qd_operand_floats(x), mixture->activation->multiply, out))
        return;
    qd_dense_apply_all(dense, QD_LENGTH(dense), qd_operand_floats(x), (const qd_matf[]){ out, up });
    for (size_t t = 0; t < out.rows; t++)
        mixture->activation->multiply(qd_matf_row(out, t), qd_matf_row(up, t), out.cols);
}

/* Rows of each expert, ascending: a counting sort. */
static void sort_by_expert(qd_expert_room *room, size_t tokens, size_t used, size_t experts)
{
    memset(room->first, 0, (experts + 1) * sizeof *room->first);
    for (size_t i = 0; i < tokens * used; i++)
        room->first[room->experts[i] + 1]++;
    for (size_t e = 0; e < experts; e++)
        room->first[e + 1] += room->first[e];
    for (size_t i = 0; i < tokens * used; i++) {
        uint32_t at = room->first[room->experts[i]]++;
        room->rows[at] = (uint32_t)(i / used);
        room->order[at] = (uint32_t)i;
    }
    memmove(room->first + 1, room->first, experts * sizeof *room->first); /* each had moved to where the next begins */
    room->first[0] = 0;
}

static void add_expert(const qd_mixture *mixture, size_t expert, qd_cmatf input, qd_expert_room *room, qd_matf out)
{
    size_t begin = room->first[expert], count = room->first[expert + 1] - begin;
    qd_matf picked = qd_matf_block(room->picked.view, 0, 0, count, input.cols);
    qd_matf gate = qd_matf_block(room->gate.view, 0, 0, count, room->gate.view.cols);
    qd_matf up = qd_matf_block(room->up.view, 0, 0, count, room->up.view.cols);
    qd_matf sum = qd_matf_block(room->sum.view, 0, 0, count, input.cols);
    const qd_rows *f = qd_rows_best();
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        memcpy(qd_matf_row(picked, i), qd_cmatf_row(input, room->rows[begin + i]), input.cols * sizeof(float));
    qd_mixture_gate(mixture, expert, qd_matf_const(picked), up, gate);
    qd_dense_apply(mixture->linears[QD_EXPERT_LAYERS * expert + QD_EXPERT_DOWN], qd_operand_floats(qd_matf_const(gate)),
                   QD_SET, sum);
    for (size_t i = 0; i < count; i++) {
        float share = room->shares[room->order[begin + i]];
        f->add(share, qd_matf_row(sum, i), input.cols, qd_matf_row(out, room->rows[begin + i]));
    }
}

void qd_mixture_add(const qd_mixture *mixture, qd_cmatf input, qd_expert_room *room, qd_matf out)
{
    size_t experts = mixture->router->weight.view.rows;
    qd_mixture_choose(mixture, input, room->probabilities.view, room->experts, room->shares);
    sort_by_expert(room, input.rows, mixture->used, experts);
    for (size_t e = 0; e < experts; e++)
        add_expert(mixture, e, input, room, out);
}
