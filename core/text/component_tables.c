/* component_tables.c: what tokenizer files may name. */
#include "text/component_rows.h"

static const qd_component *const normalizers[] = {
    &qd_normalizer_nfc,       &qd_normalizer_nfd,           &qd_normalizer_nfkc,        &qd_normalizer_nfkd,
    &qd_normalizer_lowercase, &qd_normalizer_strip_accents, &qd_normalizer_replace,     &qd_normalizer_prepend,
    &qd_normalizer_strip,     &qd_normalizer_byte_level,    &qd_normalizer_precompiled,
};
static const qd_component *const pre_tokenizers[] = {
    &qd_pre_tokenizer_byte_level, &qd_pre_tokenizer_split,       &qd_pre_tokenizer_digits,
    &qd_pre_tokenizer_metaspace,  &qd_pre_tokenizer_punctuation, &qd_pre_tokenizer_whitespace,
    &qd_pre_tokenizer_delimiter,  &qd_pre_tokenizer_bert,        &qd_pre_tokenizer_whitespace_split,
};
static const qd_component *const decoders[] = {
    &qd_decoder_byte_level, &qd_decoder_metaspace, &qd_decoder_replace, &qd_decoder_byte_fallback,
    &qd_decoder_fuse,       &qd_decoder_strip,     &qd_decoder_bpe,
};

const qd_component_kind qd_normalizers = { "normalizer", "normalizers", normalizers, QD_LENGTH(normalizers) };
const qd_component_kind qd_pre_tokenizers = { "pre_tokenizer", "pretokenizers", pre_tokenizers,
                                              QD_LENGTH(pre_tokenizers) };
const qd_component_kind qd_decoders = { "decoder", "decoders", decoders, QD_LENGTH(decoders) };
