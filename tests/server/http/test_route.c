/* test_route.c: the route table, alone and against schema/openapi.json; the documents compiled in. */
#include "check.h"

#include "base/file.h"
#include "base/json.h"
#include "http/documents.h"
#include "http/handlers.h"
#include "http/route.h"
#include "jobs/keys.h"

#define ID "01234567890123456789abcdez"

static json_t *contract(void)
{
    char path[4096];
    qd_error err;
    json_t *value = NULL;
    check_ok(qd_json_read_object(SOURCE_PATH(path, "schema/openapi.json"), 1 << 24, 64, &value, &err));
    return value;
}

/* Finds a route for "METHOD /target"; the reply tells why there is none. */
static const qd_route *find(const char *method, const char *target, qd_request *request, qd_reply *reply)
{
    qd_error err;
    *request = (qd_request){ .caller.request_id = "r", .method = qd_method_find(method) };
    qd_reply_init(reply);
    check_ok(qd_target_parse(target, &request->target, &err));
    return qd_route_find(request, method, reply);
}

static void expect_refusal(const char *method, const char *target, unsigned status, const char *part)
{
    qd_request request;
    qd_reply reply;
    assert_null(find(method, target, &request, &reply));
    if (reply.status != status)
        fail_msg("%s %s: %u instead of %u", method, target, reply.status, status);
    check_contains(reply.bytes, part);
    qd_reply_fini(&reply);
    qd_request_fini(&request);
}

static void every_row_is_found_by_its_own_pattern(void **state)
{
    (void)state;
    for (size_t i = 0; qd_route_at(i) != NULL; i++) {
        const qd_route *route = qd_route_at(i);
        QD_AUTO(qd_str_fini) qd_str target = { 0 };
        for (const char *c = route->pattern; *c != '\0';) {
            const char *word = strncmp(c, "{id}", 4) == 0 ? ID : strncmp(c, "{path}", 6) == 0 ? "a/b.txt" : NULL;
            if (word == NULL)
                qd_str_add_bytes(&target, c++, 1);
            else {
                qd_str_add(&target, word);
                c = strchr(c, '}') + 1;
            }
        }
        qd_request request;
        qd_reply reply;
        assert_ptr_equal(find(qd_method_name(route->method), qd_str_borrow(&target), &request, &reply), route);
        assert_string_equal(request.job, strstr(route->pattern, "{id}") == NULL ? "" : ID);
        if (strstr(route->pattern, "{path}") != NULL)
            assert_string_equal(request.rest, "a/b.txt");
        assert_true(route->handle != NULL && route->summary[0] != '\0');
        assert_int_equal(qd_route_index(route), i);
        qd_reply_fini(&reply);
        qd_request_fini(&request);
    }
}

static void what_has_no_row_is_refused_clearly(void **state)
{
    (void)state;
    expect_refusal("GET", "/nowhere", 404, "/nowhere");
    expect_refusal("GET", "/jobs/", 404, "/jobs/");
    expect_refusal("GET", "/../../etc/passwd", 404, "passwd");
    expect_refusal("GET", "/jobs/" ID "/artifacts/", 404, "artifacts");
    expect_refusal("GET", "/jobs/short", 404, "short");
    expect_refusal("GET", "/jobs/" ID "x", 404, "26");
    expect_refusal("GET", "/jobs?dry_run=true", 400, "dry_run");
    expect_refusal("GET", "/jobs?sate=queued", 400,
                   "state, tag, name, q, created_after, created_before, limit, cursor");
    expect_refusal("POST", "/jobs?dryrun=true", 400, "allowed here: dry_run");
    expect_refusal("DELETE", "/jobs/" ID "?dry_run=true", 400, "none");
    expect_refusal("GET", "/jobs?name=a&tag=b&name=a", 400, "'name' is given twice");
    expect_refusal("GET", "/jobs/" ID "/events?after=1&after=1", 400, "'after' is given twice");
    expect_refusal("BREW", "/jobs", 405, "GET, HEAD, POST");
    expect_refusal("POST", "/jobs/" ID, 405, "GET, HEAD, PATCH, DELETE");
}

static void a_wrong_method_gets_allow(void **state)
{
    (void)state;
    qd_request request;
    qd_reply reply;
    assert_null(find("PUT", "/jobs/" ID "/cancel", &request, &reply));
    assert_string_equal(qd_reply_header_get(&reply, "Allow"), "POST");
    qd_reply_fini(&reply);
    qd_request_fini(&request);
    assert_non_null(find("HEAD", "/jobs/" ID, &request, &reply));
    qd_reply_fini(&reply);
    qd_request_fini(&request);
}

/* ---- against the contract ---- */

static const json_t *operation_of(const json_t *document, const qd_route *route)
{
    char method[16] = "";
    const char *name = qd_method_name(route->method);
    for (size_t i = 0; name[i] != '\0'; i++)
        method[i] = (char)(name[i] | 0x20);
    return json_object_get(json_object_get(json_object_get(document, "paths"), route->pattern), method);
}

static size_t count_parameters(const json_t *operation, const char *name)
{
    size_t count = 0, i;
    json_t *parameter;
    json_array_foreach(json_object_get(operation, "parameters"), i, parameter)
    {
        const char *found = json_string_value(json_object_get(parameter, "name"));
        const char *in = json_string_value(json_object_get(parameter, "in"));
        count += strcmp(in, "query") == 0 && (name == NULL || strcmp(found, name) == 0);
    }
    return count;
}

/* Who may is said by the operation's security: the scope beside both ways to show a key, or nothing for everybody. */
static void scopes_agree(const qd_route *route, const json_t *operation)
{
    static const char *const schemes[] = { "key", "session" };
    const json_t *security = json_object_get(operation, "security");
    char scope[QD_SCOPES_TEXT];
    qd_scopes_print((unsigned)route->scope, scope);
    if (route->scope == QD_SCOPE_NONE) {
        assert_null(security);
        return;
    }
    assert_int_equal(json_array_size(security), QD_LENGTH(schemes) + 1);
    for (size_t i = 0; i < QD_LENGTH(schemes); i++) {
        const json_t *words = json_object_get(json_array_get(security, i), schemes[i]);
        assert_int_equal(json_array_size(words), 1);
        assert_string_equal(json_string_value(json_array_get(words, 0)), scope);
    }
    assert_int_equal(json_object_size(json_array_get(security, QD_LENGTH(schemes))), 0); /* while no key was made */
    static const char *const statuses[] = { "401", "403", "429" };
    for (size_t i = 0; i < QD_LENGTH(statuses); i++)
        if (json_object_get(json_object_get(operation, "responses"), statuses[i]) == NULL)
            fail_msg("%s %s does not declare %s", qd_method_name(route->method), route->pattern, statuses[i]);
}

/* Only what tells nothing of jobs is for everybody. */
static void every_row_has_its_scope_decided(void **state)
{
    (void)state;
    static const char *const open[] = {
        "/catalog", "/livez", "/readyz", "/openapi.json", "/schema/job.json", "/session"
    };
    for (size_t i = 0; qd_route_at(i) != NULL; i++) {
        const qd_route *route = qd_route_at(i);
        bool is_open = route->handle == qd_get_document || route->handle == qd_get_page;
        for (size_t k = 0; k < QD_LENGTH(open); k++)
            is_open |= strcmp(route->pattern, open[k]) == 0;
        bool is_artifact = strstr(route->pattern, "/artifacts") != NULL;
        bool is_admin = strncmp(route->pattern, "/keys", 5) == 0 || strncmp(route->pattern, "/admin/", 7) == 0 ||
                        strcmp(route->pattern, "/audit") == 0;
        qd_scope_bit wanted = is_open                   ? QD_SCOPE_NONE
                              : is_admin                ? QD_SCOPE_ADMIN
                              : is_artifact             ? QD_SCOPE_ARTIFACTS_READ
                              : route->method == QD_GET ? QD_SCOPE_JOBS_READ
                                                        : QD_SCOPE_JOBS_WRITE;
        if (route->scope != wanted)
            fail_msg("%s %s has scope %d, %d is wanted", qd_method_name(route->method), route->pattern,
                     (int)route->scope, (int)wanted);
    }
}

static void table_and_contract_agree(void **state)
{
    (void)state;
    json_t *document = contract();
    size_t routes = 0, operations = 0;
    for (; qd_route_at(routes) != NULL; routes++) {
        const qd_route *route = qd_route_at(routes);
        const json_t *operation = operation_of(document, route);
        if (operation == NULL)
            fail_msg("%s %s is not in openapi.json", qd_method_name(route->method), route->pattern);
        assert_string_equal(json_string_value(json_object_get(operation, "summary")), route->summary);
        assert_int_equal(json_object_get(operation, "requestBody") != NULL, route->max_body > 0);
        size_t parameters = 0;
        for (; route->parameters != NULL && route->parameters[parameters] != NULL; parameters++)
            assert_int_equal(count_parameters(operation, route->parameters[parameters]), 1);
        assert_int_equal(count_parameters(operation, NULL), parameters);
        scopes_agree(route, operation);
    }
    const char *path, *method;
    json_t *item, *operation;
    json_object_foreach(json_object_get(document, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            operations += strcmp(method, "parameters") != 0;
        }
    }
    assert_int_equal(operations, routes);
    json_decref(document);
}

/* "#/components/schemas/Job" inside the document. */
static void check_reference(const json_t *document, const char *reference)
{
    char copy[256];
    if (reference[0] != '#')
        return;
    snprintf(copy, sizeof copy, "%s", reference + 1);
    const json_t *at = document;
    char *rest = NULL;
    for (char *part = strtok_r(copy, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest))
        at = json_object_get(at, part);
    if (at == NULL)
        fail_msg("%s leads nowhere", reference);
}

static void check_references(const json_t *document, const json_t *node)
{
    const char *key;
    json_t *child;
    size_t i;
    if (json_is_string(json_object_get(node, "$ref")))
        check_reference(document, json_string_value(json_object_get(node, "$ref")));
    json_object_foreach((json_t *)(uintptr_t)node, key, child)
    {
        check_references(document, child);
    }
    json_array_foreach(node, i, child)
    {
        check_references(document, child);
    }
}

static void every_reference_of_the_contract_resolves(void **state)
{
    (void)state;
    json_t *document = contract();
    assert_int_equal(strncmp(json_string_value(json_object_get(document, "openapi")), "3.1", 3), 0);
    check_references(document, document);
    json_decref(document);
}

static void the_contract_names_every_audited_action(void **state)
{
    (void)state;
    json_t *document = contract();
    const json_t *actions = json_object_get(
        json_object_get(json_object_get(json_object_get(document, "components"), "schemas"), "AuditAction"), "enum");
    size_t count = 0;
    for (; qd_audit_word(count) != NULL; count++)
        assert_string_equal(json_string_value(json_array_get(actions, count)), qd_audit_word(count));
    assert_int_equal(json_array_size(actions), count);
    json_decref(document);
}

static void the_contract_names_every_job_state(void **state)
{
    (void)state;
    json_t *document = contract();
    const json_t *states = json_object_get(
        json_object_get(json_object_get(json_object_get(document, "components"), "schemas"), "State"), "enum");
    size_t count = 0;
    for (; qd_state_name(count) != NULL; count++) {
        size_t i, found = 0;
        json_t *name;
        json_array_foreach(states, i, name)
        {
            found += strcmp(json_string_value(name), qd_state_name(count)) == 0;
        }
        if (found != 1)
            fail_msg("state '%s' is not in openapi.json", qd_state_name(count));
    }
    assert_int_equal(json_array_size(states), count);
    json_decref(document);
}

/* ---- documents ---- */

static void what_is_compiled_in_is_the_file_byte_for_byte(void **state)
{
    (void)state;
    for (const qd_embedded *file = qd_embedded_files; file->name != NULL; file++) {
        char path[4096], relative[128];
        qd_error err;
        QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
        snprintf(relative, sizeof relative, "%s/%s", strcmp(file->name, "openapi.json") == 0 ? "schema" : "web",
                 file->name);
        check_ok(qd_file_read(SOURCE_PATH(path, relative), 1 << 24, &bytes, &err));
        assert_int_equal(bytes.length, file->length);
        assert_memory_equal(bytes.data, file->text, file->length);
    }
}

static void every_document_has_a_route_and_a_tag_and_the_json_ones_parse(void **state)
{
    (void)state;
    qd_error err;
    qd_documents *documents = NULL;
    check_ok(qd_documents_create(&documents, &err));
    static const char *const paths[] = { "/",          "/app.js",   "/compare.js",   "/experts.js",
                                         "/form.js",   "/job.js",   "/list.js",      "/page.js",
                                         "/style.css", "/icon.svg", "/openapi.json", "/schema/job.json",
                                         "/catalog" };
    for (size_t i = 0; i < QD_LENGTH(paths); i++) {
        const qd_document *document = qd_documents_find(documents, paths[i]);
        assert_non_null(document);
        assert_int_equal(strlen(document->etag), 66);
        qd_request request;
        qd_reply reply;
        const qd_app app = { .documents = documents };
        const qd_route *route = find("GET", paths[i], &request, &reply);
        assert_non_null(route);
        check_ok(qd_route_run(route, &app, &request, &reply, &err));
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.length, document->length);
        if (strstr(document->content_type, "json") != NULL) {
            json_t *value = NULL;
            check_ok(qd_json_parse_object(document->text, document->length, 64, &value, &err));
            json_decref(value);
        }
        qd_reply_fini(&reply);
        qd_request_fini(&request);
    }
    assert_null(qd_documents_find(documents, "/other"));
    qd_documents_destroy(documents);
}

static void a_page_may_load_nothing_from_elsewhere_and_nothing_inline(void **state)
{
    (void)state;
    qd_error err;
    qd_documents *documents = NULL;
    qd_request request;
    qd_reply reply;
    check_ok(qd_documents_create(&documents, &err));
    const qd_app app = { .documents = documents };
    const qd_route *route = find("GET", "/", &request, &reply);
    check_ok(qd_route_run(route, &app, &request, &reply, &err));
    const char *policy = qd_reply_header_get(&reply, "Content-Security-Policy");
    check_contains(policy, "default-src 'none'");
    check_contains(policy, "frame-ancestors 'none'");
    assert_null(strstr(policy, "unsafe"));
    const char *page = qd_documents_find(documents, "/")->text;
    assert_null(strstr(page, "://"));
    assert_null(strstr(page, " style="));
    assert_null(strstr(page, " onclick="));
    assert_null(strstr(page, "<style"));
    assert_null(strstr(page, "<script>"));
    qd_reply_fini(&reply);
    qd_request_fini(&request);
    qd_documents_destroy(documents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_own_pattern),
        cmocka_unit_test(what_has_no_row_is_refused_clearly),
        cmocka_unit_test(a_wrong_method_gets_allow),
        cmocka_unit_test(every_row_has_its_scope_decided),
        cmocka_unit_test(table_and_contract_agree),
        cmocka_unit_test(every_reference_of_the_contract_resolves),
        cmocka_unit_test(the_contract_names_every_audited_action),
        cmocka_unit_test(the_contract_names_every_job_state),
        cmocka_unit_test(what_is_compiled_in_is_the_file_byte_for_byte),
        cmocka_unit_test(every_document_has_a_route_and_a_tag_and_the_json_ones_parse),
        cmocka_unit_test(a_page_may_load_nothing_from_elsewhere_and_nothing_inline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
