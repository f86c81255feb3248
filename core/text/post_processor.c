/* post_processor.c: see post_processor.h. Every type ends as two lists of ids: a step wraps what earlier steps made. */
#include "text/post_processor.h"

#include <string.h>

#include "text/vocab.h"

void qd_post_processor_fini(qd_post_processor *post)
{
    qd_ids_fini(&post->before);
    qd_ids_fini(&post->behind);
}

static qd_code add_id(qd_ids *ids, const json_t *id, qd_error *err)
{
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value > QD_VOCAB_LARGEST_ID)
        return qd_fail(err, QD_EFORMAT, "a token id within 0..%d is wanted, found %s", QD_VOCAB_LARGEST_ID,
                       qd_json_type_name(id));
    return qd_ids_add(ids, (uint32_t)value, err);
}

static qd_code add_special(const json_t *spec, const json_t *item, qd_ids *ids, qd_error *err)
{
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *entry = json_object_get(json_object_get(spec, "special_tokens"), name == NULL ? "" : name);
    const json_t *list = json_object_get(entry, "ids"), *id;
    if (!json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "'special_tokens': '%.40s' has no 'ids'", name == NULL ? "" : name);
    size_t i;
    json_array_foreach(list, i, id)
    {
        qd_code code = add_id(ids, id, err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}

static qd_code template_step(const json_t *spec, qd_ids *before, qd_ids *behind, qd_error *err)
{
    const json_t *single = json_object_get(spec, "single"), *item;
    size_t texts = 0, i;
    json_array_foreach(single, i, item)
    {
        const json_t *special = json_object_get(item, "SpecialToken");
        if (special != NULL) {
            qd_code code = add_special(spec, special, texts == 0 ? before : behind, err);
            if (code != QD_OK)
                return code;
        } else if (json_is_object(json_object_get(item, "Sequence")))
            texts++;
        else
            return qd_fail(err, QD_EFORMAT, "'single': item %zu is neither SpecialToken nor Sequence", i);
    }
    if (texts != 1)
        return qd_fail(err, QD_EFORMAT, "'single': the text must stand in it once, found %zu times", texts);
    return QD_OK;
}

/* BERT and RoBERTa: {"cls": ["[CLS]", 101], "sep": ["[SEP]", 102]}. */
static qd_code pair_step(const json_t *spec, qd_ids *before, qd_ids *behind, qd_error *err)
{
    qd_code code = add_id(before, json_array_get(json_object_get(spec, "cls"), 1), err);
    return code == QD_OK ? add_id(behind, json_array_get(json_object_get(spec, "sep"), 1), err) : code;
}

static qd_code no_step(const json_t *spec, qd_ids *before, qd_ids *behind, qd_error *err)
{
    (void)spec;
    (void)before;
    (void)behind;
    (void)err;
    return QD_OK;
}

typedef struct post_row {
    const char *name;
    qd_code (*read)(const json_t *spec, qd_ids *before, qd_ids *behind, qd_error *err);
} post_row;
static const post_row table[] = { { "TemplateProcessing", template_step },
                                  { "ByteLevel", no_step }, /* trims offsets only, which nobody asks for */
                                  { "BertProcessing", pair_step },
                                  { "RobertaProcessing", pair_step } };

static qd_code unknown(const char *name, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    qd_str_add(&known, "Sequence");
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        qd_str_addf(&known, ", %s", table[i].name);
    return qd_fail(err, QD_EUNSUPPORTED, "post_processor type '%.60s' is not supported; known: %s", name,
                   qd_str_borrow(&known));
}

/* The step's ids go outside of those that are there. */
static qd_code wrap(const post_row *row, const json_t *spec, qd_post_processor *out, qd_error *err)
{
    QD_AUTO(qd_ids_fini) qd_ids before = { 0 }, behind = { 0 };
    qd_code code = row->read(spec, &before, &behind, err);
    if (code != QD_OK)
        return qd_within(err, code, "post_processor %s", row->name);
    code = qd_ids_append(&before, &out->before, err);
    if (code == QD_OK)
        code = qd_ids_append(&out->behind, &behind, err);
    qd_ids swap = out->before;
    out->before = before;
    before = swap;
    return code;
}

qd_code qd_post_processor_parse(const json_t *spec, qd_post_processor *out, qd_error *err)
{
    if (spec == NULL || json_is_null(spec))
        return QD_OK;
    const char *type = json_string_value(json_object_get(spec, "type"));
    if (type == NULL)
        return qd_fail(err, QD_EFORMAT, "post_processor: an object with a string 'type' is wanted, found %s",
                       qd_json_type_name(spec));
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(spec, "processors"), *item;
        qd_code code =
            json_is_array(list) ? QD_OK : qd_fail(err, QD_EFORMAT, "post_processor: Sequence needs 'processors'");
        size_t i;
        json_array_foreach(list, i, item)
        {
            if (code == QD_OK)
                code = qd_post_processor_parse(item, out, err);
        }
        return code;
    }
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, type) == 0)
            return wrap(&table[i], spec, out, err);
    return unknown(type, err);
}
