/* gguf_scene.h: GGUF artifacts of tiny models, and their keys, for the tests of format `gguf`.
 * Room: tests. May use: everything of export.
 * Threads: none. */
#ifndef QD_TESTS_EXPORT_GGUF_SCENE_H
#define QD_TESTS_EXPORT_GGUF_SCENE_H

#include "export/ggml_encode.h"
#include "export/gguf_tokenizer.h"
#include "folders.h"
#include "model/gguf.h"

static inline qd_grid_spec own_grid(size_t variant)
{
    qd_grid_spec spec = { .rule = qd_scale_rule_find("mse"), .shrink = 1.0 };
    qd_ggml_encoder_grid(qd_ggml_encoder_at(variant), &spec);
    return spec;
}

/* A tiny model whose tokenizer is one; `changes` go into its config. */
static const char byte_level[] =
    "{\"added_tokens\":[{\"id\":9,\"content\":\"<e>\",\"special\":true},{\"id\":8,\"content\":\"<u>\",\"special\":"
    "false}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
    "\"TemplateProcessing\",\"single\":"
    "[{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}]}]},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0000\":3,\"a\\u0000\":4},\"merges\":[\"a "
    "b\",[\"a\",\"\\u0000\"]]}}";

static inline void gguf_source(char *dir, const char *dtype, const char *tokenizer, const char *changes)
{
    qd_error err = { 0 };
    folder_make(dir);
    tiny_write(dir, (tiny){ .head_dim = 16, .heads = 2, .intermediate = 64, .dtype = dtype, .seed = 5 });
    text_put(dir, "tokenizer.json", tokenizer);
    QD_AUTO(qd_str_fini) qd_str text = file_get(dir, "config.json");
    QD_AUTO(qd_json_fini) json_t *config = NULL, *more = NULL;
    check_ok(qd_json_parse_object(text.data, text.length, 8, &config, &err));
    check_ok(qd_json_parse_object(changes, strlen(changes), 8, &more, &err));
    json_object_update(config, more);
    QD_AUTO(qd_free_pointer) char *changed = json_dumps(config, 0);
    text_put(dir, "config.json", changed);
}

static inline scene *written_gguf(char *source, const char *variant, const char *dtype, const char *tokenizer,
                                  const char *changes)
{
    qd_error err = { 0 };
    size_t v = 0;
    char format[40];
    while (strcmp(qd_ggml_encoder_at(v)->variant, variant) != 0)
        v++;
    snprintf(format, sizeof format, "gguf:%s", variant);
    gguf_source(source, dtype, tokenizer, changes);
    scene *s = scene_open(source, format, own_grid(v));
    check_ok(s->format->check_model(s->model, s->variant, &err));
    check_ok(scene_write(s, &err));
    check_ok(scene_check(s, &err));
    return s;
}

static inline qd_gguf *file_of(const scene *s)
{
    qd_error err = { 0 };
    char path[FOLDER_PATH], name[60];
    qd_gguf *file = NULL;
    snprintf(name, sizeof name, "model-%s.gguf", qd_ggml_encoder_at(s->variant)->variant);
    path_in(s->dir, name, path);
    check_ok(qd_gguf_open(path, &file, &err));
    return file;
}

static inline void check_number(const qd_gguf *file, const char *key, double wanted)
{
    qd_error err = { 0 };
    double found = 0;
    if (qd_gguf_key(file, key) == NULL)
        fail_msg("key '%s' is missing", key);
    check_ok(qd_gguf_real(file, key, -1, &found, &err));
    check_close(found, wanted, 1e-7);
}

static inline void check_text(const qd_gguf *file, const char *key, const char *wanted)
{
    qd_error err = { 0 };
    const char *found = NULL;
    check_ok(qd_gguf_text(file, key, "(none)", &found, &err));
    assert_string_equal(found, wanted);
}

static inline void check_flag(const qd_gguf *file, const char *key, bool wanted)
{
    qd_error err = { 0 };
    bool found = !wanted;
    check_ok(qd_gguf_bool(file, key, !wanted, &found, &err));
    assert_int_equal(found, wanted);
}

#endif
