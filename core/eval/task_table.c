/* task_table.c: the registry of tasks. Each reads the normalised lines that evaluation suites share (query, choices, gold) and the fields that the
 * data set itself has where it is published; both give the same texts. */
#include <stdio.h>
#include <string.h>

#include "eval/task_line.h"
#include "text/prose.h"

/* Between a context and what follows it. */
#define DELIMITER " "

/* All choices behind one context. */
static qd_code add_choices(qd_example *out, const qd_str *context, const char *const *choices, size_t count,
                           qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_example_add_choice(out, context, DELIMITER, choices[i], err);
    return code;
}

/* query, choices, gold: what normalised lines have. */
static qd_code read_query(const json_t *line, const char **out_query, const char **out_choices, size_t *out_count,
                          size_t *out_gold, qd_error *err)
{
    qd_code code = qd_line_text(line, "query", out_query, err);
    if (code == QD_OK)
        code = qd_line_texts(line, "choices", 2, out_choices, out_count, err);
    return code == QD_OK ? qd_line_index(line, "gold", *out_count, out_gold, err) : code;
}

/* Two texts under keys of their own, and the number of the right one. */
static qd_code read_two(const json_t *line, const char *first, const char *second, const char *gold,
                        const char **out_choices, size_t *out_gold, qd_error *err)
{
    qd_code code = qd_line_text(line, first, &out_choices[0], err);
    if (code == QD_OK)
        code = qd_line_text(line, second, &out_choices[1], err);
    return code == QD_OK ? qd_line_index(line, gold, 2, out_gold, err) : code;
}

static const char *behind(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : text;
}

/* "Question: <question>\nAnswer:", of a question that may have both the word and the line's end already. */
static void add_question(const char *question, qd_str *out)
{
    static const char word[] = "Question: ";
    const char *bare = behind(question, word);
    size_t length = strlen(bare);
    if (bare != question && length > 0 && bare[length - 1] == '\n')
        length--;
    qd_str_add(out, word);
    qd_str_add_bytes(out, bare, length);
    qd_str_add(out, "\nAnswer:");
}

/* ---- ARC, OpenBookQA: the same lines ---- */

static qd_code read_labelled(const json_t *line, const char *stem, const char **out_text, const char **out_choices,
                             size_t *out_count, size_t *out_gold, qd_error *err)
{
    if (qd_line_has(line, "query"))
        return read_query(line, out_text, out_choices, out_count, out_gold, err);
    qd_code code = qd_line_text(line, stem, out_text, err);
    return code == QD_OK ? qd_line_labelled(line, out_choices, out_count, out_gold, err) : code;
}

static qd_code read_arc(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *question = NULL, *choices[QD_CHOICES_MAX];
    size_t count = 0;
    qd_code code = read_labelled(line, "question", &question, choices, &count, &out->gold, err);
    if (code != QD_OK)
        return code;
    add_question(question, &context);
    return add_choices(out, &context, choices, count, err);
}

static qd_code read_openbookqa(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *stem = NULL, *choices[QD_CHOICES_MAX];
    size_t count = 0;
    qd_code code = read_labelled(line, "question_stem", &stem, choices, &count, &out->gold, err);
    if (code != QD_OK)
        return code;
    qd_str_add(&context, stem);
    return add_choices(out, &context, choices, count, err);
}

/* ---- HellaSwag ---- */

/* Without [marks] of the page it was taken from, which never go over a line's end. `at` only grows, and so do both finds. */
static void add_unmarked(const char *text, qd_str *out)
{
    const char *close = text, *line = text;
    while (*text != '\0') {
        if (*text != '[') {
            qd_str_add_bytes(out, text++, 1);
            continue;
        }
        if (close != NULL && close <= text)
            close = strchr(text, ']');
        if (line != NULL && line <= text)
            line = strchr(text, '\n');
        if (close == NULL || (line != NULL && line < close))
            qd_str_add_bytes(out, text++, 1);
        else
            text = close + 1;
    }
}

/* Every occurrence, from left to right. */
static void add_replaced(const char *text, const char *from, const char *to, qd_str *out)
{
    for (const char *found; (found = strstr(text, from)) != NULL; text = found + strlen(from)) {
        qd_str_add_bytes(out, text, (size_t)(found - text));
        qd_str_add(out, to);
    }
    qd_str_add(out, text);
}

/* What a page of instructions left in the text: no blanks around, " [title]" is a full stop, other marks are nothing, and of two blanks one. */
static void add_tidied(const char *text, qd_str *out)
{
    QD_AUTO(qd_str_fini) qd_str bare = { 0 }, titled = { 0 }, unmarked = { 0 };
    size_t end = qd_prose_end(text, strlen(text)), begin = qd_prose_begin(text, end);
    qd_str_add_bytes(&bare, text + begin, end - begin);
    add_replaced(qd_str_borrow(&bare), " [title]", ". ", &titled);
    add_unmarked(qd_str_borrow(&titled), &unmarked);
    add_replaced(qd_str_borrow(&unmarked), "  ", " ", out);
    if (bare.failed || titled.failed || unmarked.failed)
        out->failed = true;
}

static qd_code add_hellaswag_context(const json_t *line, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str whole = { 0 };
    const char *activity = NULL, *first = NULL, *second = NULL;
    qd_code code = qd_line_text(line, "activity_label", &activity, err);
    if (code == QD_OK)
        code = qd_line_text(line, "ctx_a", &first, err);
    if (code == QD_OK)
        code = qd_line_text(line, "ctx_b", &second, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&whole, "%s: %s ", activity, first);
    qd_prose_capitalize(second, &whole);
    code = qd_str_check(&whole, err);
    if (code == QD_OK)
        add_tidied(qd_str_borrow(&whole), out);
    return code;
}

static qd_code read_hellaswag(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *query = NULL, *endings[QD_CHOICES_MAX];
    size_t count = 0;
    if (qd_line_has(line, "query")) { /* tidied already */
        qd_code code = read_query(line, &query, endings, &count, &out->gold, err);
        qd_str_add(&context, code == QD_OK ? query : "");
        return code == QD_OK ? add_choices(out, &context, endings, count, err) : code;
    }
    qd_code code = add_hellaswag_context(line, &context, err);
    if (code == QD_OK)
        code = qd_line_texts(line, "endings", 2, endings, &count, err);
    if (code == QD_OK)
        code = qd_line_index(line, "label", count, &out->gold, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        QD_AUTO(qd_str_fini) qd_str ending = { 0 };
        add_tidied(endings[i], &ending);
        code = qd_str_check(&ending, err);
        if (code == QD_OK)
            code = qd_example_add_choice(out, &context, DELIMITER, qd_str_borrow(&ending), err);
    }
    return code;
}

/* ---- PIQA ---- */

static qd_code read_piqa(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *goal = NULL, *choices[QD_CHOICES_MAX];
    size_t count = 2;
    qd_code code;
    if (qd_line_has(line, "query"))
        code = read_query(line, &goal, choices, &count, &out->gold, err);
    else if ((code = qd_line_text(line, "goal", &goal, err)) == QD_OK)
        code = read_two(line, "sol1", "sol2", "label", choices, &out->gold, err);
    if (code != QD_OK)
        return code;
    add_question(goal, &context);
    return add_choices(out, &context, choices, count, err);
}

/* ---- WinoGrande: one continuation, two contexts ---- */

static qd_code add_contexts(qd_example *out, const qd_str *contexts, const char *const *choices, size_t count,
                            const char *continuation, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str behind_blank = { 0 };
    qd_code code = QD_OK;
    qd_str_addf(&behind_blank, DELIMITER "%s", continuation);
    for (size_t i = 0; code == QD_OK && i < count; i++)
        code = qd_example_add(out, &contexts[i], &behind_blank, choices[i], err);
    return code;
}

/* What stands behind the blank of the sentence, without blanks around. */
static qd_code read_sentence(const json_t *line, qd_example *out, qd_error *err)
{
    const char *sentence = NULL, *answer = NULL, *options[2] = { NULL, NULL };
    qd_str contexts[2] = { { 0 }, { 0 } };
    QD_AUTO(qd_str_fini) qd_str rest = { 0 };
    qd_code code = qd_line_text(line, "sentence", &sentence, err);
    if (code == QD_OK)
        code = qd_line_text(line, "option1", &options[0], err);
    if (code == QD_OK)
        code = qd_line_text(line, "option2", &options[1], err);
    if (code == QD_OK)
        code = qd_line_text(line, "answer", &answer, err);
    if (code != QD_OK)
        return code;
    const char *blank = strchr(sentence, '_');
    if (blank == NULL)
        return qd_fail(err, QD_EFORMAT, "field 'sentence': there is no blank '_' in it");
    if (strcmp(answer, "1") != 0 && strcmp(answer, "2") != 0)
        return qd_fail(err, QD_EFORMAT, "field 'answer': '%.40s' is not 1 or 2", answer);
    out->gold = answer[0] == '2';
    for (size_t i = 0; i < 2; i++)
        qd_str_addf(&contexts[i], "%.*s%s", (int)(blank - sentence), sentence, options[i]);
    size_t end = qd_prose_end(blank + 1, strlen(blank + 1)), begin = qd_prose_begin(blank + 1, end);
    qd_str_add_bytes(&rest, blank + 1 + begin, end - begin);
    code = qd_str_check(&rest, err);
    if (code == QD_OK)
        code = add_contexts(out, contexts, options, 2, qd_str_borrow(&rest), err);
    qd_str_fini(&contexts[0]);
    qd_str_fini(&contexts[1]);
    return code;
}

static qd_code read_winogrande(const json_t *line, qd_example *out, qd_error *err)
{
    const char *options[QD_CHOICES_MAX], *continuation = NULL;
    size_t count = 0;
    if (!qd_line_has(line, "context_options"))
        return read_sentence(line, out, err);
    qd_code code = qd_line_texts(line, "context_options", 2, options, &count, err);
    if (code == QD_OK)
        code = qd_line_text(line, "continuation", &continuation, err);
    if (code == QD_OK)
        code = qd_line_index(line, "gold", count, &out->gold, err);
    qd_str contexts[QD_CHOICES_MAX] = { { 0 } };
    for (size_t i = 0; code == QD_OK && i < count; i++)
        qd_str_add(&contexts[i], options[i]);
    if (code == QD_OK)
        code = add_contexts(out, contexts, options, count, continuation, err);
    for (size_t i = 0; i < count; i++)
        qd_str_fini(&contexts[i]);
    return code;
}

/* ---- BoolQ ---- */

static qd_code read_boolq(const json_t *line, qd_example *out, qd_error *err)
{
    static const char *const no_and_yes[] = { "no", "yes" };
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *passage = NULL, *question = NULL, *choices[QD_CHOICES_MAX];
    size_t count = QD_LENGTH(no_and_yes);
    qd_code code;
    if (qd_line_has(line, "query")) {
        code = read_query(line, &passage, choices, &count, &out->gold, err);
        if (code != QD_OK)
            return code;
        qd_str_addf(&context, "%s\nAnswer:", behind(passage, "Passage: "));
        return add_choices(out, &context, choices, count, err);
    }
    code = qd_line_text(line, "passage", &passage, err);
    if (code == QD_OK)
        code = qd_line_text(line, "question", &question, err);
    if (code == QD_OK)
        code = qd_line_index(line, qd_line_has(line, "answer") ? "answer" : "label", count, &out->gold, err);
    if (code != QD_OK)
        return code;
    qd_str_addf(&context, "%s\nQuestion: %s?\nAnswer:", passage, question);
    return add_choices(out, &context, no_and_yes, count, err);
}

/* ---- COPA: choices bring a blank of their own beside the delimiter ---- */

static const struct {
    const char *asked, *word;
} connectives[] = { { "cause", "because" }, { "effect", "therefore" } };

/* "The premise, therefore" and "The premise therefore" alike become the second. */
static void add_uncommaed(const char *query, qd_str *out)
{
    size_t length = strlen(query);
    for (size_t i = 0; i < QD_LENGTH(connectives); i++) {
        char ending[16];
        size_t size = (size_t)snprintf(ending, sizeof ending, ", %s", connectives[i].word);
        if (length < size || strcmp(query + length - size, ending) != 0)
            continue;
        qd_str_add_bytes(out, query, length - size);
        qd_str_add(out, ending + 1);
        return;
    }
    qd_str_add(out, query);
}

/* The premise without blanks around and its full stop, and the word that asks. */
static qd_code add_premise(const json_t *line, qd_str *out, qd_error *err)
{
    const char *premise = NULL, *asked = NULL, *word = NULL;
    qd_code code = qd_line_text(line, "premise", &premise, err);
    if (code == QD_OK)
        code = qd_line_text(line, "question", &asked, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; i < QD_LENGTH(connectives); i++)
        if (strcmp(asked, connectives[i].asked) == 0)
            word = connectives[i].word;
    if (word == NULL)
        return qd_fail(err, QD_EFORMAT, "field 'question': '%.40s' is not cause or effect", asked);
    size_t end = qd_prose_end(premise, strlen(premise)), begin = qd_prose_begin(premise, end);
    if (begin == end)
        return qd_fail(err, QD_EFORMAT, "field 'premise': it is empty");
    do
        end--; /* the last character, whatever it is */
    while (((unsigned char)premise[end] & 0xC0) == 0x80);
    qd_str_add_bytes(out, premise + begin, end - begin);
    qd_str_addf(out, " %s", word);
    return QD_OK;
}

static qd_code read_copa(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *query = NULL, *choices[QD_CHOICES_MAX];
    size_t count = 2;
    qd_code code;
    if (qd_line_has(line, "query")) {
        code = read_query(line, &query, choices, &count, &out->gold, err);
        add_uncommaed(code == QD_OK ? query : "", &context);
    } else if ((code = add_premise(line, &context, err)) == QD_OK)
        code = read_two(line, "choice1", "choice2", "label", choices, &out->gold, err);
    for (size_t i = 0; code == QD_OK && i < count; i++) {
        QD_AUTO(qd_str_fini) qd_str choice = { 0 };
        qd_str_add(&choice, " ");
        qd_prose_uncapitalize(choices[i], &choice);
        code = qd_str_check(&choice, err);
        if (code == QD_OK)
            code = qd_example_add_choice(out, &context, DELIMITER, qd_str_borrow(&choice), err);
    }
    return code;
}

/* ---- LAMBADA: the last word of a passage ---- */

static qd_code read_lambada(const json_t *line, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str context = { 0 };
    const char *text = NULL, *word = NULL;
    qd_code code;
    if (qd_line_has(line, "context")) {
        code = qd_line_text(line, "context", &text, err);
        if (code == QD_OK)
            code = qd_line_text(line, "continuation", &word, err);
        qd_str_add(&context, code == QD_OK ? text : "");
    } else if ((code = qd_line_text(line, "text", &text, err)) == QD_OK) {
        const char *blank = strrchr(text, ' ');
        word = blank == NULL ? text : blank + 1;
        qd_str_add_bytes(&context, text, blank == NULL ? 0 : (size_t)(blank - text));
    }
    return code == QD_OK ? qd_example_add_choice(out, &context, DELIMITER, word, err) : code;
}

/* ---- the rows ---- */

#define ARC_FIELDS "query, choices, gold; or question, choices {text, label}, answerKey"

static const qd_eval_task table[] = {
    { "arc_easy", "grade-school science questions, easy ones", ARC_FIELDS, { "acc", "acc_norm" }, read_arc },
    { "arc_challenge", "grade-school science questions, hard ones", ARC_FIELDS, { "acc_norm", "acc" }, read_arc },
    { "hellaswag",
      "which sentence goes on with a scene",
      "ctx_a, ctx_b, activity_label, endings, label; or query, choices, gold",
      { "acc_norm", "acc" },
      read_hellaswag },
    { "piqa",
      "which way of doing something works",
      "query, choices, gold; or goal, sol1, sol2, label",
      { "acc", "acc_norm" },
      read_piqa },
    { "winogrande",
      "whom a sentence speaks of",
      "context_options, continuation, gold; or sentence, option1, option2, answer",
      { "acc" },
      read_winogrande },
    { "openbookqa",
      "science questions that want common knowledge beside a fact",
      "query, choices, gold; or question_stem, choices {text, label}, answerKey",
      { "acc_norm", "acc" },
      read_openbookqa },
    { "boolq",
      "yes or no, by a passage",
      "query, choices, gold; or passage, question, label (or answer)",
      { "acc" },
      read_boolq },
    { "copa",
      "cause or effect of what happened",
      "query, choices, gold; or premise, question, choice1, choice2, label",
      { "acc" },
      read_copa },
    { "lambada_openai",
      "the last word of a passage",
      "context, continuation; or text",
      { "acc", "perplexity" },
      read_lambada },
};

const qd_eval_task *qd_eval_task_at(size_t index)
{
    return index < QD_LENGTH(table) ? &table[index] : NULL;
}

const qd_eval_task *qd_eval_task_find(const char *name)
{
    for (size_t i = 0; i < QD_LENGTH(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

void qd_eval_task_list(char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < QD_LENGTH(table) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", table[i].name);
}

const qd_metric *qd_eval_task_metric(const qd_eval_task *task, size_t index)
{
    return index <= QD_TASK_METRICS_MAX && task->metrics[index] != NULL ? qd_metric_find(task->metrics[index]) : NULL;
}
