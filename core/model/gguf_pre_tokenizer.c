/* gguf_pre_tokenizer.c: see gguf_pre_tokenizer.h. One row a name. */
#include "model/gguf_pre_tokenizer.h"

#include <string.h>

#include "base/auto.h"

#define SPLIT(regex) \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define BYTE_LEVEL(use_regex) \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" use_regex "}"
#define SEQUENCE(steps) "{\"type\":\"Sequence\",\"pretokenizers\":[" steps "]}"
#define SPLIT_BY(regex) SEQUENCE(SPLIT(regex) "," BYTE_LEVEL("false"))

/* As text of a JSON string. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+"
#define AS_LLAMA3(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define LLAMA3 AS_LLAMA3("\\\\p{N}{1,3}")
#define QWEN2 AS_LLAMA3("\\\\p{N}")
#define UPPER "\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}"
#define LOWER "\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}"
#define TEKKEN \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[" UPPER "]*[" LOWER "]+|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" \
    "[" UPPER "]+[" LOWER "]*|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

#define QWEN35 \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{L}\\\\p{M}]+|" \
    "\\\\p{N}" \
    "| ?[^\\\\s\\\\p{L}\\\\p{M}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define GPT4O \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[" UPPER "]*[" LOWER "]+" CONTRACTION "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" \
    "[" UPPER "]+[" LOWER "]*" CONTRACTION "|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const char none[] = "null", nfc[] = "{\"type\":\"NFC\"}";
static const char gpt2[] = BYTE_LEVEL("true");
static const char digits_first[] = SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("true"));
static const char llama3[] = SPLIT_BY(LLAMA3);
static const char qwen2[] = SPLIT_BY(QWEN2);
static const char tekken[] = SPLIT_BY(TEKKEN);
static const char qwen35[] = SPLIT_BY(QWEN35);
static const char gpt4o[] = SPLIT_BY(GPT4O);
static const char number_first[] = SEQUENCE(SPLIT("\\\\p{N}") "," SPLIT(GPT2) "," BYTE_LEVEL("false"));
static const char falcon[] = SEQUENCE(
    SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|`]+") "," SPLIT(GPT2) "," SPLIT("[0-9][0-9][0-9]") "," BYTE_LEVEL("false"));
static const char deepseek_coder[] =
    SEQUENCE(SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+") "," SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(
        "[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+") "," SPLIT("\\\\p{N}") "," BYTE_LEVEL("false"));
/* Four cuts, one after another; what clients take for files from before the key was there. */
static const char fallback[] = SEQUENCE(SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+") "," SPLIT(GPT2) "," SPLIT(
    "\\\\p{N}+") "," SPLIT("[0-9][0-9][0-9]") "," BYTE_LEVEL("false"));

static const qd_gguf_pre_tokenizer table[] = {
    { "default", none, fallback, false, false },
    { "gpt-2", none, gpt2, false, false },
    { "llama-bpe", none, llama3, true, true },
    { "llama3", none, llama3, true, true },
    { "llama-v3", none, llama3, true, true },
    { "qwen2", nfc, qwen2, false, false },
    { "qwen35", nfc, qwen35, false, false },
    { "stablelm2", none, qwen2, false, false },
    { "gpt-4o", none, gpt4o, false, false },
    { "mpt", none, gpt2, false, false },
    { "olmo", none, gpt2, false, false },
    { "phi-2", none, gpt2, false, false },
    { "command-r", none, number_first, false, false },
    { "falcon", none, falcon, false, false },
    { "deepseek-coder", none, deepseek_coder, false, false },
    { "refact", none, digits_first, false, false },
    { "starcoder", none, digits_first, false, false },
    { "smaug-bpe", none, llama3, false, false },
    { "dbrx", none, llama3, false, false },
    { "smollm", none, digits_first, false, false },
    { "tekken", none, tekken, true, true },
};

const qd_gguf_pre_tokenizer *qd_gguf_pre_tokenizer_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_gguf_pre_tokenizer *qd_gguf_pre_tokenizer_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
