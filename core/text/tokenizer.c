/* tokenizer.c: opening a tokenizer; see tokenizer.h. The pipeline itself is in encode.c and decode.c.
 * `truncation` and `padding` of the file are not read: they are settings of some caller, not of the vocabulary. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/nul_text.h"
#include "text/tokenizer_private.h"

enum { DEPTH = 32 };

void qd_tokenizer_destroy(qd_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    qd_chain_fini(&tokenizer->normalizer);
    qd_chain_fini(&tokenizer->pre_tokenizer);
    qd_chain_fini(&tokenizer->decoder);
    qd_added_tokens_fini(&tokenizer->added);
    qd_post_processor_fini(&tokenizer->post);
    if (tokenizer->model != NULL)
        tokenizer->model->destroy(tokenizer->model_state);
    qd_vocab_fini(&tokenizer->vocab);
    free(tokenizer->added_by_id);
    free(tokenizer);
}

static qd_code parse_steps(qd_tokenizer *t, const json_t *file, qd_error *err)
{
    const json_t *decoder = json_object_get(file, "decoder");
    qd_code code = qd_chain_parse(&qd_normalizers, json_object_get(file, "normalizer"), &t->normalizer, err);
    if (code == QD_OK)
        code = qd_chain_parse(&qd_pre_tokenizers, json_object_get(file, "pre_tokenizer"), &t->pre_tokenizer, err);
    if (code == QD_OK)
        code = qd_chain_parse(&qd_decoders, decoder, &t->decoder, err);
    if (code == QD_OK)
        code = qd_added_tokens_parse(json_object_get(file, "added_tokens"), &t->vocab, &t->normalizer, &t->added, err);
    if (code == QD_OK)
        code = qd_post_processor_parse(json_object_get(file, "post_processor"), &t->post, err);
    t->decodes_plainly = decoder == NULL || json_is_null(decoder);
    return code;
}

static qd_code index_added(qd_tokenizer *t, qd_error *err)
{
    t->vocabulary = t->vocab.count;
    for (size_t i = 0; i < t->added.count; i++)
        t->vocabulary = qd_max_size(t->vocabulary, (size_t)t->added.items[i].id + 1);
    if (t->vocabulary == 0)
        return qd_fail(err, QD_EFORMAT, "the vocabulary is empty");
    qd_code code = qd_alloc(t->vocabulary, sizeof *t->added_by_id, (void **)&t->added_by_id, err);
    for (size_t i = 0; code == QD_OK && i < t->added.count; i++)
        t->added_by_id[t->added.items[i].id] = &t->added.items[i];
    return code;
}

/* Ids that the post-processor adds must be tokens, as everybody will look them up in the model. */
static qd_code check_post(const qd_tokenizer *t, const qd_ids *ids, qd_error *err)
{
    size_t length;
    for (size_t i = 0; i < ids->count; i++)
        if (ids->data[i] >= t->vocabulary ||
            (t->added_by_id[ids->data[i]] == NULL && qd_vocab_text(&t->vocab, ids->data[i], &length) == NULL))
            return qd_fail(err, QD_EFORMAT, "post_processor: the id %u is not in the vocabulary", ids->data[i]);
    return QD_OK;
}

static qd_code parse_file(qd_tokenizer *t, const json_t *file, qd_error *err)
{
    const json_t *model = json_object_get(file, "model");
    const qd_word_model *row = NULL;
    qd_code code = qd_word_model_find(model, &row, err);
    if (code == QD_OK)
        code = row->parse(model, &t->vocab, &t->model_state, err);
    if (code != QD_OK)
        return row == NULL ? code : qd_within(err, code, "model %s", row->name);
    t->model = row;
    code = parse_steps(t, file, err);
    if (code == QD_OK)
        code = index_added(t, err);
    if (code == QD_OK)
        code = check_post(t, &t->post.before, err);
    if (code == QD_OK)
        code = check_post(t, &t->post.behind, err);
    t->bos = t->post.before.count > 0 ? (int64_t)t->post.before.data[0] : -1;
    return code;
}

qd_code qd_tokenizer_parse(const char *json, size_t length, qd_tokenizer **out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *file = NULL;
    QD_AUTO(qd_str_fini) qd_str hidden = { 0 };
    bool hides_nul;
    qd_tokenizer *t = NULL;
    qd_code code = qd_nul_hide(json, length, &hidden, &hides_nul, err);
    if (code == QD_OK && hides_nul)
        code = qd_json_parse_object(qd_str_borrow(&hidden), hidden.length, DEPTH, &file, err);
    else if (code == QD_OK)
        code = qd_json_parse_object(json, length, DEPTH, &file, err);
    if (code == QD_OK)
        code = qd_alloc(1, sizeof *t, (void **)&t, err);
    if (code == QD_OK) {
        t->vocab.hides_nul = hides_nul;
        code = parse_file(t, file, err);
    }
    if (code == QD_OK)
        *out = t;
    else
        qd_tokenizer_destroy(t);
    return code;
}

/* bos_token: "<s>" or {"content": "<s>", ...}. A name that is no token says nothing: some folders carry one. */
static void read_bos(qd_tokenizer *t, const json_t *config)
{
    const json_t *value = json_object_get(config, "bos_token");
    const char *name = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    uint32_t id;
    if (name == NULL)
        return;
    const qd_added_token *added = qd_added_tokens_find(&t->added, name);
    if (added != NULL)
        t->bos = added->id;
    else if (qd_vocab_find(&t->vocab, name, strlen(name), &id))
        t->bos = id;
}

qd_code qd_tokenizer_configure(qd_tokenizer *tokenizer, const char *json, size_t length, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *config = NULL;
    qd_code code = qd_json_parse_object_wide(json, length, DEPTH, &config, err);
    if (code == QD_OK)
        read_bos(tokenizer, config);
    return code;
}

qd_code qd_tokenizer_open(const char *model_dir, qd_tokenizer **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(model_dir, "tokenizer.json");
    QD_AUTO(qd_free_pointer) char *config_path = qd_path_join(model_dir, "tokenizer_config.json");
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    qd_tokenizer *t = NULL;
    if (path == NULL || config_path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory opening a tokenizer");
    qd_code code = qd_file_read_regular(path, QD_TOKENIZER_LIMIT, &text, err);
    if (code != QD_OK)
        return code;
    code = qd_tokenizer_parse(qd_str_borrow(&text), text.length, &t, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    if (qd_path_exists(config_path)) {
        code = qd_file_read_regular(config_path, QD_TOKENIZER_CONFIG_LIMIT, &text, err);
        if (code == QD_OK && (code = qd_tokenizer_configure(t, qd_str_borrow(&text), text.length, err)) != QD_OK)
            qd_within(err, code, "'%s'", config_path);
    }
    if (code == QD_OK)
        *out = t;
    else
        qd_tokenizer_destroy(t);
    return code;
}

size_t qd_tokenizer_vocabulary(const qd_tokenizer *tokenizer)
{
    return tokenizer->vocabulary;
}

bool qd_tokenizer_bos(const qd_tokenizer *tokenizer, uint32_t *out_id)
{
    if (tokenizer->bos >= 0)
        *out_id = (uint32_t)tokenizer->bos;
    return tokenizer->bos >= 0;
}
