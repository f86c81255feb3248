/* gguf_tokenizer.c: see gguf_tokenizer.h. */
#include "export/gguf_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

void qd_gguf_texts_fini(qd_gguf_texts *texts)
{
    json_decref(texts->tokenizer);
    json_decref(texts->tokenizer_config);
    json_decref(texts->config);
    json_decref(texts->generation);
    free(texts->chat_template);
    *texts = (qd_gguf_texts){ 0 };
}

enum { TOKENIZER_DEPTH = 64 };

/* "\u0000" that is no escaped backslash before "u0000". */
static bool is_nul_escape(const char *text, size_t at)
{
    size_t backslashes = 0;
    while (backslashes < at && text[at - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 0;
}

qd_code qd_gguf_tokenizer_parse(char *text, size_t length, json_t **out, qd_error *err)
{
    static const char nul[] = "\\u0000", hidden[] = "\\uf8f0";
    const size_t escape = sizeof nul - 1;
    size_t hides = 0;
    bool taken = strstr(text, QD_GGUF_NUL) != NULL || strstr(text, hidden) != NULL || strstr(text, "\\uF8F0") != NULL;
    for (char *at = text; (at = strstr(at, nul)) != NULL; at += escape)
        if (is_nul_escape(text, (size_t)(at - text))) {
            memcpy(at, hidden, escape);
            hides++;
        }
    if (hides > 0 && taken)
        return qd_fail(err, QD_EUNSUPPORTED, "holds both U+0000 and U+F8F0, which stands for it here");
    qd_code code = qd_json_parse_object(text, length, TOKENIZER_DEPTH, out, err);
    if (code == QD_OK && hides > 0 && json_object_set_new(*out, "quantd_hides_nul", json_true()) != 0)
        code = qd_fail(err, QD_ENOMEM, "out of memory");
    return code;
}

/* Strings of the file again as they were. */
typedef struct speaker {
    qd_gguf_meta *meta;
    bool hides_nul;
} speaker;

static void put_piece(const speaker *s, const char *text, size_t length, qd_str *scratch)
{
    const char *found = s->hides_nul ? strstr(text, QD_GGUF_NUL) : NULL;
    if (found == NULL) {
        qd_gguf_put_string(s->meta, text, length);
        return;
    }
    qd_str_clear(scratch);
    for (; found != NULL; found = strstr(text, QD_GGUF_NUL)) {
        qd_str_add_bytes(scratch, text, (size_t)(found - text));
        qd_str_add_bytes(scratch, "", 1);
        length -= (size_t)(found - text) + strlen(QD_GGUF_NUL);
        text = found + strlen(QD_GGUF_NUL);
    }
    qd_str_add_bytes(scratch, text, length);
    qd_gguf_put_string(s->meta, qd_str_borrow(scratch), scratch->length);
}

enum token_type { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

typedef struct token {
    const char *text; /* NULL = the vocabulary has no such id */
    size_t length;
    int32_t type;
    float score;
} token;

typedef struct tokens {
    token *items;
    size_t count;
} tokens;

static void tokens_fini(tokens *t)
{
    free(t->items);
}

static qd_code set_token(tokens *t, const json_t *id, const char *text, size_t length, int32_t type, qd_error *err)
{
    json_int_t number = json_integer_value(id);
    if (!json_is_integer(id) || number < 0)
        return qd_fail(err, QD_EFORMAT, "tokenizer.json: the id of '%.60s' is not a number from 0 up", text);
    if ((uint64_t)number >= t->count)
        return qd_fail(err, QD_EUNSUPPORTED,
                       "tokenizer.json: token '%.60s' is %lld, the model has %zu embeddings; a GGUF has one for each",
                       text, (long long)number, t->count);
    t->items[number] = (token){ text, length, type, 0.0f };
    return QD_OK;
}

/* "<0x0A>" */
static bool is_byte(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && qd_hex_value(text[3]) >= 0 &&
           qd_hex_value(text[4]) >= 0 && text[5] == '>';
}

static qd_code read_vocabulary(const json_t *tokenizer, const qd_gguf_cutting *cutting, tokens *t, qd_error *err)
{
    const json_t *model = json_object_get(tokenizer, "model");
    json_t *vocabulary = json_object_get(model, "vocab"), *id;
    const char *unknown = json_string_value(json_object_get(model, "unk_token")), *text;
    qd_code code = QD_OK;
    json_object_foreach(vocabulary, text, id)
    {
        bool is_unknown = unknown != NULL && strcmp(unknown, text) == 0;
        int32_t type = is_unknown ? TOKEN_UNKNOWN : cutting->pieces && is_byte(text) ? TOKEN_BYTE : TOKEN_NORMAL;
        code = set_token(t, id, text, strlen(text), type, err);
        if (code != QD_OK)
            return code;
    }
    const json_t *added = json_object_get(tokenizer, "added_tokens");
    for (size_t i = 0; code == QD_OK && i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        text = json_string_value(json_object_get(item, "content"));
        if (text == NULL)
            return qd_fail(err, QD_EFORMAT, "tokenizer.json: added_tokens[%zu] has no content", i);
        bool is_unknown = unknown != NULL && strcmp(unknown, text) == 0;
        int32_t type = is_unknown                                       ? TOKEN_UNKNOWN
                       : json_is_true(json_object_get(item, "special")) ? TOKEN_CONTROL
                                                                        : TOKEN_USER;
        code = set_token(t, json_object_get(item, "id"), text, strlen(text), type, err);
    }
    return code;
}

/* The two halves of a merge: "a b", or ["a", "b"]. The first is not NUL-terminated. */
typedef struct halves {
    const char *left, *right;
    size_t left_length;
} halves;

static qd_code read_merge(const json_t *merges, size_t index, halves *out, qd_error *err)
{
    const json_t *merge = json_array_get(merges, index);
    const char *text = json_string_value(merge);
    const char *space = text == NULL ? NULL : strchr(text, ' ');
    if (space != NULL)
        *out = (halves){ text, space + 1, (size_t)(space - text) };
    else {
        text = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        if (text == NULL || right == NULL)
            return qd_fail(err, QD_EFORMAT, "tokenizer.json: merges[%zu] is not a pair of pieces", index);
        *out = (halves){ text, right, strlen(text) };
    }
    return QD_OK;
}

/* A space would part the two halves elsewhere. */
static void add_half(qd_str *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        qd_str_add(out, text[i] == ' ' ? "\xc4\xa0" : (const char[]){ text[i], '\0' });
}

static qd_code put_merges(const json_t *tokenizer, const speaker *to, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str line = { 0 }, scratch = { 0 };
    const json_t *merges = json_object_get(json_object_get(tokenizer, "model"), "merges");
    qd_gguf_meta_array(to->meta, "tokenizer.ggml.merges", QD_GGUF_STRING, json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        halves pair;
        qd_code code = read_merge(merges, i, &pair, err);
        if (code != QD_OK)
            return code;
        qd_str_clear(&line);
        add_half(&line, pair.left, pair.left_length);
        qd_str_add(&line, " ");
        add_half(&line, pair.right, strlen(pair.right));
        put_piece(to, qd_str_borrow(&line), line.length, &scratch);
    }
    qd_code code = qd_str_check(&scratch, err);
    return code == QD_OK ? qd_str_check(&line, err) : code;
}

/* Merging by rank is merging by score, when a piece's is minus the rank of the first merge that makes it. */
static qd_code score_pieces(const json_t *tokenizer, tokens *t, qd_error *err)
{
    const float unmade = -1e9f;
    const json_t *model = json_object_get(tokenizer, "model"), *merges = json_object_get(model, "merges");
    const json_t *vocabulary = json_object_get(model, "vocab");
    QD_AUTO(qd_str_fini) qd_str piece = { 0 };
    for (size_t i = 0; i < t->count; i++)
        t->items[i].score = t->items[i].type == TOKEN_NORMAL ? unmade : 0.0f;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        halves pair;
        qd_code code = read_merge(merges, i, &pair, err);
        if (code != QD_OK)
            return code;
        qd_str_clear(&piece);
        qd_str_add_bytes(&piece, pair.left, pair.left_length);
        qd_str_add(&piece, pair.right);
        code = qd_str_check(&piece, err);
        if (code != QD_OK)
            return code;
        const json_t *id = json_object_get(vocabulary, qd_str_borrow(&piece));
        if (id == NULL)
            return qd_fail(err, QD_EFORMAT, "tokenizer.json: merges[%zu] makes '%.60s', which is no token", i,
                           qd_str_borrow(&piece));
        token *made = &t->items[json_integer_value(id)];
        if (made->type == TOKEN_NORMAL && made->score == unmade)
            made->score = -(float)i;
    }
    return QD_OK;
}

/* llama.cpp's SentencePiece merges across spaces, and finds every byte. */
static qd_code check_pieces(const json_t *tokenizer, const qd_gguf_cutting *cutting, const tokens *t, qd_error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->count; i++) {
        const token *item = &t->items[i];
        bytes += item->type == TOKEN_BYTE;
        if (cutting->splits && item->type == TOKEN_NORMAL && item->text != NULL && item->length > 0 &&
            strstr(item->text + 1, "\xe2\x96\x81") != NULL)
            return qd_fail(
                err, QD_EUNSUPPORTED,
                "tokenizer.json: token '%.60s' goes across a space, where Metaspace splits; llama.cpp would use it",
                item->text);
    }
    if (bytes != 256 || !json_is_true(json_object_get(json_object_get(tokenizer, "model"), "byte_fallback")))
        return qd_fail(
            err, QD_EUNSUPPORTED,
            "tokenizer.json: %zu tokens <0x00> to <0xFF>, byte_fallback %s; llama.cpp needs all 256, and uses them",
            bytes, bytes == 256 ? "false" : "or not");
    return QD_OK;
}

static qd_code check_model(const json_t *tokenizer, qd_error *err)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const json_t *model = json_object_get(tokenizer, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type == NULL || strcmp(type, "BPE") != 0)
        return qd_fail(err, QD_EUNSUPPORTED, "tokenizer.json: model '%.40s' is not written to GGUF; BPE is",
                       type == NULL ? "" : type);
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return qd_fail(err, QD_EFORMAT, "tokenizer.json: 'model' has no object 'vocab' or no list 'merges'");
    for (size_t i = 0; i < QD_LENGTH(affixes); i++) {
        const char *affix = json_string_value(json_object_get(model, affixes[i]));
        if (affix != NULL && affix[0] != '\0')
            return qd_fail(err, QD_EUNSUPPORTED, "tokenizer.json: %s '%.40s' has no equal in GGUF", affixes[i], affix);
    }
    return QD_OK;
}

static qd_code put_tokens(const tokens *t, const qd_gguf_cutting *cutting, const speaker *to, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str scratch = { 0 };
    qd_gguf_meta *meta = to->meta;
    qd_gguf_meta_array(meta, "tokenizer.ggml.tokens", QD_GGUF_STRING, t->count);
    for (size_t i = 0; i < t->count; i++) {
        char filler[32];
        int length = snprintf(filler, sizeof filler, "[PAD%zu]", i);
        if (t->items[i].text == NULL)
            qd_gguf_put_string(meta, filler, (size_t)length);
        else
            put_piece(to, t->items[i].text, t->items[i].length, &scratch);
    }
    qd_gguf_meta_array(meta, "tokenizer.ggml.token_type", QD_GGUF_I32, t->count);
    for (size_t i = 0; i < t->count; i++)
        qd_gguf_put_i32(meta, t->items[i].text == NULL ? TOKEN_UNUSED : t->items[i].type);
    if (cutting->pieces)
        qd_gguf_meta_array(meta, "tokenizer.ggml.scores", QD_GGUF_F32, t->count);
    for (size_t i = 0; cutting->pieces && i < t->count; i++)
        qd_gguf_put_f32(meta, t->items[i].score);
    return qd_str_check(&scratch, err);
}

/* ---- special tokens ---- */
/* -1 = none. Of two tokens with one text the added one is meant. */
static int64_t find_token(const tokens *t, const char *text)
{
    int64_t found = -1;
    for (size_t i = 0; text != NULL && i < t->count; i++)
        if (t->items[i].text != NULL && strcmp(t->items[i].text, text) == 0 &&
            (found < 0 || t->items[i].type != TOKEN_NORMAL))
            found = (int64_t)i;
    return found;
}

/* "<s>" or {"content": "<s>"} in tokenizer_config.json, else a number, or the first of several, in the other two. */
static int64_t special_id(const qd_gguf_texts *texts, const tokens *t, const char *name_key, const char *id_key)
{
    const json_t *value = json_object_get(texts->tokenizer_config, name_key);
    int64_t id = find_token(t, json_string_value(json_is_object(value) ? json_object_get(value, "content") : value));
    const json_t *const others[] = { texts->config, texts->generation };
    for (size_t i = 0; id < 0 && i < QD_LENGTH(others); i++) {
        const json_t *number = json_object_get(others[i], id_key);
        number = json_is_array(number) ? json_array_get(number, 0) : number;
        if (json_is_integer(number) && json_integer_value(number) >= 0 &&
            (uint64_t)json_integer_value(number) < t->count)
            id = json_integer_value(number);
    }
    return id;
}

static void put_id(qd_gguf_meta *meta, const char *key, int64_t id)
{
    if (id >= 0)
        qd_gguf_meta_u32(meta, key, (uint32_t)id);
}

/* A second id that ends a text; of tokens that clients know by name they find it themselves. */
static int64_t end_of_turn(const qd_gguf_texts *texts, const tokens *t, int64_t end)
{
    static const char *const known[] = { "<|eot_id|>",    "<|im_end|>",      "<|end|>", "<end_of_turn>",
                                         "<|endoftext|>", "<|end_of_text|>", "<EOT>" };
    for (size_t i = 0; i < QD_LENGTH(known); i++)
        if (find_token(t, known[i]) >= 0)
            return -1;
    const json_t *ids = json_object_get(texts->generation, "eos_token_id");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (json_is_integer(id) && json_integer_value(id) >= 0 && (uint64_t)json_integer_value(id) < t->count &&
            json_integer_value(id) != end)
            return json_integer_value(id);
    }
    return -1;
}

/* The post-processor's template, alone or in a Sequence. */
static const json_t *find_template(const json_t *processor)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    const json_t *parts = json_object_get(processor, "processors");
    if (type != NULL && strcmp(type, "TemplateProcessing") == 0)
        return json_object_get(processor, "single");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *found = find_template(json_array_get(parts, i));
        if (found != NULL)
            return found;
    }
    return NULL;
}

typedef enum side { SIDE_FIRST, SIDE_LAST } side;

/* What the template adds at that end; NULL = nothing. */
static const json_t *added_token(const json_t *template, side which)
{
    size_t count = json_array_size(template);
    const json_t *part = count == 0 ? NULL : json_array_get(template, which == SIDE_FIRST ? 0 : count - 1);
    return json_object_get(part, "SpecialToken");
}

/* By the template; where there is none, as tokenizer_config.json says. */
static void put_end(const qd_gguf_texts *texts, const char *key, side which, qd_gguf_meta *meta)
{
    char name[64];
    const json_t *template = find_template(json_object_get(texts->tokenizer, "post_processor"));
    snprintf(name, sizeof name, "tokenizer.ggml.%s", key);
    qd_gguf_meta_bool(meta, name,
                      template != NULL ? added_token(template, which) != NULL
                                       : json_is_true(json_object_get(texts->tokenizer_config, key)));
}

static void put_special(const qd_gguf_texts *texts, const tokens *t, qd_gguf_meta *meta)
{
    const json_t *template = find_template(json_object_get(texts->tokenizer, "post_processor"));
    /* Clients put bos_token_id first, so that has to be the one that is put first here. */
    int64_t first = find_token(t, json_string_value(json_object_get(added_token(template, SIDE_FIRST), "id")));
    int64_t end = special_id(texts, t, "eos_token", "eos_token_id");
    put_id(meta, "tokenizer.ggml.bos_token_id", first >= 0 ? first : special_id(texts, t, "bos_token", "bos_token_id"));
    put_id(meta, "tokenizer.ggml.eos_token_id", end);
    put_id(meta, "tokenizer.ggml.eot_token_id", end_of_turn(texts, t, end));
    const json_t *model = json_object_get(texts->tokenizer, "model");
    put_id(meta, "tokenizer.ggml.unknown_token_id",
           find_token(t, json_string_value(json_object_get(model, "unk_token"))));
    put_id(meta, "tokenizer.ggml.padding_token_id", special_id(texts, t, "pad_token", "pad_token_id"));
    put_end(texts, "add_bos_token", SIDE_FIRST, meta);
    put_end(texts, "add_eos_token", SIDE_LAST, meta);
}

/* A text, or a list of named ones. */
static void put_chat_template(const qd_gguf_texts *texts, qd_gguf_meta *meta)
{
    const json_t *value = json_object_get(texts->tokenizer_config, "chat_template");
    const char *text = texts->chat_template != NULL ? texts->chat_template : json_string_value(value);
    for (size_t i = 0; text == NULL && i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strcmp(name, "default") == 0)
            text = json_string_value(json_object_get(item, "template"));
    }
    if (text != NULL)
        qd_gguf_meta_text(meta, "tokenizer.chat_template", text);
}

qd_code qd_gguf_tokenizer_put(const qd_gguf_texts *texts, size_t rows, qd_gguf_meta *meta, qd_error *err)
{
    QD_AUTO(tokens_fini) tokens t = { .count = rows };
    qd_gguf_cutting cutting = { 0 };
    qd_code code = check_model(texts->tokenizer, err);
    if (code == QD_OK)
        code = qd_gguf_cutting_find(texts->tokenizer, &cutting, err);
    if (code == QD_OK)
        code = qd_alloc(rows, sizeof *t.items, (void **)&t.items, err);
    if (code == QD_OK)
        code = read_vocabulary(texts->tokenizer, &cutting, &t, err);
    if (code == QD_OK && cutting.pieces)
        code = check_pieces(texts->tokenizer, &cutting, &t, err);
    if (code == QD_OK && cutting.pieces)
        code = score_pieces(texts->tokenizer, &t, err);
    if (code != QD_OK)
        return code;
    qd_gguf_meta_text(meta, "tokenizer.ggml.model", cutting.model);
    qd_gguf_meta_text(meta, "tokenizer.ggml.pre", cutting.pre);
    const speaker to = { meta, json_object_get(texts->tokenizer, "quantd_hides_nul") != NULL };
    code = put_tokens(&t, &cutting, &to, err);
    if (code == QD_OK && !cutting.pieces)
        code = put_merges(texts->tokenizer, &to, err);
    else
        qd_gguf_meta_bool(meta, "tokenizer.ggml.add_space_prefix", cutting.space_prefix);
    put_special(texts, &t, meta);
    put_chat_template(texts, meta);
    return code == QD_OK ? qd_gguf_meta_check(meta, err) : code;
}
