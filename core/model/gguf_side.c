/* gguf_side.c: tokenizer_config.json and generation_config.json of a GGUF's metadata; see gguf_side.h. */
#include "model/gguf_side.h"

#include <inttypes.h>
#include <string.h>

#include "model/gguf_vocabulary.h"
#include "model/json_text.h"

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void add_token(const qd_gguf_vocabulary *v, const char *key, int64_t id, qd_str *out)
{
    if (id < 0)
        return;
    qd_str_addf(out, " \"%s\": ", key);
    qd_json_text_add(out, v->pieces[id].text, v->pieces[id].length);
    qd_str_add(out, ",\n");
}

/* A template, as the source's own file would have it: without one there is no member. */
static qd_code add_template(const qd_gguf *file, qd_str *out, qd_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    const char *text;
    qd_code code = qd_gguf_text(file, key, NULL, &text, err);
    if (code != QD_OK || text == NULL)
        return code;
    if (!qd_json_text_ok(text, strlen(text)))
        return qd_fail(err, QD_EFORMAT, "'%s' is not UTF-8", key);
    qd_str_add(out, " \"chat_template\": ");
    qd_json_text_add(out, text, strlen(text));
    qd_str_add(out, ",\n");
    return QD_OK;
}

/* <architecture>.context_length; 0: not said. */
static qd_code read_context(const qd_gguf *file, size_t *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str key = { 0 };
    const char *architecture;
    qd_code code = qd_gguf_text(file, "general.architecture", "", &architecture, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&key, "%s.context_length", architecture);
    code = qd_str_check(&key, err);
    return code == QD_OK ? qd_gguf_size(file, qd_str_borrow(&key), 0, out, err) : code;
}

qd_code qd_gguf_tokenizer_config_json(const qd_gguf *file, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_gguf_vocabulary_fini) qd_gguf_vocabulary v = { 0 };
    qd_gguf_frame frame;
    size_t context = 0;
    qd_code code = qd_gguf_vocabulary_read(file, &v, err);
    if (code == QD_OK)
        code = qd_gguf_read_frame(file, &v, &frame, err);
    if (code == QD_OK)
        code = read_context(file, &context, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(out, "{\n \"add_bos_token\": %s,\n \"add_eos_token\": %s,\n", truth(frame.bos), truth(frame.eos));
    add_token(&v, "bos_token", v.bos, out);
    add_token(&v, "eos_token", v.eos, out);
    add_token(&v, "unk_token", v.unknown, out);
    add_token(&v, "pad_token", v.padding, out);
    code = add_template(file, out, err);
    if (context > 0)
        qd_str_addf(out, " \"model_max_length\": %zu,\n", context);
    qd_str_add(out,
               " \"clean_up_tokenization_spaces\": false,\n \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
    return code == QD_OK ? qd_str_check(out, err) : code;
}

qd_code qd_gguf_generation_config_json(const qd_gguf *file, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_gguf_vocabulary_fini) qd_gguf_vocabulary v = { 0 };
    qd_code code = qd_gguf_vocabulary_read(file, &v, err);
    if (code != QD_OK)
        return code;
    qd_str_add(out, "{\n");
    if (v.bos >= 0)
        qd_str_addf(out, " \"bos_token_id\": %" PRId64 ",\n", v.bos);
    if (v.eos >= 0 && v.eot >= 0 && v.eot != v.eos)
        qd_str_addf(out, " \"eos_token_id\": [%" PRId64 ", %" PRId64 "],\n", v.eos, v.eot);
    else if (v.eos >= 0 || v.eot >= 0)
        qd_str_addf(out, " \"eos_token_id\": %" PRId64 ",\n", v.eos >= 0 ? v.eos : v.eot);
    if (v.padding >= 0)
        qd_str_addf(out, " \"pad_token_id\": %" PRId64 ",\n", v.padding);
    qd_str_add(out, " \"_from_model_config\": true\n}\n");
    return qd_str_check(out, err);
}
