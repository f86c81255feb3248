/* gguf_pre_tokenizer.c: the half of gguf_tokenizer.h that knows patterns: normalizer and pre_tokenizer as one line of text, looked up. */
#include <string.h>

#include "base/json.h"
#include "export/gguf_tokenizer.h"

#define LLAMA3_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2_PATTERN \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEKKEN_PATTERN \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|" \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN35_PATTERN \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define GPT4O_PATTERN \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" CONTRACTION \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" CONTRACTION \
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* What clients do where a file does not say: four cuts, one after another. */
#define DEFAULT_CUTS \
    "Split([\\p{P}\\$\\+<=>\\^~\\|]+)+Split(" GPT2_PATTERN ")+Split(\\p{N}+)+Split([0-9][0-9][0-9])+ByteLevel()"
#define NUMBER_FIRST_CUTS "Split(\\p{N})+Split(" GPT2_PATTERN ")+ByteLevel()"
#define FALCON_CUTS "Split([\\p{P}\\$\\+<=>\\^~\\|`]+)+Split(" GPT2_PATTERN ")+Split([0-9][0-9][0-9])+ByteLevel()"
/* The fourth: Chinese, Korean and what lies between. */
#define DEEPSEEK_CODER_CUTS \
    "Split([\r\n])+Split(\\s?\\p{L}+)+Split(\\s?\\p{P}+)+Split([\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80" \
    "\xea\xb0\x80-\xed\x9f\xbf]+)+Split(\\p{N})+ByteLevel()"
#define PREPENDS "Prepend(\xe2\x96\x81)"
#define REPLACES "Replace( ,\xe2\x96\x81)"

/* What llama.cpp does besides: whole words that are tokens are taken without merging. */
typedef enum words { WORDS_MERGED, WORDS_WHOLE, WORDS_EITHER } words;

typedef struct row {
    const char *normalizer, *pre_tokenizer; /* as `describe` prints them */
    words words;
    qd_gguf_cutting cutting;
} row;

#define BYTE_LEVEL(name) \
    { \
        .model = "gpt2", .pre = name \
    }
#define SENTENCE_PIECES(prefix, split) \
    { \
        .model = "llama", .pre = "default", .pieces = true, .space_prefix = prefix, .splits = split \
    }

static const row table[] = {
    { "", "ByteLevel(pattern)", WORDS_MERGED, BYTE_LEVEL("gpt-2") },
    { "", DEFAULT_CUTS, WORDS_MERGED, BYTE_LEVEL("default") },
    { "", "Digits(each)+ByteLevel(pattern)", WORDS_MERGED, BYTE_LEVEL("smollm") },
    { "", "Split(" LLAMA3_PATTERN ")+ByteLevel()", WORDS_WHOLE, BYTE_LEVEL("llama-bpe") },
    { "", "Split(" LLAMA3_PATTERN ")+ByteLevel()", WORDS_MERGED, BYTE_LEVEL("smaug-bpe") },
    { "", "Split(" QWEN2_PATTERN ")+ByteLevel()", WORDS_MERGED, BYTE_LEVEL("qwen2") },
    { "NFC", "Split(" QWEN2_PATTERN ")+ByteLevel()", WORDS_MERGED, BYTE_LEVEL("qwen2") },
    { "", "Split(" TEKKEN_PATTERN ")+ByteLevel()", WORDS_WHOLE, BYTE_LEVEL("tekken") },
    { "NFC", "Split(" QWEN35_PATTERN ")+ByteLevel()", WORDS_MERGED, BYTE_LEVEL("qwen35") },
    { "", "Split(" GPT4O_PATTERN ")+ByteLevel()", WORDS_MERGED, BYTE_LEVEL("gpt-4o") },
    { "", NUMBER_FIRST_CUTS, WORDS_MERGED, BYTE_LEVEL("command-r") },
    { "", FALCON_CUTS, WORDS_MERGED, BYTE_LEVEL("falcon") },
    { "", DEEPSEEK_CODER_CUTS, WORDS_MERGED, BYTE_LEVEL("deepseek-coder") },
    { PREPENDS "+" REPLACES, "", WORDS_EITHER, SENTENCE_PIECES(true, false) },
    { REPLACES, "", WORDS_EITHER, SENTENCE_PIECES(false, false) },
    { "", "Metaspace(always)", WORDS_EITHER, SENTENCE_PIECES(true, false) },
    { "", "Metaspace(first)", WORDS_EITHER, SENTENCE_PIECES(true, false) },
    { "", "Metaspace(never)", WORDS_EITHER, SENTENCE_PIECES(false, false) },
    { "", "Metaspace(always,split)", WORDS_EITHER, SENTENCE_PIECES(true, true) },
    { "", "Metaspace(first,split)", WORDS_EITHER, SENTENCE_PIECES(true, true) },
    { "", "Metaspace(never,split)", WORDS_EITHER, SENTENCE_PIECES(false, true) },
};

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? otherwise : text;
}

static bool flag(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* A pattern that matches all there is cuts the same, whether its matches stay ("Removed", inverted) or are set apart. */
static void describe_split(const json_t *part, qd_str *out)
{
    const json_t *pattern = json_object_get(part, "pattern");
    const char *behavior = text_of(part, "behavior", ""), *regex = text_of(pattern, "Regex", NULL);
    bool inverted = flag(part, "invert", false), removed = strcmp(behavior, "Removed") == 0;
    if (regex != NULL && ((strcmp(behavior, "Isolated") == 0 && !inverted) || (removed && inverted)))
        qd_str_addf(out, "Split(%s)", regex);
    else
        qd_str_addf(out, "Split(%s,%s,%s)", regex == NULL ? text_of(pattern, "String", "?") : regex, behavior,
                    inverted ? "inverted" : "");
}

static void describe_metaspace(const json_t *part, qd_str *out)
{
    const char *scheme = text_of(part, "prepend_scheme", flag(part, "add_prefix_space", true) ? "always" : "never");
    const char *replacement = text_of(part, "replacement", "\xe2\x96\x81");
    qd_str_addf(out, "Metaspace(%s%s%s)", scheme, flag(part, "split", true) ? ",split" : "",
                strcmp(replacement, "\xe2\x96\x81") == 0 ? "" : ",other");
}

static void describe_part(const json_t *part, qd_str *out)
{
    const char *type = text_of(part, "type", "?");
    if (strcmp(type, "Split") == 0)
        describe_split(part, out);
    else if (strcmp(type, "Metaspace") == 0)
        describe_metaspace(part, out);
    else if (strcmp(type, "ByteLevel") == 0)
        qd_str_addf(out, "ByteLevel(%s%s)", flag(part, "use_regex", true) ? "pattern" : "",
                    flag(part, "add_prefix_space", true) ? ",space" : "");
    else if (strcmp(type, "Digits") == 0)
        qd_str_addf(out, "Digits(%s)", flag(part, "individual_digits", false) ? "each" : "");
    else if (strcmp(type, "Prepend") == 0)
        qd_str_addf(out, "Prepend(%s)", text_of(part, "prepend", "?"));
    else if (strcmp(type, "Replace") == 0)
        qd_str_addf(out, "Replace(%s,%s)", text_of(json_object_get(part, "pattern"), "String", "?"),
                    text_of(part, "content", "?"));
    else
        qd_str_add(out, type);
}

/* "Digits(each)+ByteLevel(pattern)"; nothing for null. `list` names the members of a Sequence. */
static void describe(const json_t *component, const char *list, qd_str *out)
{
    const json_t *parts = json_object_get(component, list);
    if (strcmp(text_of(component, "type", ""), "Sequence") != 0) {
        if (json_is_object(component))
            describe_part(component, out);
        return;
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        qd_str_add(out, i == 0 ? "" : "+");
        describe_part(json_array_get(parts, i), out);
    }
}

static bool matches(const row *r, const char *normalizer, const char *pre_tokenizer, bool whole)
{
    return strcmp(r->normalizer, normalizer) == 0 && strcmp(r->pre_tokenizer, pre_tokenizer) == 0 &&
           (r->words == WORDS_EITHER || (r->words == WORDS_WHOLE) == whole);
}

qd_code qd_gguf_cutting_find(const json_t *tokenizer, qd_gguf_cutting *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str normalizer = { 0 }, pre_tokenizer = { 0 };
    const json_t *model = json_object_get(tokenizer, "model");
    bool whole = flag(model, "ignore_merges", false);
    describe(json_object_get(tokenizer, "normalizer"), "normalizers", &normalizer);
    describe(json_object_get(tokenizer, "pre_tokenizer"), "pretokenizers", &pre_tokenizer);
    qd_code code = qd_str_check(&normalizer, err);
    if (code == QD_OK)
        code = qd_str_check(&pre_tokenizer, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (matches(&table[i], qd_str_borrow(&normalizer), qd_str_borrow(&pre_tokenizer), whole)) {
            *out = table[i].cutting;
            return QD_OK;
        }
    return qd_fail(err, QD_EUNSUPPORTED,
                   "tokenizer.json: normalizer '%.60s' with pre_tokenizer '%.160s'%s is none that llama.cpp is known "
                   "to have; known are "
                   "those of gpt-2, smollm, llama-bpe, smaug-bpe, qwen2, qwen35, tekken, gpt-4o, command-r, falcon, "
                   "deepseek-coder and SentencePiece (Prepend and "
                   "Replace, or Metaspace)",
                   qd_str_borrow(&normalizer), qd_str_borrow(&pre_tokenizer), whole ? " and ignore_merges" : "");
}
