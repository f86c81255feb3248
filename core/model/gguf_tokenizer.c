/* gguf_tokenizer.c: tokenizer.json of a GGUF's metadata; see gguf_side.h. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf_merges.h"
#include "model/gguf_pre_tokenizer.h"
#include "model/gguf_side.h"
#include "model/gguf_vocabulary.h"
#include "model/json_text.h"

/* Control tokens and the rest that is found in the text before all else, as clients do: in the text as it came. */
static void add_added_tokens(const qd_gguf_vocabulary *v, qd_str *out)
{
    const char *comma = "";
    qd_str_add(out, "\"added_tokens\":[");
    for (size_t id = 0; id < v->count; id++) {
        const qd_gguf_piece *piece = &v->pieces[id];
        if (!qd_gguf_piece_is_added(piece))
            continue;
        qd_str_addf(out, "%s\n{\"id\":%zu,\"content\":", comma, id);
        qd_json_text_add(out, piece->text, piece->length);
        qd_str_addf(out,
                    ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}",
                    piece->type == QD_PIECE_USER_DEFINED ? "false" : "true");
        comma = ",";
    }
    qd_str_add(out, "],\n");
}

static void add_vocabulary(const qd_gguf_vocabulary *v, qd_str *out)
{
    const char *comma = "";
    qd_str_add(out, "\"vocab\":{");
    for (size_t id = 0; id < v->count; id++) {
        if (v->pieces[id].length == 0)
            continue;
        qd_str_add(out, comma);
        qd_json_text_add(out, v->pieces[id].text, v->pieces[id].length);
        qd_str_addf(out, ":%zu", id);
        comma = ",";
    }
    qd_str_add(out, "},\n");
}

static void add_piece(const qd_gguf_vocabulary *v, int64_t id, qd_str *out)
{
    qd_json_text_add(out, v->pieces[id].text, v->pieces[id].length);
}

static void add_template_item(const qd_gguf_vocabulary *v, int64_t id, const char *type_id, qd_str *out)
{
    qd_str_add(out, "{\"SpecialToken\":{\"id\":");
    add_piece(v, id, out);
    qd_str_addf(out, ",\"type_id\":%s}}", type_id);
}

static void add_template_side(const qd_gguf_vocabulary *v, const qd_gguf_frame *frame, const char *sequence,
                              const char *type_id, qd_str *out)
{
    if (frame->bos) {
        add_template_item(v, v->bos, type_id, out);
        qd_str_add(out, ",");
    }
    qd_str_addf(out, "{\"Sequence\":{\"id\":\"%s\",\"type_id\":%s}}", sequence, type_id);
    if (frame->eos) {
        qd_str_add(out, ",");
        add_template_item(v, v->eos, type_id, out);
    }
}

static void add_template_token(const qd_gguf_vocabulary *v, int64_t id, qd_str *out)
{
    add_piece(v, id, out);
    qd_str_add(out, ":{\"id\":");
    add_piece(v, id, out);
    qd_str_addf(out, ",\"ids\":[%lld],\"tokens\":[", (long long)id);
    add_piece(v, id, out);
    qd_str_add(out, "]}");
}

/* What puts BOS and EOS around a text; null where neither goes there. */
static void add_post_processor(const qd_gguf_vocabulary *v, const qd_gguf_frame *frame, qd_str *out)
{
    if (!frame->bos && !frame->eos) {
        qd_str_add(out, "\"post_processor\":null,\n");
        return;
    }
    qd_str_add(out, "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    add_template_side(v, frame, "A", "0", out);
    qd_str_add(out, "],\"pair\":[");
    add_template_side(v, frame, "A", "0", out);
    qd_str_add(out, ",");
    add_template_side(v, frame, "B", "1", out);
    qd_str_add(out, "],\"special_tokens\":{");
    if (frame->bos)
        add_template_token(v, v->bos, out);
    if (frame->eos && (!frame->bos || v->eos != v->bos)) {
        qd_str_add(out, frame->bos ? "," : "");
        add_template_token(v, v->eos, out);
    }
    qd_str_add(out, "}},\n");
}

static void add_model_start(const char *options, qd_str *out)
{
    qd_str_addf(out,
                "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"continuing_subword_prefix\":null,"
                "\"end_of_word_suffix\":null,%s,\n",
                options);
}

static qd_code byte_level(const qd_gguf *file, const qd_gguf_vocabulary *v, qd_str *out, qd_error *err)
{
    const qd_gguf_pre_tokenizer *pre;
    qd_gguf_frame frame;
    qd_code code = qd_gguf_find_pre_tokenizer(file, &pre, err);
    if (code == QD_OK)
        code = qd_gguf_read_frame(file, v, &frame, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(out, "\"normalizer\":%s,\n\"pre_tokenizer\":%s,\n", pre->normalizer, pre->pre_tokenizer);
    add_post_processor(v, &frame, out);
    qd_str_add(out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                    "\"use_regex\":true},\n");
    add_model_start("\"unk_token\":null,\"fuse_unk\":false,\"byte_fallback\":false", out);
    qd_str_addf(out, "\"ignore_merges\":%s,\n", pre->ignore_merges ? "true" : "false");
    add_vocabulary(v, out);
    qd_str_add(out, "\"merges\":");
    return qd_gguf_merges_listed(file, out, err);
}

/* The blank is written U+2581, and one stands before the text unless the metadata say otherwise. */
static qd_code sentencepiece(const qd_gguf *file, const qd_gguf_vocabulary *v, qd_str *out, qd_error *err)
{
    static const char blanks[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}";
    bool prefix = true;
    qd_gguf_frame frame;
    qd_code code = qd_gguf_bool(file, "tokenizer.ggml.add_space_prefix", true, &prefix, err);
    if (code == QD_OK)
        code = qd_gguf_read_frame(file, v, &frame, err);
    if (code != QD_OK)
        return code;
    if (prefix)
        qd_str_addf(out,
                    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
                    "\"\xe2\x96\x81\"},%s]},\n",
                    blanks);
    else
        qd_str_addf(out, "\"normalizer\":%s,\n", blanks);
    qd_str_add(out, "\"pre_tokenizer\":null,\n");
    add_post_processor(v, &frame, out);
    qd_str_addf(out,
                "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
                "\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}%s]},\n",
                prefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "");
    add_model_start("\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false", out);
    qd_str_add(out, "\"unk_token\":");
    if (v->unknown >= 0)
        add_piece(v, v->unknown, out);
    qd_str_add(out, v->unknown >= 0 ? ",\n" : "null,\n");
    add_vocabulary(v, out);
    qd_str_add(out, "\"merges\":");
    return qd_gguf_merges_scored(v, out, err);
}

qd_code qd_gguf_tokenizer_json(const qd_gguf *file, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_gguf_vocabulary_fini) qd_gguf_vocabulary v = { 0 };
    qd_code code = qd_gguf_vocabulary_read(file, &v, err);
    if (code != QD_OK)
        return code;
    qd_str_add(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    add_added_tokens(&v, out);
    code = v.scheme == QD_GGUF_BYTE_LEVEL ? byte_level(file, &v, out, err) : sentencepiece(file, &v, out, err);
    if (code != QD_OK)
        return code;
    qd_str_add(out, "}}\n");
    return qd_str_check(out, err);
}
