/* sse.c: see sse.h. */
#include "http/sse.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

void qd_sse_add_opening(qd_str *out)
{
    qd_str_add(out, ": events of a quantd job\nretry: 2000\n\n");
}

/* A type is one word of ours; a line end in it would forge fields. */
static bool word_ok(const char *word)
{
    return word[0] != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyz_-") == strlen(word);
}

uint64_t qd_sse_add_event(qd_str *out, const json_t *event)
{
    json_int_t id = json_integer_value(json_object_get(event, "id"));
    const char *type = json_string_value(json_object_get(event, "type"));
    if (id <= 0)
        return 0;
    /* The printer escapes line ends, so the data is one line. */
    char *text = qd_json_print(event);
    if (text == NULL) {
        out->failed = true;
        return 0;
    }
    qd_str_addf(out, "id: %" PRIu64 "\n", (uint64_t)id);
    if (type != NULL && word_ok(type))
        qd_str_addf(out, "event: %s\n", type);
    qd_str_add(out, "data: ");
    qd_str_add(out, text);
    qd_str_add(out, "\n\n");
    free(text);
    return (uint64_t)id;
}

void qd_sse_add_end(qd_str *out, const char *state)
{
    qd_str_addf(out, "event: end\ndata: {\"state\":\"%s\"}\n\n", state);
}

void qd_sse_add_resync(qd_str *out, uint64_t place)
{
    qd_str_addf(out, "id: %" PRIu64 "\nevent: resync\ndata: {\"after\":%" PRIu64 "}\n\n", place, place);
}

void qd_sse_add_heartbeat(qd_str *out)
{
    qd_str_add(out, ": heartbeat\n\n");
}
