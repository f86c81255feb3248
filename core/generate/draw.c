/* draw.c: see draw.h. */
#include "generate/draw.h"

#include "linalg/vexp.h"

/* Likelier, or as likely with the lower id. */
static bool before(const float *weights, uint32_t a, uint32_t b)
{
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
}

static void sink(const float *weights, uint32_t *heap, size_t count, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(weights, heap[child + 1], heap[child]))
            child++;
        if (!before(weights, heap[child], heap[at]))
            return;
        uint32_t moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

/* The next of `count` in order of likelihood; it moves behind the heap, which so ends up sorted from its end. */
static uint32_t take_likeliest(const float *weights, uint32_t *heap, size_t count)
{
    uint32_t top = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = top;
    sink(weights, heap, count - 1, 0);
    return top;
}

static uint32_t draw_of_all(const float *weights, size_t words, double u)
{
    double total = 0, sum = 0;
    size_t last = 0;
    for (size_t i = 0; i < words; i++)
        total += (double)weights[i];
    for (size_t i = 0; i < words; i++) {
        sum += (double)weights[i];
        if (weights[i] > 0)
            last = i;
        if (sum > u * total)
            break;
    }
    return (uint32_t)last;
}

static uint32_t draw_of_likeliest(const qd_draw_rule *rule, const float *weights, size_t words, double u,
                                  uint32_t *heap)
{
    size_t most = rule->top_k > 0 && rule->top_k < words ? rule->top_k : words, count = 0;
    double total = 0, kept = 0, sum = 0;
    for (size_t i = 0; i < words; i++) {
        heap[i] = (uint32_t)i;
        total += (double)weights[i];
    }
    for (size_t i = words / 2; i-- > 0;)
        sink(weights, heap, words, i);
    while (count < most && (count == 0 || kept < rule->top_p * total)) {
        kept += (double)weights[take_likeliest(weights, heap, words - count)];
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        sum += (double)weights[heap[words - 1 - i]];
        if (sum > u * kept)
            return heap[words - 1 - i];
    }
    return heap[words - count];
}

static uint32_t likeliest(const float *logits, size_t words)
{
    size_t best = 0;
    for (size_t i = 1; i < words; i++)
        best = logits[i] > logits[best] ? i : best;
    return (uint32_t)best;
}

qd_code qd_draw(const qd_draw_rule *rule, float *logits, size_t words, double u, uint32_t *order, uint32_t *out,
                qd_error *err)
{
    if (!qd_all_finite(logits, words))
        return qd_fail(err, QD_ENUMERIC, "the model's prediction is not finite");
    if (rule->temperature == 0) {
        *out = likeliest(logits, words);
        return QD_OK;
    }
    for (size_t i = 0; rule->temperature != 1 && i < words; i++)
        logits[i] = (float)((double)logits[i] / rule->temperature);
    qd_softmax_row(logits, words);
    *out = rule->top_k == 0 && rule->top_p >= 1 ? draw_of_all(logits, words, u)
                                                : draw_of_likeliest(rule, logits, words, u, order);
    return QD_OK;
}
