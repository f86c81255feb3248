/* catalog.c: every registry as JSON, with typed parameters: GET /catalog. */
#include "engine/arithmetic.h"
#include "engine/effort.h"
#include "model/arch.h"

static json_t *print_param(const qd_param *param)
{
    static const char *const types[] = { "number", "integer", "choice", "boolean" };
    json_t *out = json_pack("{s:s, s:s, s:s?, s:s?}", "name", param->name, "type", types[param->type], "unit",
                            param->unit, "help", param->help);
    if (param->type == QD_PARAM_CHOICE) {
        json_t *words = json_array();
        for (size_t i = 0; param->choices[i] != NULL; i++)
            json_array_append_new(words, json_string(param->choices[i]));
        json_object_set_new(out, "choices", words);
        json_object_set_new(out, "default", json_string(param->choices[(size_t)param->def]));
    } else if (param->type == QD_PARAM_BOOLEAN)
        json_object_set_new(out, "default", json_boolean(param->def != 0));
    else {
        json_object_set_new(out, "min", json_real(param->min));
        json_object_set_new(out, "max", json_real(param->max));
        json_object_set_new(out, "default", json_real(param->def));
    }
    return out;
}

static json_t *print_params(const qd_param *params)
{
    json_t *out = json_array();
    for (; params != NULL && params->name != NULL; params++)
        json_array_append_new(out, print_param(params));
    return out;
}

static json_t *row(const char *name, const char *summary, const qd_param *params)
{
    return json_pack("{s:s, s:s, s:o}", "name", name, "summary", summary, "params", print_params(params));
}

static json_t *algorithms(void)
{
    static const char *const needs[] = { "nothing", "hessian", "mismatch" };
    json_t *out = json_array();
    for (size_t i = 0; qd_algorithm_at(i) != NULL; i++) {
        const qd_algorithm *a = qd_algorithm_at(i);
        json_t *one = row(a->name, a->summary, a->params);
        json_object_set_new(one, "alias", a->alias == NULL ? json_null() : json_string(a->alias));
        json_object_set_new(one, "needs", json_string(needs[a->needs]));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *alphabets(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_alphabet_at(i) != NULL; i++) {
        const qd_alphabet *a = qd_alphabet_at(i);
        json_t *one = row(a->name, a->summary, a->params), *widths = json_array();
        for (const double *b = a->bits; *b > 0; b++)
            json_array_append_new(widths, json_real(*b));
        json_object_set_new(one, "bits", widths);
        if (a->levels != NULL) {
            json_t *levels = json_array();
            for (size_t k = 0; k < a->levels->count; k++)
                json_array_append_new(levels, json_real(a->levels->value[k]));
            json_object_set_new(one, "levels", levels);
        }
        json_array_append_new(out, one);
    }
    return out;
}

/* With what each goes: widths, zeros and group size; null = any. */
static json_t *scale_types(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_scale_type_at(i) != NULL; i++) {
        const qd_scale_type *t = qd_scale_type_at(i);
        json_t *one = row(t->name, t->summary, NULL), *widths = t->bits == NULL ? json_null() : json_array(),
               *zeros = json_array();
        for (const double *b = t->bits; b != NULL && *b > 0; b++)
            json_array_append_new(widths, json_real(*b));
        for (int zero = QD_ZERO_NONE; zero <= QD_ZERO_FLOAT; zero++)
            if (qd_scale_type_takes(t, (qd_zero_kind)zero))
                json_array_append_new(zeros, json_string(qd_zero_kind_name((qd_zero_kind)zero)));
        json_object_set_new(one, "bits", widths);
        json_object_set_new(one, "zeros", zeros);
        json_object_set_new(one, "group_size",
                            t->group_size == 0 ? json_null() : json_integer((json_int_t)t->group_size));
        json_array_append_new(out, one);
    }
    return out;
}

static json_t *texts(const char *const *words)
{
    json_t *out = json_array();
    for (; words != NULL && *words != NULL; words++)
        json_array_append_new(out, json_string(*words));
    return out;
}

/* By variant, what a job of it has where it names nothing else: by path. A format without variants has its own name. */
static json_t *implied_fields(const qd_format *f)
{
    json_t *out = json_object();
    for (size_t v = 0; f->implied != NULL && (v == 0 || (f->variants != NULL && f->variants[v] != NULL)); v++) {
        json_t *fields = json_object();
        for (const qd_format_field *field = f->implied(v); field != NULL && field->path != NULL; field++)
            json_object_set_new(fields, field->path, json_loads(field->value, JSON_DECODE_ANY, NULL));
        json_object_set_new(out, f->variants == NULL ? f->name : f->variants[v], fields);
    }
    return out;
}

static json_t *formats(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_format_at(i) != NULL; i++) {
        const qd_format *f = qd_format_at(i);
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", f->name, "summary", f->summary,
                                             "constraints", f->constraints, "variants", texts(f->variants), "implied",
                                             implied_fields(f)));
    }
    return out;
}

static json_t *architectures(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_arch_at(i) != NULL; i++)
        json_array_append_new(out, json_pack("{s:s, s:s, s:o}", "name", qd_arch_at(i)->name, "summary",
                                             qd_arch_at(i)->summary, "classes", texts(qd_arch_at(i)->classes)));
    return out;
}

/* A preset's settings by path: one value, or a list where that depends on the rest of the job (the first that applies). */
static json_t *efforts(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_effort_at(i) != NULL; i++) {
        const qd_effort *e = qd_effort_at(i);
        json_t *settings = json_object();
        for (const qd_setting *s = e->settings; s->path != NULL; s++) {
            if (json_object_get(settings, s->path) == NULL)
                json_object_set_new(settings, s->path, json_array());
            json_array_append_new(json_object_get(settings, s->path), json_loads(s->value, JSON_DECODE_ANY, NULL));
        }
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", e->name, "summary", e->summary,
                                             "cost", e->cost, "gain", e->gain, "settings", settings));
    }
    return out;
}

static json_t *protocols(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_protocol_at(i) != NULL; i++) {
        const qd_protocol *p = qd_protocol_at(i);
        size_t context = p->context_part * p->length / 2 + p->context_more;
        json_array_append_new(out, json_pack("{s:s, s:s, s:I, s:o, s:I, s:s, s:s}", "name", p->name, "summary",
                                             p->summary, "length", (json_int_t)p->length, "stride",
                                             p->stride == 0 ? json_null() : json_integer((json_int_t)p->stride),
                                             "context", (json_int_t)context, "bos", qd_bos_policy_name(p->bos), "split",
                                             qd_split_name(p->split)));
    }
    return out;
}

/* Registries whose rows are name, summary and params. */
#define ROWS(out, at) \
    for (size_t i = 0; at(i) != NULL; i++) \
    json_array_append_new(out, row(at(i)->name, at(i)->summary, at(i)->params))

static json_t *names(const char *(*name)(size_t index))
{
    json_t *out = json_array();
    for (size_t i = 0; name(i) != NULL; i++)
        json_array_append_new(out, json_pack("{s:s}", "name", name(i)));
    return out;
}

static json_t *tasks(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_eval_task_at(i) != NULL; i++) {
        const qd_eval_task *t = qd_eval_task_at(i);
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:o}", "name", t->name, "summary", t->summary, "fields",
                                             t->fields, "metrics", texts(t->metrics)));
    }
    return out;
}

static json_t *metrics(void)
{
    json_t *out = json_array();
    for (size_t i = 0; qd_metric_at(i) != NULL; i++)
        json_array_append_new(
            out, json_pack("{s:s, s:s}", "name", qd_metric_at(i)->name, "summary", qd_metric_at(i)->summary));
    return out;
}

json_t *qd_catalog_print(void)
{
    json_t *rules = json_array(), *orders = json_array(), *regularizers = json_array(), *transforms = json_array();
    json_t *arithmetics = json_array();
    ROWS(rules, qd_scale_rule_at);
    ROWS(orders, qd_order_at);
    ROWS(regularizers, qd_regularizer_at);
    ROWS(transforms, qd_transform_at);
    for (size_t i = 0; qd_arithmetic_rule_at(i) != NULL; i++)
        json_array_append_new(arithmetics, json_pack("{s:s, s:s}", "name", qd_arithmetic_rule_at(i)->name, "summary",
                                                     qd_arithmetic_rule_at(i)->summary));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "algorithms", algorithms(), "roundings", names(qd_rounding_name), "alphabets", alphabets(), "scale_rules",
        rules, "scale_types", scale_types(), "orders", orders, "regularizers", regularizers, "transforms", transforms,
        "formats", formats(), "architectures", architectures(), "splits", names(qd_split_name), "samplings",
        names(qd_sampling_name), "bos_policies", names(qd_bos_policy_name), "mismatch_scopes", names(qd_scope_name),
        "mismatch_starts", names(qd_start_name), "efforts", efforts(), "first_positions", names(qd_first_position_name),
        "protocols", protocols(), "tasks", tasks(), "metrics", metrics(), "arithmetics", arithmetics);
}
