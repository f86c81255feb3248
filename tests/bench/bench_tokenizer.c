/* bench_tokenizer.c: encoding what is meant to take long: times for n, 2n and 4n bytes must double, twice.
 *
 * Usage: bench_tokenizer [megabytes] (n; 1). One thread, CPU time of the process. The last column is the time of 4n
 * over that of n: 4 for a linear method, 16 for a quadratic one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "text/tokenizer.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(qd_code code, const qd_error *err)
{
    if (code == QD_OK)
        return;
    fprintf(stderr, "bench_tokenizer: %s\n", err->text);
    exit(1);
}

#define LLAMA3 \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":" \
    "\"(?i:'s|" \
    "'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| " \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" \
    "false}]}"

enum { DOUBLINGS = 10, OVERLAPS = 400, PIECES = 64 };

static void add_run(qd_str *out, const char *unit, size_t times)
{
    for (size_t i = 0; i < times; i++)
        qd_str_add(out, unit);
}

/* `unit` once, twice, four times, ... as pieces and as merges of two of the one before. */
static void add_doublings(const char *unit, size_t first_id, qd_str *vocab, qd_str *merges)
{
    for (size_t k = 0; k < DOUBLINGS; k++) {
        if (k > 0) {
            qd_str_add(merges, merges->length == 0 ? "[\"" : ",[\"");
            add_run(merges, unit, (size_t)1 << (k - 1));
            qd_str_add(merges, "\",\"");
            add_run(merges, unit, (size_t)1 << (k - 1));
            qd_str_add(merges, "\"]");
        }
        qd_str_add(vocab, vocab->length == 0 ? "\"" : ",\"");
        add_run(vocab, unit, (size_t)1 << k);
        qd_str_addf(vocab, "\":%zu", first_id + k);
    }
}

/* <s>; and, so that they overlap, a run of 1 to OVERLAPS letters q with a z behind each. */
static void add_added(qd_str *out)
{
    qd_str_add(out, "{\"id\":5000,\"content\":\"<s>\",\"special\":true}");
    for (size_t k = 1; k <= OVERLAPS; k++) {
        qd_str_addf(out, ",{\"id\":%zu,\"special\":true,\"content\":\"", 5000 + k);
        add_run(out, "q", k);
        qd_str_add(out, "z\"}");
    }
}

static void add_bpe(const char *normalizer, const char *pre_tokenizer, const char *space, qd_str *out)
{
    QD_AUTO(qd_str_fini) qd_str vocab = { 0 }, merges = { 0 };
    add_doublings("a", 0, &vocab, &merges);
    add_doublings(space, DOUBLINGS, &vocab, &merges);
    for (unsigned c = 'b'; c <= 'z'; c++)
        qd_str_addf(&vocab, ",\"%c\":%u", c, 1000 + c);
    for (unsigned byte = 0; byte < 256; byte++)
        qd_str_addf(&vocab, ",\"<0x%02X>\":%u", byte, 2000 + byte);
    qd_str_add(out, "{\"added_tokens\":[");
    add_added(out);
    qd_str_addf(out, "],\"normalizer\":%s,\"pre_tokenizer\":%s,\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,",
                normalizer, pre_tokenizer);
    qd_str_addf(out, "\"vocab\":{%s},\"merges\":[%s]}}", qd_str_borrow(&vocab), qd_str_borrow(&merges));
}

static void add_unigram(qd_str *out)
{
    qd_str_add(out,
               "{\"added_tokens\":[],\"normalizer\":{\"type\":\"NFKC\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
               "\"vocab\":[[\"<unk>\",0.0]");
    for (size_t k = 1; k <= PIECES; k++) {
        qd_str_add(out, ",[\"");
        add_run(out, "a", k);
        qd_str_addf(out, "\",-%zu.5]", k);
    }
    qd_str_add(out, "]}}");
}

typedef struct input {
    const char *name, *unit; /* repeated; NULL: random letters */
} input;
static const input inputs[] = {
    { "one letter", "a" },
    { "random letters", NULL },
    { "blanks", " " },
    { "line breaks and blanks", "\n \n  " },
    { "apostrophes", "'" },
    { "letters and digits", "a1" },
    { "added tokens", "<s>a" },
    { "beginnings of added tokens", "q" },
    { "combining marks", "\xCC\x81\xCC\xA3" },
    { "Hangul", "\xEA\xB0\x80" },
    { "no UTF-8", "\xF0\x9F" },
};

static void fill(const input *in, size_t bytes, qd_str *out)
{
    size_t unit = in->unit == NULL ? 1 : strlen(in->unit);
    qd_str_clear(out);
    for (size_t i = 0; out->length + unit <= bytes; i++)
        if (in->unit != NULL)
            qd_str_add(out, in->unit);
        else
            qd_str_addf(out, "%c", (char)('a' + qd_rng_below(1, i, 26)));
}

static void measure(const char *kind, const qd_tokenizer *tokenizer, const input *in, size_t bytes)
{
    double times[3];
    size_t ids_count = 0;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    for (size_t k = 0; k < 3; k++) {
        qd_error err = { 0 };
        QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
        fill(in, bytes << k, &text);
        double start = seconds();
        stop_on(qd_tokenizer_encode(tokenizer, qd_str_borrow(&text), text.length, QD_SPECIAL_NONE, &ids, &err), &err);
        times[k] = seconds() - start;
        ids_count = ids.count;
    }
    printf("%-12s %-28s %8.3f %8.3f %8.3f s  x %.1f  (%zu ids)\n", kind, in->name, times[0], times[1], times[2],
           times[2] / times[0], ids_count);
}

int main(int argc, char **argv)
{
    const size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1) << 20;
    QD_AUTO(qd_str_fini) qd_str byte_level = { 0 }, pieces = { 0 }, unigram = { 0 };
    add_bpe("{\"type\":\"NFC\"}", LLAMA3, "\xC4\xA0", &byte_level);
    add_bpe("{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}", "null",
            "\xE2\x96\x81", &pieces);
    add_unigram(&unigram);
    const struct {
        const char *name;
        const qd_str *file;
    } kinds[] = { { "byte-level", &byte_level }, { "pieces", &pieces }, { "unigram", &unigram } };
    printf("%-41s %8s %8s %8s\n", "", "n", "2n", "4n");
    for (size_t i = 0; i < QD_LENGTH(kinds); i++) {
        qd_error err = { 0 };
        qd_tokenizer *tokenizer = NULL;
        stop_on(qd_tokenizer_parse(qd_str_borrow(kinds[i].file), kinds[i].file->length, &tokenizer, &err), &err);
        for (size_t k = 0; k < QD_LENGTH(inputs); k++)
            measure(kinds[i].name, tokenizer, &inputs[k], bytes);
        qd_tokenizer_destroy(tokenizer);
    }
    return 0;
}
