/* fuzz_folder.c: a sound model folder or artifact with one file replaced is opened, read whole, and where it has a manifest verified.
 * Input: a line "FOLDER/FILE", then the bytes of the file. The sound folders are tests/hostile/folders/FOLDER. */
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/run.h"
#include "export/artifact.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH = 512, FILES = 24, WIDEST = 4096 };

/* A copy of one sound folder in a temporary place; it is put right after each input. */
typedef struct bench {
    char name[64], dir[PATH];
    char files[FILES][64];
    qd_str bytes[FILES];
    size_t count;
} bench;

static void said(qd_code code, const qd_error *err)
{
    assert(code == QD_OK || (err->code != QD_OK && err->text[0] != '\0'));
}

static void put(const bench *b, const char *name, const void *bytes, size_t length)
{
    char path[PATH + 80];
    snprintf(path, sizeof path, "%s/%s", b->dir, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
}

static void load(bench *b, const char *from)
{
    DIR *dir = opendir(from);
    for (struct dirent *entry; dir != NULL && b->count < FILES && (entry = readdir(dir)) != NULL;) {
        char path[PATH + 300];
        qd_error err;
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof b->files[0])
            continue;
        snprintf(path, sizeof path, "%s/%s", from, entry->d_name);
        snprintf(b->files[b->count], sizeof b->files[0], "%s", entry->d_name);
        if (qd_file_read(path, 1 << 20, &b->bytes[b->count], &err) != QD_OK)
            abort();
        put(b, b->files[b->count], qd_str_borrow(&b->bytes[b->count]), b->bytes[b->count].length);
        b->count++;
    }
    if (dir != NULL)
        closedir(dir);
}

static void clean(void)
{
    char command[PATH];
    const char *base = getenv("TMPDIR");
    snprintf(command, sizeof command, "rm -rf '%s/quantd-fuzz-%ld'", base == NULL ? "/tmp" : base, (long)getpid());
    if (system(command) != 0)
        fprintf(stderr, "# could not be removed: %s\n", command);
}

/* The bench of a name; NULL where there is no such folder. */
static bench *bench_of(const char *name)
{
    static bench benches[16];
    static size_t count;
    const char *base = getenv("TMPDIR"), *source = getenv("QUANTD_SOURCE");
    char from[PATH], root[PATH / 2];
    struct stat info;
    for (size_t i = 0; i < count; i++)
        if (strcmp(benches[i].name, name) == 0)
            return &benches[i];
    snprintf(from, sizeof from, "%s/tests/hostile/folders/%s", source == NULL ? "." : source, name);
    if (count == QD_LENGTH(benches) || stat(from, &info) != 0 || !S_ISDIR(info.st_mode))
        return NULL;
    if (count == 0)
        atexit(clean);
    bench *b = &benches[count++];
    snprintf(b->name, sizeof b->name, "%s", name);
    snprintf(root, sizeof root, "%s/quantd-fuzz-%ld", base == NULL ? "/tmp" : base, (long)getpid());
    snprintf(b->dir, sizeof b->dir, "%s/%s", root, name);
    (void)mkdir(root, 0700);
    (void)mkdir(b->dir, 0700);
    load(b, from);
    return b;
}

/* One token through the first block and the head. */
static void run_token(const qd_model *model, const qd_block *block)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    qd_scratch *scratch = NULL;
    qd_error err = { 0 };
    const uint32_t id = 0;
    QD_AUTO(qd_matf_buf_fini) qd_matf_buf residual = { 0 }, logits = { 0 };
    qd_code code = qd_matf_buf_init(&residual, 1, config->hidden, &err);
    if (code == QD_OK)
        code = qd_matf_buf_init(&logits, 1, config->vocabulary, &err);
    if (code == QD_OK)
        code = qd_scratch_create(model, 1, &scratch, &err);
    if (code == QD_OK)
        code = qd_model_embed(model, &id, residual.view, &err);
    if (code == QD_OK)
        code = qd_block_forward(block, residual.view, scratch, &err);
    if (code == QD_OK)
        code = qd_model_final_norm(model, residual.view, &err);
    if (code == QD_OK)
        code = qd_model_logits(model, qd_matf_const(residual.view), logits.view, &err);
    said(code, &err);
    qd_scratch_destroy(scratch);
}

static void read_model(const char *dir)
{
    qd_artifact *artifact = NULL;
    qd_error err = { 0 };
    qd_code code = qd_artifact_open(dir, &artifact, &err);
    said(code, &err);
    if (code != QD_OK)
        return;
    const qd_model *model = qd_artifact_model(artifact);
    for (size_t b = 0; code == QD_OK && b < qd_model_borrow_config(model)->blocks; b++) {
        qd_block *block = NULL;
        code = qd_block_load(model, b, qd_artifact_overlay(artifact), QD_ARITHMETIC_FLOAT32, &block, &err);
        said(code, &err);
        if (code == QD_OK && qd_model_borrow_config(model)->hidden <= WIDEST)
            run_token(model, block);
        qd_block_destroy(block);
    }
    qd_artifact_destroy(artifact);
}

static void read_text(const char *dir)
{
    static const char text[] = "ab abc <s> c";
    qd_tokenizer *tokenizer = NULL;
    qd_error err = { 0 };
    QD_AUTO(qd_ids_fini) qd_ids ids = { 0 };
    qd_code code = qd_tokenizer_open(dir, &tokenizer, &err);
    said(code, &err);
    if (code == QD_OK)
        said(qd_tokenizer_encode(tokenizer, text, sizeof text - 1, QD_SPECIAL_ADD, &ids, &err), &err);
    qd_tokenizer_destroy(tokenizer);
}

static void verify(const bench *b)
{
    qd_error err = { 0 };
    json_t *report = NULL;
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->files[i], "manifest.json") == 0) {
            said(qd_verify(b->dir, NULL, &report, &err), &err);
            json_decref(report);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[128];
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t length = end == NULL ? 0 : (size_t)(end - data);
    if (length == 0 || length >= sizeof line)
        return 0;
    memcpy(line, data, length);
    line[length] = '\0';
    char *slash = strchr(line, '/');
    if (slash == NULL || strchr(slash + 1, '/') != NULL || line[0] == '.')
        return 0;
    *slash = '\0';
    bench *b = bench_of(line);
    size_t which = 0;
    while (b != NULL && which < b->count && strcmp(b->files[which], slash + 1) != 0)
        which++;
    if (b == NULL || which == b->count)
        return 0;
    put(b, slash + 1, end + 1, size - length - 1);
    read_model(b->dir);
    read_text(b->dir);
    verify(b);
    put(b, slash + 1, qd_str_borrow(&b->bytes[which]), b->bytes[which].length);
    return 0;
}
