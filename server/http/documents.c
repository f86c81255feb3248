/* documents.c: see documents.h. */
#include "http/documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/recipe.h"

#define HTML "text/html; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"
#define STYLE "text/css; charset=utf-8"

/* A path is either a compiled-in file or made once from the registries. */
static const struct source {
    const char *path, *content_type, *file;
    json_t *(*make)(void);
} sources[] = {
    { "/", HTML, "index.html", NULL },
    { "/app.js", SCRIPT, "app.js", NULL },
    { "/compare.js", SCRIPT, "compare.js", NULL },
    { "/form.js", SCRIPT, "form.js", NULL },
    { "/experts.js", SCRIPT, "experts.js", NULL },
    { "/job.js", SCRIPT, "job.js", NULL },
    { "/list.js", SCRIPT, "list.js", NULL },
    { "/login.js", SCRIPT, "login.js", NULL },
    { "/page.js", SCRIPT, "page.js", NULL },
    { "/style.css", STYLE, "style.css", NULL },
    { "/icon.svg", "image/svg+xml", "icon.svg", NULL },
    { "/openapi.json", "application/json", "openapi.json", NULL },
    { "/schema/job.json", "application/schema+json", NULL, qd_recipe_schema },
    { "/catalog", "application/json", NULL, qd_catalog_print },
};

struct qd_documents {
    qd_document items[QD_LENGTH(sources)];
    char *made[QD_LENGTH(sources)]; /* owned texts; NULL for compiled-in ones */
};

static qd_code load_text(const struct source *source, qd_document *document, char **out_made, qd_error *err)
{
    if (source->make != NULL) {
        QD_AUTO(qd_json_fini) json_t *value = source->make();
        *out_made = value == NULL ? NULL : qd_json_print(value);
        document->text = *out_made;
        document->length = *out_made == NULL ? 0 : strlen(*out_made);
        return *out_made == NULL ? qd_fail(err, QD_ENOMEM, "%s: out of memory", source->path) : QD_OK;
    }
    for (const qd_embedded *file = qd_embedded_files; file->name != NULL; file++)
        if (strcmp(file->name, source->file) == 0) {
            document->text = file->text;
            document->length = file->length;
            return QD_OK;
        }
    return qd_fail(err, QD_EINTERNAL, "'%s' is not compiled in", source->file);
}

static qd_code load(const struct source *source, qd_document *document, char **out_made, qd_error *err)
{
    char digest[QD_DIGEST_HEX];
    qd_code code = load_text(source, document, out_made, err);
    if (code == QD_OK)
        code = qd_sha256(document->text, document->length, digest, err);
    if (code != QD_OK)
        return code;
    document->path = source->path;
    document->content_type = source->content_type;
    snprintf(document->etag, sizeof document->etag, "\"%s\"", digest);
    return QD_OK;
}

qd_code qd_documents_create(qd_documents **out, qd_error *err)
{
    qd_documents *documents = NULL;
    qd_code code = qd_alloc(1, sizeof *documents, (void **)&documents, err);
    for (size_t i = 0; code == QD_OK && i < QD_LENGTH(sources); i++)
        code = load(&sources[i], &documents->items[i], &documents->made[i], err);
    if (code != QD_OK) {
        qd_documents_destroy(documents);
        return code;
    }
    *out = documents;
    return QD_OK;
}

void qd_documents_destroy(qd_documents *documents)
{
    for (size_t i = 0; documents != NULL && i < QD_LENGTH(sources); i++)
        free(documents->made[i]);
    free(documents);
}

const qd_document *qd_documents_find(const qd_documents *documents, const char *path)
{
    for (size_t i = 0; i < QD_LENGTH(sources); i++)
        if (strcmp(documents->items[i].path, path) == 0)
            return &documents->items[i];
    return NULL;
}
