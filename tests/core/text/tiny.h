/* tiny.h: small tokenizers that the text tests write themselves.
 * A file is put together from the parts a test cares about; NULL parts are null. */
#ifndef QD_TESTS_TINY_H
#define QD_TESTS_TINY_H

#include "check.h"

#include "base/str.h"
#include "text/tokenizer.h"

typedef struct tiny {
    const char *normalizer, *pre_tokenizer, *post_processor, *decoder; /* JSON */
    const char *added;                                                 /* JSON of the list's items */
    const char *vocab;                                                 /* items of the object: "a":0,"b":1 */
    const char *merges;                                                /* items of the array */
    const char *options; /* further fields of the model, with a comma in front: ,"fuse_unk":true */
} tiny;

static inline const char *or_null(const char *json)
{
    return json == NULL ? "null" : json;
}

static inline void tiny_write(const tiny *t, qd_str *out)
{
    qd_str_addf(out, "{\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,",
                t->added == NULL ? "" : t->added, or_null(t->normalizer), or_null(t->pre_tokenizer),
                or_null(t->post_processor));
    qd_str_addf(out, "\"decoder\":%s,\"model\":{\"type\":\"BPE\",\"vocab\":{%s},\"merges\":[%s]%s}}",
                or_null(t->decoder), t->vocab == NULL ? "" : t->vocab, t->merges == NULL ? "" : t->merges,
                t->options == NULL ? "" : t->options);
}

static inline qd_code tiny_parse(const tiny *t, qd_tokenizer **out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str json = { 0 };
    tiny_write(t, &json);
    return qd_tokenizer_parse(qd_str_borrow(&json), json.length, out, err);
}

static inline qd_tokenizer *tiny_open(tiny t)
{
    qd_error err = { 0 };
    qd_tokenizer *tokenizer = NULL;
    check_ok(tiny_parse(&t, &tokenizer, &err));
    return tokenizer;
}

/* The ids of `text` as "1 2 3", in a static buffer. */
static inline const char *ids_of_bytes(const qd_tokenizer *tokenizer, const char *text, size_t length,
                                       qd_special special)
{
    static char line[4096];
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    size_t used = 0;
    check_ok(qd_tokenizer_encode(tokenizer, text, length, special, &ids, &err));
    line[0] = '\0';
    for (size_t i = 0; i < ids.count && used < sizeof line - 12; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, i == 0 ? "%u" : " %u", ids.data[i]);
    return line;
}

static inline const char *ids_of(const qd_tokenizer *tokenizer, const char *text)
{
    return ids_of_bytes(tokenizer, text, strlen(text), QD_SPECIAL_NONE);
}

/* decode() of the listed ids, in a static buffer. */
static inline const char *text_of(const qd_tokenizer *tokenizer, const uint32_t *ids, size_t count)
{
    static char line[4096];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    check_ok(qd_tokenizer_decode(tokenizer, ids, count, &text, &err));
    assert_true(text.length < sizeof line);
    snprintf(line, sizeof line, "%s", qd_str_borrow(&text));
    return line;
}

#endif
