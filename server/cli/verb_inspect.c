/* verb_inspect.c: quantd inspect: tensors, types, shapes and metadata of a safetensors or GGUF file or a model folder. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/verb.h"
#include "export/artifact.h"
#include "model/gguf.h"
#include "model/model.h"

static const qd_verb_option options[] = { { 0 } };

static void print_tensor(const qd_tensor *tensor)
{
    printf("%-6s %12zu  %s [", tensor->dtype->name, tensor->bytes, tensor->name);
    for (size_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i == 0 ? "" : ", ", tensor->shape[i]);
    printf("]\n");
}

static qd_code inspect_file(const char *path, qd_error *err)
{
    qd_safetensors *file = NULL;
    qd_code code = qd_safetensors_open(path, &file, err);
    if (code != QD_OK)
        return code;
    uint64_t elements = 0;
    for (size_t i = 0; i < qd_safetensors_count(file); i++) {
        print_tensor(qd_safetensors_at(file, i));
        elements += qd_safetensors_at(file, i)->elements;
    }
    printf("%zu tensors, %" PRIu64 " elements", qd_safetensors_count(file), elements);
    const char *format = qd_safetensors_metadata(file, "format");
    printf("%s%s\n", format == NULL ? "" : ", metadata format ", format == NULL ? "" : format);
    qd_safetensors_destroy(file);
    return QD_OK;
}

/* A foreign text on one line, cut where it is long: control characters become '?'. */
static void print_text(const char *text)
{
    enum { SHOWN = 60 };
    for (size_t i = 0; i < SHOWN && text[i] != '\0'; i++)
        putchar((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    printf("%s\n", strlen(text) > SHOWN ? "..." : "");
}

/* What cannot be read as its type is no reason to show nothing of the file. */
static void print_value(const qd_gguf *file, const qd_gguf_value *value)
{
    const char *text = NULL;
    double number;
    bool truth;
    printf("%s = ", value->key);
    if (value->type == QD_GGUF_ARRAY)
        printf("%" PRIu64 " elements\n", value->count);
    else if (value->type == QD_GGUF_STRING && qd_gguf_text(file, value->key, "", &text, NULL) == QD_OK)
        print_text(text);
    else if (value->type == QD_GGUF_BOOL && qd_gguf_bool(file, value->key, false, &truth, NULL) == QD_OK)
        printf("%s\n", truth ? "true" : "false");
    else if (qd_gguf_real(file, value->key, 0.0, &number, NULL) == QD_OK)
        printf("%.9g\n", number);
    else
        printf("(not a sound value)\n");
}

static qd_code inspect_gguf(const char *path, qd_error *err)
{
    qd_gguf *file = NULL;
    uint64_t elements = 0;
    qd_code code = qd_gguf_open(path, &file, err);
    for (size_t i = 0; code == QD_OK && i < qd_gguf_key_count(file); i++)
        print_value(file, qd_gguf_key_at(file, i));
    for (size_t i = 0; code == QD_OK && i < qd_gguf_count(file); i++) {
        print_tensor(qd_gguf_at(file, i));
        elements += qd_gguf_at(file, i)->elements;
    }
    if (code == QD_OK)
        printf("%zu tensors, %" PRIu64 " elements, GGUF version %u\n", qd_gguf_count(file), elements,
               qd_gguf_version(file));
    qd_gguf_destroy(file);
    return code;
}

static bool ends_in_gguf(const char *path)
{
    size_t length = strlen(path);
    return length > 5 && strcasecmp(path + length - 5, ".gguf") == 0;
}

static void print_model(const qd_model *model, const qd_format *format)
{
    const qd_model_config *config = qd_model_borrow_config(model);
    for (size_t i = 0; i < qd_model_tensor_count(model); i++)
        print_tensor(qd_model_tensor_at(model, i));
    printf("%s: %zu blocks, hidden %zu, vocabulary %zu, %zu positions, stored as %s\n", config->architecture,
           config->blocks, config->hidden, config->vocabulary, config->max_positions, config->dtype);
    if (format != NULL)
        printf("quantized: %s\n", format->name);
    if (qd_model_quantized_source(model) != NULL)
        printf("weights come as %s\n", qd_model_quantized_source(model));
    printf("%zu linear layers:\n", qd_model_linear_count(model));
    for (size_t i = 0; i < qd_model_linear_count(model); i++) {
        const qd_linear *linear = qd_model_linear_at(model, i);
        printf("  %4zu  %zu x %zu  input group %zu  %s%s\n", i, linear->out, linear->in, linear->group, linear->name,
               linear->bias == NULL ? "" : " (bias)");
    }
    for (size_t i = 0; qd_model_warning_at(model, i) != NULL; i++)
        printf("warning: %s\n", qd_model_warning_at(model, i));
}

static qd_code inspect_folder(const char *path, qd_error *err)
{
    qd_artifact *artifact = NULL;
    qd_code code = qd_artifact_open(path, &artifact, err);
    if (code == QD_OK)
        print_model(qd_artifact_model(artifact), qd_artifact_format(artifact));
    qd_artifact_destroy(artifact);
    return code;
}

static int run(const qd_arguments *arguments)
{
    qd_error err = { 0 };
    struct stat info;
    qd_code code;
    if (stat(arguments->operands[0], &info) != 0)
        code = qd_fail_errno(&err, "'%s'", arguments->operands[0]);
    else if (S_ISDIR(info.st_mode))
        code = inspect_folder(arguments->operands[0], &err);
    else if (ends_in_gguf(arguments->operands[0]))
        code = inspect_gguf(arguments->operands[0], &err);
    else
        code = inspect_file(arguments->operands[0], &err);
    return code == QD_OK ? QD_EXIT_OK : qd_verb_fail(code, &err);
}

const qd_verb qd_verb_inspect = {
    .name = "inspect",
    .summary = "tensors, types, shapes and metadata of a safetensors or GGUF file, or a model folder",
    .operands = "FILE_OR_DIR",
    .operand_count = 1,
    .options = options,
    .run = run,
};
