/* documents.c: see documents.h. A line as a document is document_line.c's. */
#include "text/documents.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "text/document_line.h"
#include "text/unpack.h"
#include "text/utf8.h"

enum { CHUNK_BYTES = 64 << 10, LOOK_BYTES = 4 << 10 };

struct qd_documents {
    char *name;
    qd_documents_way way;
    qd_text_format format; /* never auto */
    qd_unpacker *unpacker;
    qd_str buffer;   /* what was unpacked, from `at` on not given out yet */
    size_t at, seen; /* seen: up to here there is no newline behind `at` */
    bool ended;
    size_t line;
    uint64_t given;
};

static const char *const formats[] = { "auto", "text", "jsonl" };

const char *qd_text_format_name(size_t index)
{
    return index < QD_LENGTH(formats) ? formats[index] : NULL;
}

int qd_text_format_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(formats); i++)
        if (strcmp(formats[i], name) == 0)
            return (int)i;
    return -1;
}

/* ---- bytes ---- */

/* Forgets what was given out once it is the larger part: every byte is moved as often as it is read, about. */
static void forget_given(qd_documents *d)
{
    if (d->at <= d->buffer.length / 2)
        return;
    memmove(d->buffer.data, d->buffer.data + d->at, d->buffer.length - d->at);
    d->buffer.length -= d->at;
    d->seen -= d->at;
    d->at = 0;
}

static qd_code read_on(qd_documents *d, qd_error *err)
{
    char chunk[CHUNK_BYTES];
    size_t count = 0;
    forget_given(d);
    qd_code code = qd_unpack_read(d->unpacker, chunk, sizeof chunk, &count, err);
    if (code != QD_OK)
        return code;
    d->ended = count == 0;
    qd_str_add_bytes(&d->buffer, chunk, count);
    return qd_str_check(&d->buffer, err);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *rest(const qd_documents *d, size_t *out_length)
{
    *out_length = d->buffer.length - d->at;
    return qd_str_borrow(&d->buffer) + d->at;
}

/* ---- what it is ---- */

/* Files that are neither, and that somebody will name as a text all the same. '?' is any byte. */
static const struct {
    const char *magic, *name;
} strangers[] = {
    { "PAR1", "a Parquet file" },
    { "ARROW1", "an Arrow file" },
    { "PK\x03\x04", "a zip archive" },
    { "BZh?1AY&SY", "bzip2" },
    { "\xFD"
      "7zXZ",
      "xz" },
    { "7z\xBC\xAF", "a 7z archive" },
    { "\xFF\xFE", "text in UTF-16" },
    { "\xFE\xFF", "text in UTF-16" },
    { "%PDF-", "a PDF" },
};

/* Before JSON it is nothing; in a text it stays what it is, a character. */
static const char byte_order_mark[] = "\xEF\xBB\xBF";

static bool begins_with(const char *text, size_t length, const char *magic)
{
    size_t i = 0;
    while (magic[i] != '\0' && i < length && (magic[i] == '?' || magic[i] == text[i]))
        i++;
    return magic[i] == '\0';
}

static qd_code refuse_stranger(const char *text, size_t length, qd_error *err)
{
    for (size_t i = 0; i < QD_LENGTH(strangers); i++)
        if (begins_with(text, length, strangers[i].magic))
            return qd_fail(err, QD_EUNSUPPORTED,
                           "this is %s; a text in UTF-8 or JSON lines are wanted, each also in gzip or zstd",
                           strangers[i].name);
    return QD_OK;
}

/* Where, from `at` on, the first byte stands that is not blank. */
static size_t behind_blanks(const char *text, size_t length, size_t at)
{
    while (at < length && is_blank(text[at]))
        at++;
    return at;
}

/* {"  JSON lines;  [{"  one JSON document of them, which is refused;  everything else is text. */
static qd_code judge(const char *text, size_t length, qd_text_format *out, qd_error *err)
{
    char found[3] = { 0 }; /* the first bytes that are not blank */
    size_t mark = begins_with(text, length, byte_order_mark) ? sizeof byte_order_mark - 1 : 0;
    for (size_t i = 0, at = mark; i < sizeof found && (at = behind_blanks(text, length, at)) < length; i++, at++)
        found[i] = text[at];
    if (memcmp(found, "[{\"", sizeof found) == 0)
        return qd_fail(err, QD_EFORMAT,
                       "a JSON array of objects; JSON lines are wanted, an object a line (jq -c '.[]' makes them), or "
                       "format 'text' where it is one");
    *out = memcmp(found, "{\"", 2) == 0 ? QD_TEXT_JSONL : QD_TEXT_PLAIN;
    return refuse_stranger(text, length, err);
}

/* Where the job says what it is, nothing is read ahead. */
static qd_code look(qd_documents *d, qd_error *err)
{
    qd_code code = QD_OK;
    d->format = d->way.format;
    while (code == QD_OK && d->format == QD_TEXT_AUTO && !d->ended && d->buffer.length < LOOK_BYTES)
        code = read_on(d, err);
    return code == QD_OK && d->format == QD_TEXT_AUTO
               ? judge(qd_str_borrow(&d->buffer), d->buffer.length, &d->format, err)
               : code;
}

/* ---- opening ---- */

static qd_code start(qd_documents *d, int fd, qd_error *err)
{
    qd_code code = qd_unpack_open(fd, d->way.limit, &d->unpacker, err);
    if (code == QD_OK)
        code = look(d, err);
    return code == QD_OK ? QD_OK : qd_within(err, code, "'%s'", d->name);
}

qd_code qd_documents_attach(int fd, const char *name, const qd_documents_way *way, qd_documents **out, qd_error *err)
{
    qd_documents *d = NULL;
    qd_code code = qd_alloc(1, sizeof *d, (void **)&d, err);
    if (code == QD_OK)
        code = qd_dup(name, &d->name, err);
    if (code != QD_OK) {
        qd_close_fd(&fd);
        free(d);
        return code;
    }
    d->way = *way;
    code = start(d, fd, err);
    if (code == QD_OK)
        *out = d;
    else
        qd_documents_close(d);
    return code;
}

qd_code qd_documents_open(const char *path, const qd_documents_way *way, qd_documents **out, qd_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? qd_fail_errno(err, "open '%s'", path) : qd_documents_attach(fd, path, way, out, err);
}

void qd_documents_close(qd_documents *d)
{
    if (d == NULL)
        return;
    qd_unpack_close(d->unpacker);
    qd_str_fini(&d->buffer);
    free(d->name);
    free(d);
}

size_t qd_documents_line(const qd_documents *d)
{
    return d->line;
}

qd_text_format qd_documents_format(const qd_documents *d)
{
    return d->format;
}

const char *qd_documents_packing(const qd_documents *d)
{
    return qd_packing_name(qd_unpack_packing(d->unpacker));
}

uint64_t qd_documents_bytes(const qd_documents *d)
{
    return d->given;
}

/* ---- documents ---- */

static void give(qd_documents *d, size_t length)
{
    d->at += length;
    d->seen = qd_max_size(d->seen, d->at);
    d->given += length;
}

/* The line that text[bad] stands in, from 1. */
static size_t line_of(const char *text, size_t bad)
{
    size_t line = 1;
    for (const char *p = text; (p = memchr(p, '\n', bad - (size_t)(p - text))) != NULL; p++)
        line++;
    return line;
}

static qd_code check_utf8(const char *text, size_t length, qd_error *err)
{
    size_t valid = qd_utf8_valid_prefix(text, length);
    return valid == length ? QD_OK
                           : qd_fail(err, QD_EFORMAT, "line %zu: byte %zu of the text, 0x%02X, is not UTF-8",
                                     line_of(text, valid), valid, (unsigned char)text[valid]);
}

/* Of a sample, the characters that are whole. */
static size_t whole_characters(const char *text, size_t length)
{
    enum { LONGEST = 4 };
    size_t valid = qd_utf8_valid_prefix(text, length);
    return length - valid < LONGEST ? valid : length;
}

static qd_code next_plain(qd_documents *d, qd_str *text, bool *out_found, qd_error *err)
{
    qd_code code = QD_OK;
    size_t length;
    while (code == QD_OK && !d->ended && (d->way.sample == 0 || d->buffer.length < d->way.sample))
        code = read_on(d, err);
    if (code != QD_OK)
        return code;
    const char *bytes = rest(d, &length);
    if (d->way.sample > 0 && length >= d->way.sample)
        length = whole_characters(bytes, d->way.sample);
    if (d->given > 0 || length == 0)
        return QD_OK;
    code = check_utf8(bytes, length, err);
    if (code != QD_OK)
        return code;
    qd_str_add_bytes(text, bytes, length);
    give(d, length);
    *out_found = true;
    return qd_str_check(text, err);
}

/* Bytes of the next line with its newline, which the last may lack; 0 = there is none. */
static qd_code find_line(qd_documents *d, size_t *out_length, qd_error *err)
{
    for (;;) {
        size_t unseen = d->buffer.length - d->seen;
        const char *newline = unseen == 0 ? NULL : memchr(d->buffer.data + d->seen, '\n', unseen);
        if (newline != NULL || d->ended) {
            *out_length = newline == NULL ? d->buffer.length - d->at : (size_t)(newline + 1 - d->buffer.data) - d->at;
            return QD_OK;
        }
        d->seen = d->buffer.length;
        qd_code code = read_on(d, err);
        if (code != QD_OK)
            return code;
    }
}

static qd_code next_line(qd_documents *d, qd_str *text, bool *out_found, qd_error *err)
{
    size_t length, ignored;
    while (!*out_found && (d->way.sample == 0 || d->given < d->way.sample)) {
        qd_code code = find_line(d, &length, err);
        if (code != QD_OK || length == 0)
            return code;
        d->line++;
        const char *line = rest(d, &ignored);
        bool marked = d->line == 1 && begins_with(line, length, byte_order_mark);
        size_t from = marked ? sizeof byte_order_mark - 1 : 0;
        *out_found = behind_blanks(line, length, from) < length;
        if (*out_found)
            code = qd_document_of_line(line + from, length - from, d->way.renderer, text, err);
        if (code != QD_OK)
            return qd_within(err, code, "line %zu", d->line);
        give(d, length);
    }
    return QD_OK;
}

qd_code qd_documents_next(qd_documents *d, qd_str *text, bool *out_found, qd_error *err)
{
    bool found = false;
    qd_str_clear(text);
    qd_code code = d->format == QD_TEXT_JSONL ? next_line(d, text, &found, err) : next_plain(d, text, &found, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", d->name);
    *out_found = found;
    return QD_OK;
}

static qd_code count_bytes(qd_unpacker *unpacker, uint64_t *out_bytes, qd_error *err)
{
    char chunk[CHUNK_BYTES];
    size_t count = 1;
    qd_code code = QD_OK;
    for (*out_bytes = 0; code == QD_OK && count > 0; *out_bytes += count)
        code = qd_unpack_read(unpacker, chunk, sizeof chunk, &count, err);
    return code;
}

static qd_code measure(int fd, size_t limit, uint64_t *out_bytes, qd_error *err)
{
    struct stat info;
    qd_unpacker *unpacker = NULL;
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    qd_code code = qd_unpack_open(fd, limit, &unpacker, err);
    if (code != QD_OK)
        return code;
    if (!regular || qd_unpack_packing(unpacker) != QD_PACKING_NONE)
        code = count_bytes(unpacker, out_bytes, err);
    else if ((uint64_t)info.st_size > limit)
        code = qd_fail(err, QD_ETOOBIG, "it has more than the limit of %zu bytes", limit);
    else
        *out_bytes = (uint64_t)info.st_size;
    qd_unpack_close(unpacker);
    return code;
}

qd_code qd_documents_measure(const char *path, size_t limit, uint64_t *out_bytes, qd_error *err)
{
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qd_fail_errno(err, "open '%s'", path);
    qd_code code = measure(fd, limit, &bytes, err);
    if (code != QD_OK)
        return qd_within(err, code, "'%s'", path);
    *out_bytes = bytes;
    return QD_OK;
}
