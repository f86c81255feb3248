/* provenance.c: see provenance.h. */
#include "engine/provenance.h"

#include <stdio.h>
#include <string.h>

#include "config.h"

#include "base/file.h"
#include "base/json.h"
#include "linalg/gemm.h"
#include "linalg/product.h"
#include "quant/sweep.h"

enum { RECORD_LIMIT = 256 << 20, RECORD_DEPTH = 16, NAME_SIZE = 160 };

static json_t *resource(const char *name, const char *sha256)
{
    return json_pack("{s:s, s:{s:s}}", "name", name, "digest", "sha256", sha256);
}

static qd_code read_json(const char *dir, const char *name, json_t **out, qd_error *err)
{
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, name);
    return path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory")
                        : qd_json_read_object(path, RECORD_LIMIT, RECORD_DEPTH, out, err);
}

/* The manifest's files, and the manifest. */
static qd_code subjects(const char *dir, json_t *out, qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    size_t index;
    const json_t *file;
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, "manifest.json");
    qd_code code =
        path == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : read_json(dir, "manifest.json", &manifest, err);
    if (code == QD_OK)
        code = qd_sha256_file(path, hex, err);
    if (code != QD_OK)
        return code;
    json_array_foreach(json_object_get(manifest, "files"), index, file)
    {
        json_array_append_new(out, resource(json_string_value(json_object_get(file, "path")),
                                            json_string_value(json_object_get(file, "sha256"))));
    }
    json_array_append_new(out, resource("manifest.json", hex));
    return QD_OK;
}

/* What the artifact was made from. */
static json_t *dependencies(const qd_context *c)
{
    char name[NAME_SIZE];
    size_t index;
    const json_t *file;
    json_t *out = json_array();
    json_array_foreach(c->model_files, index, file)
    {
        snprintf(name, sizeof name, "source/%.128s", json_string_value(json_object_get(file, "name")));
        json_array_append_new(out, resource(name, json_string_value(json_object_get(file, "sha256"))));
    }
    if (c->calibration.count > 0) {
        if (c->calibration_origin == QD_FROM_TEXT)
            json_array_append_new(out, resource("calibration text", c->text_digest));
        json_array_append_new(out, resource("calibration tokens", c->calibration_digest));
    }
    for (size_t i = 0; i < c->evaluation.text_count; i++) {
        const qd_evaluation_text *text = &c->evaluation.texts[i];
        bool sampled = qd_evaluation_origin(text) == QD_FROM_MODEL;
        snprintf(name, sizeof name, i == 0 ? "evaluation %s" : "evaluation %s %zu", sampled ? "tokens" : "text", i + 1);
        json_array_append_new(out, resource(name, sampled ? text->tokens_digest : text->digest));
    }
    for (size_t i = 0; i < c->tasks.sets.count; i++) {
        snprintf(name, sizeof name, "examples of %s", c->tasks.sets.items[i].task->name);
        json_array_append_new(out, resource(name, c->tasks.sets.items[i].digest));
    }
    return out;
}

/* The kind of processor, as it names itself. */
static void processor(char out[NAME_SIZE])
{
    char line[400];
    snprintf(out, NAME_SIZE, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) != 0 || colon == NULL || colon[1] == '\0')
            continue;
        snprintf(out, NAME_SIZE, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
}

static const char *compiler(void)
{
#if defined(__clang__)
    return __VERSION__; /* says so itself */
#else
    return "gcc " __VERSION__;
#endif
}

/* recipe: as in recipe.json. */
static json_t *predicate(const qd_context *c, json_t *recipe)
{
    char cpu[NAME_SIZE];
    processor(cpu);
    return json_pack("{s:{s:s, s:{s:O}, s:{s:I, s:s, s:s, s:s, s:s}, s:o}, s:{s:{s:s, s:{s:s, s:s, s:s}}, s:{}}}",
                     "buildDefinition", "buildType", "urn:quantd:quantize:v1", "externalParameters", "recipe", recipe,
                     "internalParameters", "seed", (json_int_t)c->recipe->seed, "instruction_set",
                     qd_sweep_kernel_best()->name, "blas_kernels", qd_blas_core_name(), "product_kernels",
                     qd_product_name(), "processor", cpu, "resolvedDependencies", dependencies(c), "runDetails",
                     "builder", "id", "urn:quantd", "version", "quantd", PACKAGE_VERSION, "OpenBLAS", qd_blas_version(),
                     "compiler", compiler(), "metadata");
}

qd_code qd_provenance_invocation(const json_t *statement, char out[QD_INVOCATION_ID], qd_error *err)
{
    char hex[QD_DIGEST_HEX];
    QD_AUTO(qd_json_fini) json_t *copy = json_deep_copy(statement);
    json_t *details = json_object_get(json_object_get(copy, "predicate"), "runDetails");
    json_object_del(json_object_get(details, "metadata"), "invocationId");
    QD_AUTO(qd_free_pointer) char *text = copy == NULL ? NULL : json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    qd_code code = text == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : qd_sha256(text, strlen(text), hex, err);
    if (code == QD_OK)
        snprintf(out, QD_INVOCATION_ID, "sha256:%s", hex);
    return code;
}

static qd_code write_statement(const char *dir, json_t *statement, qd_error *err)
{
    char invocation[QD_INVOCATION_ID];
    qd_code code = qd_provenance_invocation(statement, invocation, err);
    if (code != QD_OK)
        return code;
    json_t *details = json_object_get(json_object_get(statement, "predicate"), "runDetails");
    json_object_set_new(json_object_get(details, "metadata"), "invocationId", json_string(invocation));
    QD_AUTO(qd_free_pointer) char *text = json_dumps(statement, JSON_INDENT(1));
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(dir, QD_PROVENANCE_NAME);
    if (text == NULL || path == NULL)
        return qd_fail(err, QD_ENOMEM, "out of memory");
    return qd_file_write(path, text, strlen(text), err);
}

qd_code qd_provenance_write(const qd_context *c, qd_error *err)
{
    const char *dir = c->paths->out_dir;
    QD_AUTO(qd_json_fini) json_t *files = json_array(), *record = NULL, *statement = NULL;
    QD_AUTO(qd_free_pointer) char *first = qd_context_folder(c, 0);
    qd_code code =
        files == NULL || first == NULL ? qd_fail(err, QD_ENOMEM, "out of memory") : subjects(dir, files, err);
    if (code == QD_OK)
        code = read_json(first, "recipe.json", &record, err);
    if (code != QD_OK)
        return code;
    statement = json_pack("{s:s, s:O, s:s, s:o}", "_type", QD_STATEMENT_TYPE, "subject", files, "predicateType",
                          QD_PREDICATE_TYPE, "predicate", predicate(c, json_object_get(record, "recipe")));
    return statement == NULL ? qd_fail(err, QD_EINTERNAL, "the provenance could not be described")
                             : write_statement(dir, statement, err);
}
