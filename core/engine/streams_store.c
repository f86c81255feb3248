/* streams_store.c: where the streams are between two groups: see streams.h. One file, mapped, or memory; of every stream first the residuals, then room for
 * the inputs of one group, which lie side by side as they come: rows of a sequence without gaps, sequences at equal distances. */
#include "engine/streams_private.h"

#include "linalg/half.h"
#include "linalg/rows.h"

static bool is_rounded(const qd_streams *s)
{
    return s->way.arithmetic == QD_ARITHMETIC_BFLOAT16;
}

static size_t bytes_of_value(const qd_streams *s)
{
    return is_rounded(s) ? sizeof(uint16_t) : sizeof(float);
}

qd_code qd_streams_reserve(qd_streams *s, const char *work_dir, qd_error *err)
{
    size_t hidden = qd_model_borrow_config(s->model)->hidden, tokens = s->sequences * s->length;
    size_t residual = tokens * hidden * sizeof(float), input = tokens * s->widest_kept * bytes_of_value(s);
    size_t streams = QD_STREAM_COUNT - qd_streams_first(s);
    qd_code code = qd_scratch_file_init(&s->file, work_dir, streams * (residual + input), "activations", err);
    for (size_t i = 0; code == QD_OK && i < streams; i++) {
        unsigned char *memory = (unsigned char *)s->file.data + i * (residual + input);
        s->residual[qd_streams_first(s) + i] = qd_matf_view((float *)(void *)memory, tokens, hidden);
        s->input[qd_streams_first(s) + i].data = memory + residual;
    }
    return code;
}

/* Of row `first` of a sequence. */
static unsigned char *place_of(const qd_streams *s, size_t stream, size_t sequence, size_t first, size_t width)
{
    size_t values = sequence * s->length * s->widest_kept + first * width;
    return s->input[stream].data + values * bytes_of_value(s);
}

static void advise(const qd_streams *s, size_t stream, size_t sequence, void (*advice)(const void *from, size_t size))
{
    qd_matf residual = qd_sequence_rows(s->residual[stream], sequence, s->length);
    if (s->file.folder == NULL)
        return;
    advice(residual.data, residual.rows * residual.ld * sizeof(float));
    advice(place_of(s, stream, sequence, 0, 0), s->length * s->input[stream].width * bytes_of_value(s));
}

void qd_streams_expect(const qd_streams *s, size_t stream, size_t sequence)
{
    if (sequence < s->sequences)
        advise(s, stream, sequence, qd_pages_expect);
}

void qd_streams_release(const qd_streams *s, size_t stream, size_t sequence)
{
    advise(s, stream, sequence, qd_pages_release);
}

qd_matf qd_streams_input_room(const qd_streams *s, size_t stream, qd_span span, size_t width, qd_matf room)
{
    if (is_rounded(s))
        return qd_matf_view(room.data, span.count, width);
    return qd_matf_view((float *)(void *)place_of(s, stream, span.sequence, span.first, width), span.count, width);
}

void qd_streams_keep(qd_streams *s, size_t stream, qd_span span, qd_cmatf rows)
{
    unsigned char *place = place_of(s, stream, span.sequence, span.first, rows.cols);
    for (size_t t = 0; is_rounded(s) && t < rows.rows; t++)
        qd_rows_best()->narrow(qd_cmatf_row(rows, t), rows.cols, (uint16_t *)(void *)place + t * rows.cols);
    if (!is_rounded(s) && (const void *)rows.data != (const void *)place)
        qd_rows_copy(rows, qd_matf_view((float *)(void *)place, rows.rows, rows.cols));
}

void qd_streams_input(const qd_streams *s, qd_stream stream, size_t sequence, size_t first, qd_matf out)
{
    const unsigned char *place = place_of(s, stream, sequence, first, out.cols);
    assert(out.cols == s->input[stream].width && first + out.rows <= s->length);
    for (size_t t = 0; is_rounded(s) && t < out.rows; t++)
        qd_bf16_to_floats((const uint16_t *)(const void *)place + t * out.cols, out.cols, qd_matf_row(out, t));
    if (!is_rounded(s))
        qd_rows_copy(qd_cmatf_view((const float *)(const void *)place, out.rows, out.cols), out);
}

qd_operand qd_streams_kept(const qd_streams *s, size_t stream, qd_span span, qd_matf room)
{
    bool routed = qd_block_group_expert(s->block[stream], s->stored) != QD_NO_EXPERT;
    if (is_rounded(s) && !routed)
        return qd_operand_halves(qd_streams_halves(s, stream, span));
    qd_matf out = qd_streams_input_room(s, stream, span, s->input[stream].width, room);
    if (is_rounded(s))
        qd_streams_input(s, (qd_stream)stream, span.sequence, span.first, out);
    return qd_operand_floats(qd_matf_const(out));
}

bool qd_streams_in_one_piece(const qd_streams *s, size_t stream, size_t first, size_t count, qd_cmatf *out)
{
    size_t width = s->input[stream].width;
    if (is_rounded(s) || (width != s->widest_kept && count > 1))
        return false;
    *out = qd_cmatf_view((const float *)(const void *)place_of(s, stream, first, 0, width), count * s->length, width);
    return true;
}

qd_cmath qd_streams_halves(const qd_streams *s, size_t stream, qd_span span)
{
    size_t width = s->input[stream].width;
    assert(is_rounded(s) && span.first + span.count <= s->length);
    return qd_cmath_view((const uint16_t *)(const void *)place_of(s, stream, span.sequence, span.first, width),
                         span.count, width);
}

void qd_streams_round(const qd_streams *s, qd_matf input)
{
    for (size_t t = 0; is_rounded(s) && t < input.rows; t++)
        qd_rows_best()->round(qd_matf_row(input, t), input.cols, qd_matf_row(input, t));
}
