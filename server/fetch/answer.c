/* answer.c: see answer.h. */
#include "fetch/answer.h"

#include "base/clock.h"
#include "base/rng.h"
#include "fetch/retry.h"
#include "fetch/s3_xml.h"

typedef struct bowl {
    qd_str *body;
    size_t limit;
} bowl;

static qd_code begin(void *ctx, const qd_reply_head *head, qd_wanted *out_wanted, qd_error *err)
{
    const bowl *b = ctx;
    (void)head, (void)err;
    qd_str_clear(b->body);
    *out_wanted = QD_BODY_TAKE;
    return QD_OK;
}

static qd_code take_bytes(void *ctx, const void *bytes, size_t length, qd_error *err)
{
    const bowl *b = ctx;
    if (length > b->limit - b->body->length)
        return qd_fail(err, QD_ETOOBIG, "the answer is larger than %zu bytes", b->limit);
    qd_str_add_bytes(b->body, bytes, length);
    return qd_str_check(b->body, err);
}

void qd_answer_fini(qd_answer *answer)
{
    qd_str_fini(&answer->body);
}

qd_code qd_answer_once(qd_line *line, const qd_egress *egress, const qd_ask *ask, size_t limit, qd_answer *answer,
                       qd_trouble *out_trouble, qd_error *err)
{
    bowl b = { .body = &answer->body, .limit = limit };
    const qd_body_sink sink = { .begin = begin, .bytes = take_bytes, .ctx = &b };
    qd_str_clear(&answer->body);
    return qd_transfer(line, egress, ask, &sink, &answer->head, out_trouble, err);
}

qd_code qd_answer_fail(const qd_answer *answer, qd_code code, qd_error *err)
{
    char word[80];
    bool said =
        qd_s3_read_text(qd_str_borrow(&answer->body), answer->body.length, "Code", word, sizeof word) == QD_SAME;
    for (char *p = word; said && *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    return qd_fail(err, code, "status %ld%s%s", answer->head.status, said ? ": " : "", said ? word : "");
}

qd_code qd_answer_get(const qd_fetcher *fetcher, qd_line *line, const qd_egress *egress, const qd_ask *ask,
                      size_t limit, qd_answer *answer, qd_error *err)
{
    qd_retry retry;
    qd_retry_init(&retry, fetcher->retries, fetcher->retry_base_seconds,
                  qd_rng_key((uint64_t)qd_clock_wall_ms(), (uintptr_t)answer, 0));
    for (;;) {
        qd_trouble trouble;
        qd_code code = qd_answer_once(line, egress, ask, limit, answer, &trouble, err);
        if (code == QD_OK && qd_retry_status(answer->head.status) == QD_TRY_AGAIN) {
            trouble = QD_TROUBLE_BROKEN;
            code = qd_answer_fail(answer, QD_ENETWORK, err);
        }
        if (code == QD_OK || trouble == QD_TROUBLE_FINAL)
            return code;
        qd_again again = trouble == QD_TROUBLE_UNREACHABLE ? qd_retry_unreachable(&retry) : qd_retry_count(&retry, 0);
        if (again == QD_GIVE_UP)
            return qd_within(err, code, "after %u tries", retry.tries);
        code = qd_retry_sleep(qd_retry_pause(&retry, answer->head.retry_after), egress->cancel, egress->stop, err);
        if (code != QD_OK)
            return code;
    }
}
