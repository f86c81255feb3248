/* component.c: see component.h. */
#include "text/component.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

/* No honest step makes more of a text (NFKD: 18 times); hostile ones could fill the memory. */
enum { GROWTH = 64, GROWTH_BYTES = 4096 };

void qd_chain_fini(qd_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->steps[i].row->destroy != NULL)
            chain->steps[i].row->destroy(chain->steps[i].state);
    free(chain->steps);
    *chain = (qd_chain){ 0 };
}

static const qd_component *find(const qd_component_kind *kind, const char *name)
{
    for (size_t i = 0; i < kind->count; i++)
        if (strcmp(kind->rows[i]->name, name) == 0)
            return kind->rows[i];
    return NULL;
}

static qd_code unknown(const qd_component_kind *kind, const char *name, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str known = { 0 };
    qd_str_add(&known, "Sequence");
    for (size_t i = 0; i < kind->count; i++)
        qd_str_addf(&known, ", %s", kind->rows[i]->name);
    return qd_fail(err, QD_EUNSUPPORTED, "%s type '%.60s' is not supported; known: %s", kind->field, name,
                   qd_str_borrow(&known));
}

static qd_code parse_sequence(const qd_component_kind *kind, const json_t *spec, qd_chain *chain, qd_error *err)
{
    const json_t *list = json_object_get(spec, kind->list), *item;
    if (!json_is_array(list))
        return qd_fail(err, QD_EFORMAT, "%s: Sequence needs the array '%s', found %s", kind->field, kind->list,
                       qd_json_type_name(list));
    size_t i;
    json_array_foreach(list, i, item)
    {
        qd_code code = qd_chain_parse(kind, item, chain, err);
        if (code != QD_OK)
            return code;
    }
    return QD_OK;
}

/* Recursion is bounded by the depth limit of the JSON parser. */
qd_code qd_chain_parse(const qd_component_kind *kind, const json_t *spec, qd_chain *chain, qd_error *err)
{
    if (spec == NULL || json_is_null(spec))
        return QD_OK;
    const char *type = json_string_value(json_object_get(spec, "type"));
    if (type == NULL)
        return qd_fail(err, QD_EFORMAT, "%s: an object with a string 'type' is wanted, found %s", kind->field,
                       qd_json_type_name(spec));
    if (strcmp(type, "Sequence") == 0)
        return parse_sequence(kind, spec, chain, err);
    const qd_component *row = find(kind, type);
    if (row == NULL)
        return unknown(kind, type, err);
    qd_code code = qd_grow((void **)&chain->steps, &chain->capacity, chain->count + 1, sizeof *chain->steps, err);
    void *state = NULL;
    if (code == QD_OK && row->parse != NULL)
        code = row->parse(spec, &state, err);
    if (code != QD_OK)
        return qd_within(err, code, "%s %s", kind->field, row->name);
    chain->steps[chain->count++] = (qd_step){ row, state };
    return QD_OK;
}

qd_code qd_chain_run(const qd_chain *chain, qd_pieces *pieces, qd_pieces *spare, qd_error *err)
{
    const size_t limit = GROWTH_BYTES + GROWTH * qd_min_size(pieces->text.length, SIZE_MAX / (2 * GROWTH));
    for (size_t i = 0; i < chain->count; i++) {
        const qd_step *step = &chain->steps[i];
        qd_pieces_clear(spare);
        spare->limit = limit;
        qd_code code = step->row->apply(step->state, pieces, spare, err);
        if (code == QD_OK)
            code = qd_pieces_check(spare, err);
        if (code != QD_OK)
            return qd_within(err, code, "tokenizer step %s", step->row->name);
        qd_pieces swap = *pieces;
        *pieces = *spare;
        *spare = swap;
    }
    return QD_OK;
}

qd_code qd_component_text(const json_t *object, const char *key, const char **out, qd_error *err)
{
    *out = json_string_value(json_object_get(object, key));
    if (*out == NULL)
        return qd_fail(err, QD_EFORMAT, "'%s': a string is wanted, found %s", key,
                       qd_json_type_name(json_object_get(object, key)));
    return QD_OK;
}

qd_code qd_component_char(const json_t *object, const char *key, uint32_t *out, qd_error *err)
{
    const char *text;
    qd_code code = qd_component_text(object, key, &text, err);
    if (code == QD_OK && (text[0] == '\0' || text[qd_utf8_get(text, out)] != '\0'))
        code = qd_fail(err, QD_EFORMAT, "'%s': one character is wanted, found '%.40s'", key, text);
    return code;
}
