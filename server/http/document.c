/* document.c: GET of documents that do not change while the server runs. */
#include "http/documents.h"
#include "http/handlers.h"
#include "http/range.h"

/* No inline script or style, nothing from elsewhere, no framing. */
#define POLICY \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

qd_code qd_get_document(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    const qd_document *document = qd_documents_find(app->documents, request->target.path);
    if (document == NULL)
        return qd_fail(err, QD_EINTERNAL, "route '%s' has no document", request->target.path);
    if (qd_if_none_match(request->headers[QD_IF_NONE_MATCH], document->etag))
        reply->status = 304;
    else
        qd_reply_static(reply, 200, document->content_type, document->text, document->length);
    qd_reply_header_set(reply, "ETag", "%s", document->etag);
    qd_reply_header_set(reply, "Cache-Control", "no-cache");
    return QD_OK;
}

qd_code qd_get_page(const qd_app *app, const qd_request *request, qd_reply *reply, qd_error *err)
{
    qd_code code = qd_get_document(app, request, reply, err);
    if (code == QD_OK) {
        qd_reply_header_set(reply, "Content-Security-Policy", "%s", POLICY);
        qd_reply_header_set(reply, "Referrer-Policy", "no-referrer");
    }
    return code;
}
