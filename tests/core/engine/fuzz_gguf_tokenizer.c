/* fuzz_gguf_tokenizer.c: any metadata as a tokenizer: refused with a reason, or a tokenizer.json and its companions that are sound
 * JSON, the same twice, and that core/text refuses by name or encodes and decodes with. */
#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "model/gguf_side.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const qd_str *text)
{
    QD_AUTO(qd_json_fini) json_t *json = NULL;
    qd_error err = { 0 };
    qd_code code = qd_json_parse_object(qd_str_borrow(text), text->length, 32, &json, &err);
    bool nul = strstr(qd_str_borrow(text), "\\u0000") != NULL; /* core/text reads those its own way */
    assert(code == QD_OK || nul);
}

static void use(const qd_str *text)
{
    static const char sample[] = "Ab 12\n\xc3\xa9<s> ab  abc\t<|x|>";
    qd_tokenizer *tokenizer = NULL;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    QD_AUTO(qd_str_fini) qd_str back = { 0 };
    if (qd_tokenizer_parse(qd_str_borrow(text), text->length, &tokenizer, &err) != QD_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    if (qd_tokenizer_encode(tokenizer, sample, strlen(sample), QD_SPECIAL_ADD, &ids, &err) == QD_OK)
        assert(qd_tokenizer_decode(tokenizer, ids.data, ids.count, &back, &err) == QD_OK);
    qd_tokenizer_destroy(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_code (*const make[])(const qd_gguf *, qd_str *, qd_error *) = { qd_gguf_tokenizer_json,
                                                                       qd_gguf_tokenizer_config_json,
                                                                       qd_gguf_generation_config_json };
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    if (qd_gguf_parse("fuzz.gguf", data, size, &file, &err) != QD_OK)
        return 0;
    for (size_t i = 0; i < QD_LENGTH(make); i++) {
        QD_AUTO(qd_str_fini) qd_str text = { 0 }, again = { 0 };
        qd_code code = make[i](file, &text, &err);
        assert(code == make[i](file, &again, &err));
        if (code != QD_OK) {
            assert(err.text[0] != '\0');
            continue;
        }
        assert(text.length == again.length && memcmp(text.data, again.data, text.length) == 0);
        check_json(&text);
        if (i == 0)
            use(&text);
    }
    qd_gguf_destroy(file);
    return 0;
}
