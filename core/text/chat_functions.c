/* chat_functions.c: the functions that chat templates may call. A new one is a row. */
#include "text/chat_run.h"

static qd_code raise_exception(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                               qd_chat_value *out)
{
    (void)self;
    (void)out;
    qd_chat_text text;
    qd_code code = qd_chat_print(run, &arguments[0], &text);
    if (code != QD_OK)
        return code;
    return qd_chat_fail(run, QD_EINVAL, "the template refuses the conversation: %.*s", qd_chat_shown(text), text.bytes);
}

static qd_code strftime_now(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments,
                            qd_chat_value *out)
{
    (void)self;
    (void)arguments;
    (void)out;
    return qd_chat_fail(run, QD_EUNSUPPORTED,
                        "strftime_now: not supported: the same conversation would be another text every day");
}

/* range(stop), range(start, stop), range(start, stop, step). */
static qd_code range(qd_chat_run *run, const qd_chat_value *self, const qd_chat_value *arguments, qd_chat_value *out)
{
    (void)self;
    int64_t bounds[3] = { 0, 0, 1 };
    const size_t first = arguments[1].kind == QD_CHAT_ABSENT ? 1 : 0;
    for (size_t i = 0; i + first < 3; i++) {
        if (arguments[i].kind == QD_CHAT_ABSENT)
            continue;
        if (arguments[i].kind != QD_CHAT_INTEGER)
            return qd_chat_fail(run, QD_EINVAL, "range of %s", qd_chat_kind_name(arguments[i].kind));
        bounds[i + first] = arguments[i].as.integer;
    }
    const int64_t stop = bounds[1], step = bounds[2];
    if (step == 0)
        return qd_chat_fail(run, QD_EINVAL, "range: a step of 0");
    qd_chat_list *list = NULL;
    qd_code code = qd_chat_list_create(run, &list);
    for (int64_t at = bounds[0]; code == QD_OK && (step > 0 ? at < stop : at > stop);) {
        code = qd_chat_spend(run, 0);
        if (code == QD_OK)
            code = qd_chat_list_add(&run->arena, list, qd_chat_of_integer(at), run->err);
        if (__builtin_add_overflow(at, step, &at))
            break;
    }
    if (code != QD_OK)
        return code;
    list->sequence = QD_CHAT_TUPLE; /* no list equals a range */
    *out = qd_chat_of_list(list);
    return QD_OK;
}

static qd_code namespace(qd_chat_run *run, const qd_chat_value *self, const qd_chat_given *given, qd_chat_value *out)
{
    (void)self;
    qd_chat_dict *names = NULL;
    qd_code code = qd_chat_arena_get(&run->arena, sizeof *names, (void **)&names, run->err);
    for (size_t i = 0; code == QD_OK && i < given->count; i++) {
        if (given->names[i].length == 0)
            return qd_chat_fail(run, QD_EUNSUPPORTED, "namespace of other than name=value: not supported");
        code = qd_chat_put(run, names, given->names[i], given->values[i]);
    }
    *out = (qd_chat_value){ .kind = QD_CHAT_NAMESPACE, .as.names = names };
    return code;
}

static const qd_chat_callable functions[] = {
    { "raise_exception", { "message" }, 1, raise_exception, NULL },
    { "strftime_now", { "format" }, 1, strftime_now, NULL },
    { "range", { "start", "stop", "step" }, 1, range, NULL },
    { "namespace", { NULL }, 0, NULL, namespace },
};
const qd_chat_table qd_chat_functions = { "function", functions, QD_LENGTH(functions) };
