/* chat_json.c: the filter tojson: JSON as Python's json.dumps writes it, ", " and ": " between, and one item a line
 * when it indents. */
#include "text/chat_run.h"
#include "text/utf8.h"

enum { DEPTH = 200, INDENT_LIMIT = 16 };

typedef struct writer {
    qd_chat_run *run;
    qd_chat_escapes escapes;
    int64_t indent;
    size_t depth;
    qd_str *out;
} writer;

static void write_escaped(const writer *w, uint32_t c)
{
    static const char letters[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    for (size_t i = 0; i < sizeof names - 1; i++)
        if (c == (uint32_t)letters[i]) {
            qd_str_addf(w->out, "\\%c", names[i]);
            return;
        }
    if (c < 0x20 || (c > 0x7E && c < 0x10000 && w->escapes == QD_CHAT_ASCII_ONLY))
        qd_str_addf(w->out, "\\u%04x", c);
    else if (c >= 0x10000 && w->escapes == QD_CHAT_ASCII_ONLY)
        qd_str_addf(w->out, "\\u%04x\\u%04x", 0xD7C0 + (c >> 10), 0xDC00 + (c & 0x3FF));
    else
        qd_utf8_add(c, w->out);
}

static qd_code write_text(writer *w, qd_chat_text text)
{
    qd_code code = qd_chat_spend(w->run, 8 * text.length);
    qd_str_add(w->out, "\"");
    for (size_t at = 0; code == QD_OK && at < text.length;) {
        uint32_t c;
        at += qd_utf8_get(text.bytes + at, &c);
        write_escaped(w, c);
    }
    qd_str_add(w->out, "\"");
    return code;
}

static void break_line(const writer *w)
{
    if (w->indent < 0)
        return;
    qd_str_add(w->out, "\n");
    for (size_t i = 0; i < w->depth * (size_t)w->indent; i++)
        qd_str_add(w->out, " ");
}

/* The comma in front of item `i`, and its line. */
static void begin_item(const writer *w, size_t i)
{
    if (i > 0)
        qd_str_add(w->out, w->indent < 0 ? ", " : ",");
    break_line(w);
}

static qd_code write_value(writer *w, const qd_chat_value *value);

static qd_code write_list(writer *w, const qd_chat_list *list)
{
    qd_code code = QD_OK;
    qd_str_add(w->out, "[");
    w->depth++;
    for (size_t i = 0; code == QD_OK && i < list->count; i++) {
        begin_item(w, i);
        code = write_value(w, &list->items[i]);
    }
    w->depth--;
    if (list->count > 0)
        break_line(w);
    qd_str_add(w->out, "]");
    return code;
}

static qd_code write_dict(writer *w, const qd_chat_dict *dict)
{
    qd_code code = QD_OK;
    qd_str_add(w->out, "{");
    w->depth++;
    for (size_t i = 0; code == QD_OK && i < dict->count; i++) {
        begin_item(w, i);
        code = write_text(w, dict->items[i].key);
        qd_str_add(w->out, ": ");
        if (code == QD_OK)
            code = write_value(w, &dict->items[i].value);
    }
    w->depth--;
    if (dict->count > 0)
        break_line(w);
    qd_str_add(w->out, "}");
    return code;
}

static qd_code write_value(writer *w, const qd_chat_value *value)
{
    qd_code code = qd_chat_spend(w->run, w->depth * 16);
    if (code == QD_OK && w->depth > DEPTH)
        code = qd_chat_fail(w->run, QD_ETOOBIG, "tojson: more than %d levels", DEPTH);
    if (code != QD_OK)
        return code;
    switch (value->kind) {
    case QD_CHAT_NONE:
        qd_str_add(w->out, "null");
        return QD_OK;
    case QD_CHAT_BOOL:
        qd_str_add(w->out, value->as.integer != 0 ? "true" : "false");
        return QD_OK;
    case QD_CHAT_INTEGER:
        qd_str_addf(w->out, "%lld", (long long)value->as.integer);
        return QD_OK;
    case QD_CHAT_TEXT:
        return write_text(w, value->as.text);
    case QD_CHAT_LIST:
        return write_list(w, value->as.list);
    case QD_CHAT_DICT:
        return write_dict(w, value->as.dict);
    case QD_CHAT_REAL:
        return qd_chat_fail(w->run, QD_EUNSUPPORTED, "tojson of a real number: not supported");
    default:
        return qd_chat_fail(w->run, QD_EINVAL, "tojson of %s", qd_chat_kind_name(value->kind));
    }
}

qd_code qd_chat_dump_json(qd_chat_run *run, const qd_chat_value *value, qd_chat_escapes escapes, int64_t indent,
                          qd_str *out)
{
    if (indent > INDENT_LIMIT)
        return qd_chat_fail(run, QD_ETOOBIG, "tojson: an indent of more than %d", INDENT_LIMIT);
    writer w = { run, escapes, indent, 0, out };
    return write_value(&w, value);
}
