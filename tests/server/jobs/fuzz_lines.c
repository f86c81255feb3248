/* fuzz_lines.c: what a run writes, in pieces, through the line cutter and the event parser. */
#include <stdint.h>
#include <stdlib.h>

#include "jobs/child_event.h"
#include "jobs/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(void *ctx, const char *line, size_t length)
{
    qd_child_event event = { 0 };
    qd_error err = { 0 };
    (void)ctx;
    if (qd_child_event_parse(line, length, &event, &err) == QD_OK)
        qd_child_event_fini(&event);
    else if (err.code != QD_EFORMAT)
        abort(); /* whatever a run says, it is at most a bad line */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_lines *lines = calloc(1, sizeof *lines);
    if (lines == NULL || size == 0) {
        free(lines);
        return 0;
    }
    size_t piece = (size_t)data[0] + 1; /* the first byte says how it arrives */
    lines->line = parse;
    for (size_t at = 1; at < size; at += piece)
        qd_lines_feed(lines, (const char *)data + at, at + piece < size ? piece : size - at);
    qd_lines_feed(lines, "\n", 1);
    free(lines);
    return 0;
}
