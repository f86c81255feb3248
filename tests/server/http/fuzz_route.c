/* fuzz_route.c: any method and path: a route, with an id in its form, or a problem. First line of the input: the
 * method. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/route.h"
#include "jobs/ident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void find(const char *method, const char *target)
{
    qd_error err;
    qd_request request = { .method = qd_method_find(method) };
    qd_reply reply;
    qd_reply_init(&reply);
    if (qd_target_parse(target, &request.target, &err) == QD_OK) {
        const qd_route *route = qd_route_find(&request, method, &reply);
        if (route == NULL)
            assert(reply.status >= 400 && reply.status < 500 && reply.length > 0);
        else {
            assert(route->method == request.method && reply.status == 0);
            assert((strstr(route->pattern, "{id}") != NULL) == (request.job[0] != '\0'));
            assert(request.job[0] == '\0' || qd_ident_ok(request.job));
            assert((strstr(route->pattern, "{path}") != NULL) == (request.rest != NULL));
        }
    }
    qd_reply_fini(&reply);
    qd_request_fini(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *line_end = strchr(text, '\n');
    if (line_end != NULL) {
        *line_end = '\0';
        find(text, line_end + 1);
    }
    free(text);
    return 0;
}
