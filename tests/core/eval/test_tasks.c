/* test_tasks.c: what tasks make of lines, by the table; texts that the data sets' own scripts give; metrics by another way. */
#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/json.h"
#include "eval/task_set.h"
#include "text/prose.h"

static json_t *line_of(const char *text)
{
    qd_error err = { 0 };
    json_t *line = NULL;
    check_ok(qd_json_parse_object(text, strlen(text), 16, &line, &err));
    return line;
}

static qd_code read_line(const char *task, const char *text, qd_example *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *line = line_of(text);
    return qd_eval_task_find(task)->read(line, out, err);
}

/* The line gives these pairs: "context|continuation" one after the other. */
static void check_pairs(const char *task, const char *text, size_t gold, const char *const *pairs)
{
    qd_error err = { 0 };
    QD_AUTO(qd_example_fini) qd_example example = { 0 };
    check_ok(read_line(task, text, &example, &err));
    assert_int_equal(example.gold, gold);
    size_t count = 0;
    for (; pairs[count] != NULL; count++) {
        char joined[1000];
        assert_true(count < example.count);
        snprintf(joined, sizeof joined, "%s|%s", example.pairs[count].context, example.pairs[count].continuation);
        assert_string_equal(joined, pairs[count]);
    }
    assert_int_equal(count, example.count);
}

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void every_row_can_be_found_and_has_metrics(void **state)
{
    (void)state;
    char list[400];
    qd_eval_task_list(list, sizeof list);
    for (size_t i = 0; qd_eval_task_at(i) != NULL; i++) {
        const qd_eval_task *task = qd_eval_task_at(i);
        assert_ptr_equal(qd_eval_task_find(task->name), task);
        check_contains(list, task->name);
        assert_true(strlen(task->summary) > 0 && strlen(task->fields) > 0);
        assert_non_null(qd_eval_task_metric(task, 0));
        for (size_t k = 0; task->metrics[k] != NULL; k++)
            assert_non_null(qd_metric_find(task->metrics[k]));
    }
    assert_null(qd_eval_task_find("arc"));
    for (size_t i = 0; qd_metric_at(i) != NULL; i++)
        assert_ptr_equal(qd_metric_find(qd_metric_at(i)->name), qd_metric_at(i));
}

/* What no task takes: each field that a row names, taken away or of another type, is named by the message. */
static void a_field_that_is_missing_or_of_another_type_is_named(void **state)
{
    (void)state;
    qd_error err = { 0 };
    for (size_t i = 0; qd_eval_task_at(i) != NULL; i++) {
        char path[4096];
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        snprintf(path, sizeof path, "%s/tests/tasks/%s.jsonl", source_folder(), qd_eval_task_at(i)->name);
        check_ok(qd_file_read(path, 1 << 20, &text, &err));
        char *rest = text.data;
        for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
            QD_AUTO(qd_json_fini) json_t *whole = line_of(line);
            const char *key;
            json_t *value;
            size_t refused = 0;
            json_object_foreach(whole, key, value)
            {
                QD_AUTO(qd_example_fini) qd_example example = { 0 };
                QD_AUTO(qd_json_fini) json_t *damaged = json_copy(whole);
                json_object_set_new(damaged, key, json_real(0.5));
                if (qd_eval_task_at(i)->read(damaged, &example, &err) == QD_OK)
                    continue; /* a field that the task does not look at */
                assert_int_equal(err.code, QD_EFORMAT);
                check_contains(err.text, "field '");
                check_contains(err.text, key);
                refused++;
            }
            assert_true(refused >= 1);
        }
    }
}

static void questions_are_asked_and_answered(void **state)
{
    (void)state;
    const char *const *lamp =
        PAIRS("Question: What gives light?\nAnswer:| a lamp", "Question: What gives light?\nAnswer:| a stone");
    check_pairs("arc_easy",
                "{\"query\":\"Question: What gives light?\",\"choices\":[\"a lamp\",\"a stone\"],\"gold\":0}", 0, lamp);
    check_pairs(
        "arc_challenge",
        "{\"question\":\"What gives light?\",\"choices\":{\"text\":[\"a lamp\",\"a stone\"],\"label\":[\"1\",\"2\"]},"
        "\"answerKey\":\"2\"}",
        1, lamp);
    check_pairs("piqa",
                "{\"query\":\"Question: What gives light?\\n\",\"choices\":[\"a lamp\",\"a stone\"],\"gold\":0}", 0,
                lamp);
    check_pairs("piqa", "{\"goal\":\"What gives light?\",\"sol1\":\"a lamp\",\"sol2\":\"a stone\",\"label\":1}", 1,
                lamp);
    check_pairs("openbookqa",
                "{\"question_stem\":\"Light is given by\",\"choices\":{\"text\":[\"a lamp\",\"a "
                "stone\"],\"label\":[\"A\",\"B\"]},"
                "\"answerKey\":\" B\"}",
                1, PAIRS("Light is given by| a lamp", "Light is given by| a stone"));
    const char *const *mill =
        PAIRS("It is empty.\nQuestion: is it full?\nAnswer:| no", "It is empty.\nQuestion: is it full?\nAnswer:| yes");
    check_pairs("boolq",
                "{\"query\":\"Passage: It is empty.\\nQuestion: is it full?\",\"choices\":[\"no\",\"yes\"],\"gold\":0}",
                0, mill);
    check_pairs("boolq", "{\"passage\":\"It is empty.\",\"question\":\"is it full\",\"label\":1}", 1, mill);
    check_pairs("boolq", "{\"passage\":\"It is empty.\",\"question\":\"is it full\",\"answer\":false}", 0, mill);
}

/* The published lines and the normalised ones give the same texts. */
static void sentences_go_on(void **state)
{
    (void)state;
    const char *const *cup = PAIRS("The cup fell therefore|  it broke.", "The cup fell therefore|  it sang.");
    check_pairs("copa", "{\"query\":\"The cup fell, therefore\",\"choices\":[\"it broke.\",\"it sang.\"],\"gold\":0}",
                0, cup);
    check_pairs("copa",
                "{\"premise\":\" The cup fell. \",\"question\":\"effect\",\"choice1\":\"It broke.\",\"choice2\":\"It "
                "sang.\",\"label\":1}",
                1, cup);
    const char *const *key =
        PAIRS("Anna thanked Vera as Anna| had lost hers.", "Anna thanked Vera as Vera| had lost hers.");
    check_pairs("winogrande",
                "{\"context_options\":[\"Anna thanked Vera as Anna\",\"Anna thanked Vera as "
                "Vera\"],\"continuation\":\"had lost "
                "hers.\",\"gold\":0}",
                0, key);
    check_pairs("winogrande",
                "{\"sentence\":\"Anna thanked Vera as _ had lost hers. "
                "\",\"option1\":\"Anna\",\"option2\":\"Vera\",\"answer\":\"1\"}",
                0, key);
    check_pairs("lambada_openai", "{\"context\":\"He lit the\",\"continuation\":\"lamp\"}", 0,
                PAIRS("He lit the| lamp"));
    check_pairs("lambada_openai", "{\"text\":\"He lit the lamp\"}", 0, PAIRS("He lit the| lamp"));
    check_pairs("lambada_openai", "{\"text\":\"lamp\"}", 0, PAIRS("| lamp"));
}

/* By the rules of the set's script, applied by hand. */
static void pages_of_instructions_are_tidied(void **state)
{
    (void)state;
    check_pairs(
        "hellaswag",
        "{\"activity_label\":\" Boats\",\"ctx_a\":\"[header] Tying [title] A rope. [a]b] [[c]\",\"ctx_b\":\"the KNOT\","
        "\"label\":\"1\",\"endings\":[\" is  tied. \",\"[open\\n] it\",\"[x]\",\"a    b\"]}",
        1,
        PAIRS("Boats: Tying. A rope. b] The knot| is tied.", "Boats: Tying. A rope. b] The knot| [open\n] it",
              "Boats: Tying. A rope. b] The knot| ", "Boats: Tying. A rope. b] The knot| a  b"));
    check_pairs("hellaswag",
                "{\"activity_label\":\"\\u00C4\",\"ctx_a\":\"a.\",\"ctx_b\":\"\\u00E4RGER "
                "\\u01C6\",\"label\":0,\"endings\":[\"x\","
                "\"y\"]}",
                0, PAIRS("\xC3\x84: a. \xC3\x84rger \xC7\x86| x", "\xC3\x84: a. \xC3\x84rger \xC7\x86| y"));
}

static void white_space_is_what_scripts_strip(void **state)
{
    (void)state;
    const char *text = "\x1C\xC2\xA0 a\xE3\x80\x80\t";
    assert_int_equal(qd_prose_begin(text, strlen(text)), 4);
    assert_int_equal(qd_prose_end(text, strlen(text)), 5);
    assert_int_equal(qd_prose_characters("a\xC3\x84\xE3\x80\x80"), 3);
    assert_int_equal(qd_prose_end(" \n", 2), 0);
    assert_int_equal(qd_prose_end("\xE2\x80\x8B", 3), 3); /* a zero-width space is none */
}

static void accuracy_takes_the_first_of_the_likeliest(void **state)
{
    (void)state;
    const qd_metric *acc = qd_metric_find("acc"), *norm = qd_metric_find("acc_norm");
    const qd_likelihood three[] = { { -6, false }, { -4, false }, { -4, true } };
    const size_t characters[] = { 12, 2, 8 };
    for (size_t gold = 0; gold < 3; gold++) {
        const qd_answer a = { three, characters, 3, gold };
        check_close(acc->of(&a), gold == 1, 0);  /* -4 before -4 */
        check_close(norm->of(&a), gold == 0, 0); /* -0.5, -2, -0.5 */
    }
    for (size_t i = 0; i < 3; i++) { /* nothing to choose from: found word by word, or not */
        const qd_answer word = { three + i, characters, 1, 0 };
        check_close(acc->of(&word), i == 2, 0);
        check_close(qd_metric_find("perplexity")->of(&word), three[i].log_p, 0);
    }
}

/* A mean of zeros and ones, and exp of a mean by its derivative. */
static void standard_errors_are_those_of_means(void **state)
{
    (void)state;
    const qd_metric *acc = qd_metric_find("acc"), *perplexity = qd_metric_find("perplexity");
    const double before[] = { 1, 0, 1, 1, 0, 1, 0, 1 }, after[] = { 1, 0, 0, 1, 1, 1, 0, 0 };
    enum { N = 8 };
    qd_figure was = qd_metric_figure(acc, before, N), change = qd_metric_difference(acc, before, after, N);
    check_close(was.value, 5.0 / N, 1e-15);
    check_close(was.standard_error, sqrt(5.0 / N * 3.0 / N / (N - 1)), 1e-14); /* p (1 - p) / (n - 1) */
    check_close(change.value, -1.0 / N, 1e-15);
    check_close(change.standard_error, sqrt((3.0 / N - 1.0 / N / N) / (N - 1)), 1e-14); /* of -1, -1, 1 and zeros */
    const double log_p[] = { -1, -3, -2, -6 };
    qd_figure all = qd_metric_figure(perplexity, log_p, 4);
    check_close(all.value, exp(3), 1e-14);
    check_close(all.standard_error, exp(3) * sqrt(14.0 / 3 / 4), 1e-14);
    check_near(qd_metric_difference(perplexity, log_p, log_p, 4).standard_error, 0, 1e-12);
    assert_true(isnan(qd_metric_figure(acc, before, 1).standard_error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_can_be_found_and_has_metrics),
        cmocka_unit_test(a_field_that_is_missing_or_of_another_type_is_named),
        cmocka_unit_test(questions_are_asked_and_answered),
        cmocka_unit_test(sentences_go_on),
        cmocka_unit_test(pages_of_instructions_are_tidied),
        cmocka_unit_test(white_space_is_what_scripts_strip),
        cmocka_unit_test(accuracy_takes_the_first_of_the_likeliest),
        cmocka_unit_test(standard_errors_are_those_of_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
