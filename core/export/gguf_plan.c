/* gguf_plan.c: see gguf_plan.h. */
#include "export/gguf_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "export/weights.h"

void qd_gguf_plan_fini(qd_gguf_plan *plan)
{
    free(plan->entries);
    free(plan->pieces);
    *plan = (qd_gguf_plan){ 0 };
}

size_t qd_gguf_row_source(size_t at, size_t head_rows)
{
    if (head_rows == 0)
        return at;
    size_t start = at - at % head_rows, within = at % head_rows, half = head_rows / 2;
    return start + within % 2 * half + within / 2;
}

typedef struct maker {
    const qd_model *model;
    const qd_ggml_encoder *encoder;
    const qd_gguf_arch *arch;
    size_t heads, kv_heads;
    qd_gguf_plan *plan;
} maker;

static qd_code append(qd_gguf_plan *plan, const qd_gguf_entry *entry, const qd_gguf_piece *piece, qd_error *err)
{
    qd_code code = qd_grow((void **)&plan->entries, &plan->capacity, plan->count + 1, sizeof *plan->entries, err);
    if (code == QD_OK)
        code = qd_grow((void **)&plan->pieces, &plan->piece_capacity, plan->count + 1, sizeof *plan->pieces, err);
    if (code != QD_OK)
        return code;
    plan->entries[plan->count] = *entry;
    plan->pieces[plan->count++] = *piece;
    return QD_OK;
}

static qd_code name_entry(qd_gguf_entry *entry, const char *name, qd_error *err)
{
    if (strlen(name) >= sizeof entry->name)
        return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s' has a name of 64 bytes or more", name);
    memcpy(entry->name, name, strlen(name) + 1);
    return QD_OK;
}

/* Vectors and what has no type of its own there become float32; matrices keep their bytes where those say everything. */
static const qd_ggml_type *kept_type(const qd_tensor *tensor)
{
    static const char *const same[] = { "BF16", "F16" };
    if (tensor->rank == 2 && qd_tensor_is_plain(tensor)) {
        for (size_t i = 0; i < QD_LENGTH(same); i++)
            if (strcmp(tensor->dtype->name, same[i]) == 0)
                return qd_ggml_type_named(same[i]);
        if (tensor->dtype->block > 0)
            return qd_ggml_type_named(tensor->dtype->name);
    }
    return qd_ggml_type_named("F32");
}

static qd_code add_unit(const maker *m, const char *weight_name, const qd_gguf_piece *piece, qd_error *err)
{
    char name[QD_GGUF_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s.scale", (int)(strlen(weight_name) - strlen(".weight")), weight_name);
    qd_gguf_entry entry = { .type = qd_ggml_type_named("F32"), .rank = 1, .shape = { 1 } };
    qd_gguf_piece unit = { .origin = QD_GGUF_UNIT, .linear = piece->linear, .encoder = piece->encoder };
    qd_code code = name_entry(&entry, name, err);
    return code == QD_OK ? append(m->plan, &entry, &unit, err) : code;
}

static size_t head_rows(const maker *m, qd_gguf_rows rows, size_t count)
{
    size_t heads = rows == QD_GGUF_ROWS_BY_HEAD ? m->heads : m->kv_heads;
    return rows == QD_GGUF_ROWS_SAME || heads == 0 ? 0 : count / heads;
}

static qd_code add_kept(const maker *m, const qd_tensor *tensor, const char *theirs, qd_gguf_rows rows, qd_error *err)
{
    qd_gguf_entry entry = { .rank = tensor->rank, .type = kept_type(tensor) };
    const qd_gguf_piece piece = { .origin = QD_GGUF_KEPT,
                                  .tensor = tensor,
                                  .head_rows = head_rows(m, rows, (size_t)tensor->shape[0]) };
    if (tensor->rank == 0 || tensor->rank > QD_GGUF_ENTRY_RANK)
        return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s' has %zu dimensions; a GGUF has 1 to 4", tensor->name,
                       tensor->rank);
    memcpy(entry.shape, tensor->shape, tensor->rank * sizeof *entry.shape);
    qd_code code = name_entry(&entry, theirs, err);
    return code == QD_OK ? append(m->plan, &entry, &piece, err) : code;
}

static qd_code add_layer(const maker *m, size_t index, const char *theirs, qd_gguf_rows rows, qd_error *err)
{
    const qd_linear *linear = qd_model_linear_at(m->model, index);
    qd_gguf_entry entry = { .rank = 2, .shape = { linear->out, linear->in } };
    const qd_gguf_piece piece = { .origin = QD_GGUF_ROUNDED,
                                  .linear = index,
                                  .encoder = qd_ggml_encoder_for(m->encoder, linear->in),
                                  .head_rows = head_rows(m, rows, linear->out) };
    if (piece.encoder == NULL)
        return qd_fail(err, QD_EUNSUPPORTED, "layer '%s' has rows of %zu weights, no whole blocks of %zu", linear->name,
                       linear->in, m->encoder->layout->block);
    entry.type = qd_ggml_type_named(piece.encoder->type);
    qd_code code = name_entry(&entry, theirs, err);
    if (code == QD_OK)
        code = append(m->plan, &entry, &piece, err);
    return code == QD_OK && qd_ggml_has_layer_unit(piece.encoder) ? add_unit(m, theirs, &piece, err) : code;
}

/* SIZE_MAX = no layer has the name. */
static size_t find_layer(const qd_model *model, const char *name)
{
    size_t index;
    return qd_model_linear_named(model, name, strlen(name), &index) == NULL ? SIZE_MAX : index;
}

/* What the model has under our name, if anything: of a layer there need not be a weight, where it was packed. */
static qd_code add_named(const maker *m, const qd_gguf_name *row, size_t block, const char *ending, qd_error *err)
{
    char name[QD_GGUF_NAME_BYTES], ours[QD_GGUF_NAME_BYTES], theirs[QD_GGUF_NAME_BYTES];
    const char *number = strstr(row->ours, "%zu");
    if (number == NULL)
        snprintf(name, sizeof name, "%s", row->ours);
    else
        snprintf(name, sizeof name, "%.*s%zu%s", (int)(number - row->ours), row->ours, block, number + 3);
    snprintf(ours, sizeof ours, "%.500s%s", name, ending);
    if (qd_gguf_name_to_theirs(m->arch, ours, theirs) != row)
        return QD_OK;
    size_t layer = strcmp(ending, ".weight") == 0 ? find_layer(m->model, name) : SIZE_MAX;
    if (layer != SIZE_MAX)
        return add_layer(m, layer, theirs, row->rows, err);
    const qd_tensor *tensor = qd_model_tensor(m->model, ours);
    if (tensor == NULL || qd_gguf_leaves_out(m->model, tensor))
        return QD_OK;
    return add_kept(m, tensor, theirs, row->rows, err);
}

static qd_code add_rows(const maker *m, qd_error *err)
{
    static const char *const endings[] = { ".weight", ".bias" };
    size_t blocks = qd_model_borrow_config(m->model)->blocks;
    /* First what stands outside of blocks, then block by block, each in the order of the table. */
    for (size_t pass = 0; pass <= blocks; pass++)
        for (const qd_gguf_name *row = m->arch->names; row->ours != NULL; row++)
            for (size_t e = 0; (strstr(row->ours, "%zu") == NULL) == (pass == 0) && e < QD_LENGTH(endings); e++) {
                qd_code code = add_named(m, row, pass == 0 ? 0 : pass - 1, endings[e], err);
                if (code != QD_OK)
                    return code;
            }
    return QD_OK;
}

static qd_code add_divisors(const maker *m, qd_error *err)
{
    qd_gguf_entry entry = { .type = qd_ggml_type_named("F32"), .rank = 1, .shape = { m->plan->rope.dimensions / 2 } };
    const qd_gguf_piece piece = { .origin = QD_GGUF_DIVISORS };
    if (strcmp(qd_rope_scaling_name(&m->plan->rope), "llama3") != 0)
        return QD_OK;
    qd_code code = name_entry(&entry, "rope_freqs.weight", err);
    return code == QD_OK ? append(m->plan, &entry, &piece, err) : code;
}

bool qd_gguf_leaves_out(const qd_model *source, const qd_tensor *tensor)
{
    char theirs[QD_GGUF_NAME_BYTES];
    bool tied = json_is_true(json_object_get(qd_model_borrow_config_json(source), "tie_word_embeddings"));
    const qd_gguf_arch *arch = qd_gguf_arch_of_class(qd_model_borrow_config(source)->architecture);
    const qd_gguf_name *row = arch == NULL ? NULL : qd_gguf_name_to_theirs(arch, tensor->name, theirs);
    return row == NULL ? qd_glob_match("*rotary_emb.inv_freq", tensor->name)
                       : tied && strcmp(row->theirs, "output") == 0;
}

static bool is_planned(const qd_gguf_plan *plan, const qd_tensor *tensor)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->pieces[i].tensor == tensor)
            return true;
    return false;
}

/* Nothing of the source is left out in silence. */
static qd_code check_complete(const maker *m, qd_error *err)
{
    for (size_t i = 0; i < qd_model_tensor_count(m->model); i++) {
        size_t ignored;
        const qd_tensor *tensor = qd_model_tensor_at(m->model, i);
        if (!is_planned(m->plan, tensor) && qd_weights_linear(m->model, tensor, &ignored) == NULL &&
            !qd_gguf_leaves_out(m->model, tensor))
            return qd_fail(err, QD_EUNSUPPORTED, "tensor '%s' has no place in GGUF files of architecture '%s'",
                           tensor->name, m->arch->id);
    }
    return QD_OK;
}

qd_code qd_gguf_plan_make(const qd_model *model, const qd_ggml_encoder *encoder, qd_gguf_plan *plan, qd_error *err)
{
    maker m = { .model = model, .encoder = encoder, .plan = plan };
    const json_t *config = qd_model_borrow_config_json(model);
    *plan = (qd_gguf_plan){ 0 };
    qd_code code = qd_gguf_arch_of_model(model, &m.arch, err);
    if (code == QD_OK)
        code = qd_json_size(config, "num_attention_heads", 1, &m.heads, err);
    if (code == QD_OK)
        code = qd_json_size(config, "num_key_value_heads", m.heads, &m.kv_heads, err);
    if (code == QD_OK)
        code = qd_gguf_rope_of(model, &plan->rope, err);
    if (code == QD_OK)
        code = add_rows(&m, err);
    if (code == QD_OK)
        code = check_complete(&m, err);
    return code == QD_OK ? add_divisors(&m, err) : code;
}
