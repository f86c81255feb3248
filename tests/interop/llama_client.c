// llama_client: the real llama.cpp behind seven verbs, for the tests and benches of this folder. Built against the headers and the prebuilt libraries
// of the npm package that package.json names; nothing of quantd is in it.
//
//   llama_client LIBRARIES tokenize MODEL            standard input: i32 length and that many bytes, a text; output: i32 count and i32 ids, a text
//   llama_client LIBRARIES logits MODEL IDS OUT      IDS: i32 B, i32 T, i32 ids[B * T]; OUT: f32 logits[B * T * V]; every window by itself
//   llama_client LIBRARIES nll MODEL IDS OUT         OUT: f64 [B * (T - 1)]: -log probability of each id after the first
//   llama_client LIBRARIES perplexity MODEL IDS CONTEXT THREADS   as its perplexity tool works: windows side by side in batches of 2048, its own keys,
//                                                    values and attention, logits of what is scored alone; one line of JSON with the seconds it took
//   llama_client LIBRARIES greedy MODEL IDS COUNT    the likeliest COUNT ids after the first window, one a line; no window is run again
//   llama_client LIBRARIES decode MODEL OUT          OUT: the same GGUF file with every tensor in F32, as ggml itself decodes it
//   llama_client LIBRARIES quantize IN OUT FILE_TYPE EMBEDDING_TYPE   llama.cpp's own quantizer, every matrix of one type, no importance matrix
//
// A model is loaded with check_tensors, runs with float32 keys and values and without flash attention. Exit status: 0 done, 1 failed (a line on
// standard error says why, after what llama.cpp itself reported), 2 wrong command line.
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <gguf.h>
#include <llama.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct windows {
    int32_t count, length;
    int32_t *ids;
} windows;

static _Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory)
        die("no memory for %zu bytes", size);
    return memory;
}

static void report(enum ggml_log_level level, const char *text, void *unused)
{
    (void)unused;
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN)
        fputs(text, stderr);
}

// ---- files ----

static windows read_windows(const char *path)
{
    FILE *file = fopen(path, "rb");
    windows in = { 0 };
    if (!file || fread(&in.count, 4, 1, file) != 1 || fread(&in.length, 4, 1, file) != 1)
        die("%s: no windows", path);
    if (in.count < 1 || in.length < 2)
        die("%s: %d windows of %d ids", path, in.count, in.length);
    size_t ids = (size_t)in.count * (size_t)in.length;
    in.ids = allocate(ids * 4);
    if (fread(in.ids, 4, ids, file) != ids)
        die("%s: is cut short", path);
    fclose(file);
    return in;
}

static FILE *create(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        die("%s: cannot be written", path);
    return file;
}

static void put(FILE *file, const void *data, size_t size)
{
    if (fwrite(data, 1, size, file) != size)
        die("writing failed");
}

static void finish(FILE *file)
{
    if (fclose(file))
        die("writing failed");
}

// ---- the model ----

static struct llama_model *load(const char *path, int vocabulary_only)
{
    struct llama_model_params wanted = llama_model_default_params();
    wanted.check_tensors = true;
    wanted.n_gpu_layers = 0;
    wanted.vocab_only = vocabulary_only;
    struct llama_model *model = llama_model_load_from_file(path, wanted);
    if (!model)
        die("%s: llama.cpp does not load it", path);
    return model;
}

static struct llama_context *context_of(struct llama_model *model, int32_t length)
{
    const char *threads = getenv("LLAMA_CLIENT_THREADS");
    struct llama_context_params wanted = llama_context_default_params();
    wanted.n_ctx = wanted.n_batch = (uint32_t)length;
    wanted.n_seq_max = 1;
    wanted.n_threads = wanted.n_threads_batch = threads ? atoi(threads) : 1;
    wanted.type_k = wanted.type_v = GGML_TYPE_F32;
    wanted.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *context = llama_init_from_model(model, wanted);
    if (!context)
        die("llama.cpp makes no context of %d tokens", length);
    return context;
}

/// Runs `count` ids at positions `at`...; logits of all of them.
static void decode(struct llama_context *context, const int32_t *ids, int32_t count, int32_t at)
{
    struct llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int32_t i = 0; i < count; i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = at + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    int status = llama_decode(context, batch);
    if (status)
        die("llama_decode: %d", status);
    llama_batch_free(batch);
}

static double negative_log_probability(const float *logits, int32_t vocabulary, int32_t id)
{
    double top = logits[0], sum = 0;
    for (int32_t v = 1; v < vocabulary; v++)
        top = logits[v] > top ? logits[v] : top;
    for (int32_t v = 0; v < vocabulary; v++)
        sum += exp(logits[v] - top);
    return top + log(sum) - logits[id];
}

// ---- verbs ----

typedef enum { LOGITS, NLL } measure;

static void run_windows(measure what, const char *model_path, const char *ids_path, const char *out_path)
{
    windows in = read_windows(ids_path);
    struct llama_model *model = load(model_path, 0);
    int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_context *context = context_of(model, in.length);
    FILE *out = create(out_path);
    for (int32_t b = 0; b < in.count; b++) {
        const int32_t *ids = in.ids + (size_t)b * (size_t)in.length;
        llama_memory_clear(llama_get_memory(context), true);
        decode(context, ids, in.length, 0);
        for (int32_t t = 0; t < in.length; t++) {
            const float *logits = llama_get_logits_ith(context, t);
            if (!logits)
                die("window %d has no logits at %d", b, t);
            if (what == LOGITS) {
                put(out, logits, (size_t)vocabulary * 4);
            } else if (t + 1 < in.length) {
                double loss = negative_log_probability(logits, vocabulary, ids[t + 1]);
                put(out, &loss, sizeof loss);
            }
        }
    }
    finish(out);
}

// What one thread adds up: tokens first, first + step, ... of a batch.
typedef struct share {
    const float **logits;
    const int32_t *targets;
    int32_t first, step, count, vocabulary;
    double loss;
} share;

static void *add_share(void *given)
{
    share *s = given;
    for (int32_t i = s->first; i < s->count; i += s->step)
        s->loss += negative_log_probability(s->logits[i], s->vocabulary, s->targets[i]);
    return NULL;
}

static double add_losses(share like, int32_t threads)
{
    pthread_t workers[64];
    share shares[64];
    double loss = 0;
    for (int32_t i = 0; i < threads; i++) {
        shares[i] = like;
        shares[i].first = i;
        shares[i].step = threads;
        if (pthread_create(&workers[i], NULL, add_share, &shares[i]))
            die("no thread");
    }
    for (int32_t i = 0; i < threads; i++) {
        pthread_join(workers[i], NULL);
        loss += shares[i].loss;
    }
    return loss;
}

static double seconds_now(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/// Loss of `count` windows that are run together: of their tokens from `scored` on.
static double run_together(struct llama_context *context, const windows *in, int32_t first, int32_t count,
                           int32_t scored, int32_t threads)
{
    int32_t tokens = count * in->length, rows = count * (in->length - scored), row = 0;
    struct llama_batch batch = llama_batch_init(tokens, 0, 1);
    const float **logits = allocate((size_t)rows * sizeof *logits);
    int32_t *targets = allocate((size_t)rows * sizeof *targets);
    llama_memory_clear(llama_get_memory(context), true);
    batch.n_tokens = tokens;
    for (int32_t i = 0; i < tokens; i++) {
        int32_t at = i % in->length;
        batch.token[i] = in->ids[(size_t)first * (size_t)in->length + (size_t)i];
        batch.pos[i] = at;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = i / in->length;
        batch.logits[i] = at >= scored - 1 && at + 1 < in->length;
    }
    int status = llama_decode(context, batch);
    if (status)
        die("llama_decode: %d", status);
    for (int32_t i = 0; i < tokens; i++)
        if (batch.logits[i]) {
            logits[row] = llama_get_logits_ith(context, i);
            targets[row++] = batch.token[i + 1];
        }
    const struct llama_model *model = llama_get_model(context);
    double loss = add_losses((share){ .logits = logits,
                                      .targets = targets,
                                      .count = rows,
                                      .vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model)) },
                             threads);
    free(logits);
    free(targets);
    llama_batch_free(batch);
    return loss;
}

static void perplexity(const char *model_path, const char *ids_path, int32_t scored, int32_t threads)
{
    enum { BATCH = 2048 };
    windows in = read_windows(ids_path);
    int32_t together = in.length < BATCH ? BATCH / in.length : 1;
    struct llama_context_params wanted = llama_context_default_params();
    wanted.n_ctx = wanted.n_batch = (uint32_t)(together * in.length);
    wanted.n_seq_max = (uint32_t)together;
    wanted.n_threads = wanted.n_threads_batch = threads;
    struct llama_context *context = llama_init_from_model(load(model_path, 0), wanted);
    if (!context || scored < 1 || scored >= in.length || threads < 1 || threads > 64)
        die("no context for %d windows of %d tokens", together, in.length);
    run_together(context, &in, 0, 1, scored, threads); // warms up
    double loss = 0, begin = seconds_now(CLOCK_MONOTONIC), cpu = seconds_now(CLOCK_PROCESS_CPUTIME_ID);
    for (int32_t first = 0; first < in.count; first += together)
        loss += run_together(context, &in, first, in.count - first < together ? in.count - first : together, scored,
                             threads);
    printf("{\"perplexity\":%.10g,\"seconds\":%.6f,\"cpu\":%.6f}\n",
           exp(loss / ((double)in.count * (in.length - scored))), seconds_now(CLOCK_MONOTONIC) - begin,
           seconds_now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void greedy(const char *model_path, const char *ids_path, int32_t count)
{
    windows in = read_windows(ids_path);
    struct llama_model *model = load(model_path, 0);
    int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_context *context = context_of(model, in.length + count);
    int32_t last = in.length - 1, at = in.length;
    decode(context, in.ids, in.length, 0);
    for (int32_t n = 0; n < count; n++) {
        const float *logits = llama_get_logits_ith(context, last);
        int32_t best = 0;
        for (int32_t v = 1; v < vocabulary; v++)
            best = logits[v] > logits[best] ? v : best;
        printf("%d\n", best);
        last = 0;
        decode(context, &best, 1, at++);
    }
}

static void tokenize(const char *model_path)
{
    struct llama_model *model = load(model_path, 1);
    const struct llama_vocab *vocabulary = llama_model_get_vocab(model);
    int32_t length;
    while (fread(&length, 4, 1, stdin) == 1) {
        char *text = allocate((size_t)length + 1);
        int32_t room = length + 8;
        llama_token *ids = allocate((size_t)room * sizeof *ids);
        if (fread(text, 1, (size_t)length, stdin) != (size_t)length)
            die("a text is cut short");
        int32_t count = llama_tokenize(vocabulary, text, length, ids, room, true, true);
        if (count < 0)
            die("llama_tokenize: %d", count);
        put(stdout, &count, 4);
        put(stdout, ids, (size_t)count * 4);
        free(ids);
        free(text);
    }
    finish(stdout);
}

static float *decoded(const struct ggml_tensor *tensor)
{
    int64_t elements = ggml_nelements(tensor);
    float *values = allocate((size_t)elements * 4);
    if (tensor->type == GGML_TYPE_F32)
        memcpy(values, tensor->data, (size_t)elements * 4);
    else
        ggml_get_type_traits(tensor->type)->to_float(tensor->data, values, elements);
    return values;
}

static void decode_file(const char *from, const char *to)
{
    struct ggml_context *tensors = NULL;
    struct gguf_context *in =
        gguf_init_from_file(from, (struct gguf_init_params){ .no_alloc = false, .ctx = &tensors });
    if (!in)
        die("%s: llama.cpp does not open it", from);
    size_t room = (size_t)(gguf_get_n_tensors(in) + 1) * ggml_tensor_overhead();
    struct ggml_context *made = ggml_init((struct ggml_init_params){ .mem_size = room, .no_alloc = true });
    struct gguf_context *out = gguf_init_empty();
    gguf_set_kv(out, in);
    for (int64_t i = 0; i < gguf_get_n_tensors(in); i++) {
        const char *name = gguf_get_tensor_name(in, i);
        const struct ggml_tensor *tensor = ggml_get_tensor(tensors, name);
        struct ggml_tensor *wide = ggml_new_tensor(made, GGML_TYPE_F32, ggml_n_dims(tensor), tensor->ne);
        ggml_set_name(wide, name);
        gguf_add_tensor(out, wide);
        gguf_set_tensor_data(out, name, decoded(tensor)); // borrowed until the file is written
    }
    if (!gguf_write_to_file(out, to, false))
        die("%s: cannot be written", to);
}

static void quantize(const char *from, const char *to, int file_type, int embedding_type)
{
    struct llama_model_quantize_params wanted = llama_model_quantize_default_params();
    wanted.nthread = 1;
    wanted.ftype = (enum llama_ftype)file_type;
    wanted.token_embedding_type = wanted.output_tensor_type = (enum ggml_type)embedding_type;
    wanted.pure = true;
    if (llama_model_quantize(from, to, &wanted))
        die("%s: llama.cpp does not quantize it to file type %d", from, file_type);
}

int main(int count, char **word)
{
    const char *verb = count > 2 ? word[2] : "";
    if (count > 3) {
        llama_log_set(report, NULL);
        ggml_backend_load_all_from_path(word[1]);
        llama_backend_init();
    }
    if (!strcmp(verb, "tokenize") && count == 4)
        tokenize(word[3]);
    else if (!strcmp(verb, "logits") && count == 6)
        run_windows(LOGITS, word[3], word[4], word[5]);
    else if (!strcmp(verb, "perplexity") && count == 7)
        perplexity(word[3], word[4], atoi(word[5]), atoi(word[6]));
    else if (!strcmp(verb, "nll") && count == 6)
        run_windows(NLL, word[3], word[4], word[5]);
    else if (!strcmp(verb, "greedy") && count == 6)
        greedy(word[3], word[4], atoi(word[5]));
    else if (!strcmp(verb, "decode") && count == 5)
        decode_file(word[3], word[4]);
    else if (!strcmp(verb, "quantize") && count == 7)
        quantize(word[3], word[4], atoi(word[5]), atoi(word[6]));
    else
        return fputs("usage: llama_client LIBRARIES VERB MODEL ...; the verbs stand at the top of llama_client.c\n",
                     stderr),
               2;
    return 0;
}
