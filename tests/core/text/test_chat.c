/* test_chat.c: chat templates by what they make of small conversations, and what they are refused for. The same
 * templates and others are compared with the language's own interpreter in tests/interop/test_chat.py. */
#include "check.h"

#include "base/json.h"
#include "text/chat.h"

static json_t *parse_messages(const char *json)
{
    json_error_t where;
    json_t *messages = json_loads(json, 0, &where);
    if (messages == NULL)
        print_error("%s: %s\n", json, where.text);
    assert_non_null(messages);
    return messages;
}

static qd_code render(const char *template, const char *messages, qd_str *out, qd_error *err)
{
    QD_AUTO(qd_json_fini) json_t *list = parse_messages(messages);
    QD_AUTO(qd_json_fini) json_t *variables = json_pack("{s:s, s:s}", "bos_token", "<s>", "eos_token", "</s>");
    qd_chat *chat = NULL;
    qd_str_clear(out);
    qd_code code = qd_chat_compile(template, strlen(template), variables, &chat, err);
    if (code == QD_OK)
        code = qd_chat_render(chat, list, out, err);
    qd_chat_destroy(chat);
    return code;
}

#define USER "{\"role\":\"user\",\"content\":\"Hi\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\" Yo \"}"
#define SYSTEM "{\"role\":\"system\",\"content\":\"Be kind\"}"
#define ONE "[" USER "]"
#define TWO "[" USER "," ANSWER "]"
#define THREE "[" SYSTEM "," USER "," ANSWER "]"

typedef struct example {
    const char *template, *messages, *text;
} example;

static void check_examples(const example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_str_fini) qd_str out = { 0 };
        qd_code code = render(examples[i].template, examples[i].messages, &out, &err);
        if (code != QD_OK || strcmp(qd_str_borrow(&out), examples[i].text) != 0)
            print_error("%s: %s\n", examples[i].template, code == QD_OK ? qd_str_borrow(&out) : err.text);
        check_ok(code);
        assert_string_equal(qd_str_borrow(&out), examples[i].text);
    }
}

static void common_shapes_give_their_texts(void **state)
{
    (void)state;
    static const example examples[] = {
        { "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% "
          "endfor %}",
          TWO, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n Yo <|im_end|>\n" },
        { "{{ bos_token }}{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' ~ m.content | trim ~ eos_token }}{% endfor "
          "%}",
          TWO, "<s><|user|>\nHi</s><|assistant|>\nYo</s>" },
        { "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}{% set rest = messages[1:] %}{% else "
          "%}"
          "{% set s = none %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if loop.first and s is not none "
          "%}"
          "{{ '[' + s + ']' }}{% endif %}{{ m.content | trim }}{% if not loop.last %}|{% endif %}{% endfor %}",
          THREE, "[Be kind]Hi|Yo" },
        { "{%- set ns = namespace(n=0) -%}\n{%- for m in messages if m.role != 'system' -%}\n  {%- set ns.n = ns.n + 1 "
          "-%}\n"
          "  {{ loop.index0 }}:{{ ns.n }},\n{%- endfor -%}\nsum {{ ns.n }}",
          THREE, "0:1,1:2,sum 2" },
        { "{% macro turn(m, mark='#') %}{{ mark }}{{ m.role | upper }}{% endmacro %}{{ turn(messages[-1]) }}"
          "{{ turn(messages[0], mark='!') }}",
          TWO, "#ASSISTANT!USER" },
        { "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}", TWO, "Hi Yo " },
        { "{{ add_generation_prompt }}{{ tools is none }}{{ nothing }}{{ none }}", ONE, "FalseTrueNone" },
    };
    check_examples(examples, QD_LENGTH(examples));
}

/* Blocks take their line with them, printed values do not; signs decide otherwise. */
static void white_space_goes_as_the_usual_readers_have_it(void **state)
{
    (void)state;
    static const example examples[] = {
        { "a\n  {% if true %}\nb\n  {% endif %}\nc\n", ONE, "a\nb\nc" },
        { "a\n  {{ 1 }}\nb", ONE, "a\n  1\nb" },
        { "a \n {%- if true -%} \n b \n {%- endif %}\nc", ONE, "abc" },
        { "a\n  {%+ if true +%}\nb{% endif %}", ONE, "a\n  \nb" },
        { "a {{- ' b ' -}} c", ONE, "a b c" },
        { "a\n  {# note #}\nb {#- x -#} c", ONE, "a\nbc" },
        { "x{% if true %} \n{% endif %}y", ONE, "x \ny" },
        { "a\r\nb\rc\n\n", ONE, "a\nb\nc\n" },
        { "{{ {'a': {'b': 1}}.a.b }}", ONE, "1" }, /* two braces that end no tag */
    };
    check_examples(examples, QD_LENGTH(examples));
}

static void expressions_give_what_the_language_says(void **state)
{
    (void)state;
    static const example examples[] = {
        { "{{ 7 // -2 }} {{ -7 % 3 }} {{ 2 + 3 * 4 }} {{ 'ab' * 2 }} {{ -1 | string }}", ONE, "-4 2 14 abab -1" },
        { "{{ 'a' in 'cat' and 'dog' not in ['cat'] }} {{ not 1 == 2 }} {{ '' or 'x' }} {{ 0 and y }}", ONE,
          "True True x 0" },
        { "{{ 'abcdef'[1:-1] }} {{ 'abc'[::-1] }} {{ 'h\xC3\xA9llo'[1] }} {{ [1,2,3][-1] }} {{ 'abc'[9] is defined }}",
          ONE, "bcde cba \xC3\xA9 3 False" },
        { "{{ 'a,b,,c'.split(',') | length }} {{ ' a  b '.split() | join('-') }} {{ 'a b c'.split(' ', 1)[1] }}", ONE,
          "4 a-b b c" },
        { "{{ '  x\xC2\xA0'.strip() }}{{ 'xxaxx'.strip('x') }}{{ 'aXbX'.replace('X', '--', 1) }}{{ "
          "'ab'.startswith(('x', 'a')) }}",
          ONE, "xaa--bXTrue" },
        { "{{ {'a': [1, 'b\\n\xC3\xA9', none, true]} | tojson }} {{ [] | tojson }} {{ {'a': 1} | tojson(indent=2) }}",
          ONE, "{\"a\": [1, \"b\\n\xC3\xA9\", null, true]} [] {\n  \"a\": 1\n}" },
        { "{{ x | default('d') }}{{ '' | default('e', true) }}{{ messages | map(attribute='role') | join(',') }}", TWO,
          "deuser,assistant" },
        { "{{ (messages | selectattr('role', 'equalto', 'user') | list | length) }}{{ messages | first is mapping }}",
          TWO, "1True" },
        { "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", ONE, "role=user;content=Hi;" },
        { "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor "
          "%}",
          ONE, "02" },
        { "{% for i in [] %}x{% else %}none{% endfor %}{{ 'yes' if messages else 'no' }}{{ 'no' if false }}", ONE,
          "noneyes" },
        { "{% for i in [1, 2] %}{{ i }}{% break %}{% else %}none{% endfor %}", ONE, "1none" }, /* as it is there too */
        { "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{% endfor %}{{ x }}{% set y %} z {% endset %}{{ y "
          "| trim }}",
          ONE, "111z" },
        { "{% for i in 'ab' %}{{ loop.previtem | default('-') }}{{ loop.nextitem | default('-') }}{% endfor %}", ONE,
          "-ba-" },
        { "{{ messages[0]['items'] is defined }}{{ messages[0].missing is undefined }}{{ 3 is odd }}{{ 4 is "
          "divisibleby 2 }}",
          ONE, "TrueTrueTrueTrue" },
    };
    check_examples(examples, QD_LENGTH(examples));
}

typedef struct refusal {
    const char *template, *messages;
    qd_code code;
    const char *words;
} refusal;

static void check_refusals(const refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_str_fini) qd_str out = { 0 };
        qd_code code = render(refusals[i].template, refusals[i].messages, &out, &err);
        if (code != refusals[i].code || strstr(err.text, refusals[i].words) == NULL)
            print_error("%.80s: %s\n", refusals[i].template, code == QD_OK ? qd_str_borrow(&out) : err.text);
        assert_int_equal(code, refusals[i].code);
        assert_non_null(strstr(err.text, refusals[i].words));
        assert_int_equal(out.length, 0);
    }
}

static void more_than_the_subset_is_refused_by_name_and_line(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        { "\n\n{% include 'x' %}", ONE, QD_EUNSUPPORTED, "line 3: the tag 'include'" },
        { "{% raw %}{% endraw %}", ONE, QD_EUNSUPPORTED, "'raw'" },
        { "{{ 1.5 }}", ONE, QD_EUNSUPPORTED, "line 1: a number that begins '1.'" },
        { "{{ 1 / 2 }}", ONE, QD_EUNSUPPORTED, "'/'" },
        { "{{ 2 ** 3 }}", ONE, QD_EUNSUPPORTED, "**" },
        { "{{ 1 < 2 < 3 }}", ONE, QD_EUNSUPPORTED, "chain of comparisons" },
        { "\n{{ x | groupby('a') }}", ONE, QD_EUNSUPPORTED,
          "line 2: the filter 'groupby' is not supported; known: trim" },
        { "{{ x is callable }}", ONE, QD_EUNSUPPORTED, "the test 'callable'" },
        { "{{ 'a'.encode() }}", ONE, QD_EUNSUPPORTED, "'encode'" },
        { "{{ messages.append(1) }}", ONE, QD_EUNSUPPORTED, "'append'" },
        { "{{ strftime_now('%Y') }}", ONE, QD_EUNSUPPORTED, "every day" },
        { "{{ messages }}", ONE, QD_EUNSUPPORTED, "a list printed as text" },
        { "{{ 'stra\xC3\x9F"
          "e' | upper }}",
          ONE, QD_EUNSUPPORTED, "U+00DF" },
        { "{{ x }}", "[{\"role\":\"tool\",\"content\":\"\"}]", QD_EUNSUPPORTED, "tools are not supported" },
        { "{{ x }}", "[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":[1]}]", QD_EUNSUPPORTED, "'tool_calls'" },
    };
    check_refusals(refusals, QD_LENGTH(refusals));
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        { "{% if x %}", ONE, QD_EFORMAT, "the tag 'endif' is wanted" },
        { "a\n{{ x", ONE, QD_EFORMAT, "line 2: a tag without end" },
        { "{{ 'a }}", ONE, QD_EFORMAT, "a string without end" },
        { "{# a", ONE, QD_EFORMAT, "a comment without end" },
        { "{{ ) }}", ONE, QD_EFORMAT, "an expression is wanted, found ')'" },
        { "{{ 'a'[1] if 1 is odd if 2 }}", ONE, QD_EFORMAT, "found 'if'" },
        { "{{ 3[1:] }}", ONE, QD_EINVAL, "a slice of an integer" },
        { "{{ raise_exception('Roles must alternate') }}", ONE, QD_EINVAL,
          "line 1: the template refuses the conversation: Roles must alternate" },
        { "{{ a.b }}", ONE, QD_EINVAL, "'a' is undefined" },
        { "{{ 1 + 'a' }}", ONE, QD_EINVAL, "'+' between an integer and a text" },
        { "{{ 1 // 0 }}", ONE, QD_EINVAL, "division by 0" },
        { "{{ x }}", "{}", QD_EFORMAT, "an array of messages" },
        { "{{ x }}", "[1]", QD_EFORMAT, "message 0" },
        { "{{ x }}", "[{\"role\":\"user\",\"content\":[1]}]", QD_EFORMAT,
          "'content': a string is wanted, found an array" },
        { "\xFF", ONE, QD_EFORMAT, "UTF-8" },
    };
    check_refusals(refusals, QD_LENGTH(refusals));
}

static void templates_without_end_are_stopped(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        { "{% for a in range(9999999) %}{% endfor %}", ONE, QD_ETOOBIG, "more than 64 MiB of values" },
        { "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", ONE, QD_ETOOBIG, "line 1" },
        { "{{ 'aaaaaaaa' * 999999999999 }}", ONE, QD_ETOOBIG, "repeated" },
        { "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor "
          "%}",
          ONE, QD_ETOOBIG, "" },
        { "{% for a in range(3000) %}{% for b in range(3000) %}{{ a }}{% endfor %}{% endfor %}", ONE, QD_ETOOBIG,
          "steps" },
        /* Values that hold each other twice, 60 levels: 2^60 comparisons of them, were they not counted. */
        { "{% set a = namespace(v=[1]) %}{% set b = namespace(v=[1]) %}{% for i in range(60) %}"
          "{% set a.v = [a.v, a.v] %}{% set b.v = [b.v, b.v] %}{% endfor %}{{ a.v == b.v }}",
          ONE, QD_ETOOBIG, "steps" },
        { "{% set a = namespace(v={}) %}{% set b = namespace(v={}) %}{% for i in range(60) %}"
          "{% set a.v = {'l': a.v, 'r': a.v} %}{% set b.v = {'l': b.v, 'r': b.v} %}{% endfor %}{{ [b.v] is eq([a.v]) "
          "}}",
          ONE, QD_ETOOBIG, "steps" },
        { "{% set a = namespace(v=[1]) %}{% set b = namespace(v=[1]) %}{% for i in range(20000) %}"
          "{% set a.v = [a.v] %}{% set b.v = [b.v] %}{% endfor %}{{ a.v in [b.v] }}",
          ONE, QD_ETOOBIG, "levels" },
        /* Long texts that are compared often, and long names that are looked up often. */
        { "{% set a = 'x' * 8000000 %}{% set b = 'x' * 8000000 %}{% for i in range(100000) %}{% if a != b %}{% endif %}"
          "{% endfor %}",
          ONE, QD_ETOOBIG, "steps" },
        { "{% set a = 'x' * 8000000 %}{% set b = 'x' * 8000000 %}{% for i in range(100000) %}{% if a < b %}{% endif %}"
          "{% endfor %}",
          ONE, QD_ETOOBIG, "steps" },
        { "{% set a = 'x' * 8000000 %}{% set b = 'x' * 8000000 %}{% for i in range(100000) %}{% if a.endswith(b) %}"
          "{% endif %}{% endfor %}",
          ONE, QD_ETOOBIG, "steps" },
        { "{% set a = 'x' * 8000000 %}{% set b = {'x' * 8000000: 1} %}{% for i in range(100000) %}{% if b[a] %}"
          "{% endif %}{% if b.get(a) %}{% endif %}{% if a in b %}{% endif %}{% endfor %}",
          ONE, QD_ETOOBIG, "steps" },
    };
    check_refusals(refusals, QD_LENGTH(refusals));
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str deep = { 0 }, out = { 0 };
    for (size_t i = 0; i < 5000; i++)
        qd_str_add(&deep, i == 0 ? "{{ (" : "(");
    qd_str_add(&deep, "1");
    for (size_t i = 0; i < 5000; i++)
        qd_str_add(&deep, i == 4999 ? ") }}" : ")");
    assert_int_equal(render(qd_str_borrow(&deep), ONE, &out, &err), QD_ETOOBIG);
    qd_str_clear(&deep);
    for (size_t i = 0; i < 5000; i++)
        qd_str_add(&deep, i == 0 ? "{{ 1" : i == 4999 ? " }}" : " + 1");
    assert_int_equal(render(qd_str_borrow(&deep), ONE, &out, &err), QD_ETOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_shapes_give_their_texts),
        cmocka_unit_test(white_space_goes_as_the_usual_readers_have_it),
        cmocka_unit_test(expressions_give_what_the_language_says),
        cmocka_unit_test(more_than_the_subset_is_refused_by_name_and_line),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(templates_without_end_are_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
