/* component_rows.h: the rows that the three tables gather.
 * Room: core/text, private to it. May use: base.
 * Threads: constants. */
#ifndef QD_TEXT_COMPONENT_ROWS_H
#define QD_TEXT_COMPONENT_ROWS_H

#include "text/component.h"

/* normalizer_unicode.c */
extern const qd_component qd_normalizer_nfc, qd_normalizer_nfd, qd_normalizer_nfkc, qd_normalizer_nfkd,
    qd_normalizer_lowercase, qd_normalizer_strip_accents;
/* normalizer_text.c */
extern const qd_component qd_normalizer_replace, qd_normalizer_prepend, qd_normalizer_strip;
/* normalizer_precompiled.c */
extern const qd_component qd_normalizer_precompiled;
/* byte_level.c */
extern const qd_component qd_normalizer_byte_level, qd_pre_tokenizer_byte_level, qd_decoder_byte_level;
/* metaspace.c */
extern const qd_component qd_pre_tokenizer_metaspace, qd_decoder_metaspace;
/* pre_tokenizer_split.c */
extern const qd_component qd_pre_tokenizer_split, qd_pre_tokenizer_whitespace, qd_pre_tokenizer_delimiter;
/* pre_tokenizer_class.c */
extern const qd_component qd_pre_tokenizer_digits, qd_pre_tokenizer_punctuation, qd_pre_tokenizer_whitespace_split,
    qd_pre_tokenizer_bert;
/* decoder_text.c */
extern const qd_component qd_decoder_replace, qd_decoder_byte_fallback, qd_decoder_fuse, qd_decoder_strip,
    qd_decoder_bpe;

#endif
