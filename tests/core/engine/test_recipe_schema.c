/* test_recipe_schema.c: what a job may hold, as it is told to others: the schema, the catalogue; and what is told to
 * nobody. */
#include "recipe.h"

#include "engine/effort.h"

/* Property names of a schema node; through anyOf to the object. */
static json_t *properties_of(json_t *schema)
{
    json_t *object =
        json_object_get(schema, "anyOf") == NULL ? schema : json_array_get(json_object_get(schema, "anyOf"), 1);
    return json_object_get(object, "properties");
}

/* The parser's list in "known are a, b, c" against the schema's. */
static void check_known(const char *path, json_t *schema)
{
    char probe[QD_WORD], list[400] = "";
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    snprintf(probe, sizeof probe, "%s%sno-such-field", path, path[0] == '\0' ? "" : "/");
    QD_AUTO(qd_json_fini) json_t *request = request_with(probe, "1");
    check_fails(qd_recipe_parse(request, &recipe, NULL, &err), QD_EINVAL);
    const char *key;
    json_t *value;
    json_object_foreach(properties_of(schema), key, value)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] == '\0' ? "" : ", ", key);
    const char *known = strstr(err.text, "known are ");
    assert_non_null(known);
    assert_string_equal(known + strlen("known are "), list);
}

static void the_schema_lists_exactly_the_fields_the_parser_knows_with_their_defaults(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *schema = qd_recipe_schema();
    QD_AUTO(qd_json_fini) json_t *request = parse_text("{\"model\": \"file:///m\"}");
    QD_AUTO(qd_json_fini) json_t *defaults = print_parsed(request);
    static const char *const objects[] = { "limits", "webhook",  "publish",     "model",     "alphabet",
                                           "scale",  "mismatch", "calibration", "evaluation" };
    check_known("", schema);
    for (size_t i = 0; i < QD_LENGTH(objects); i++)
        check_known(objects[i], json_object_get(properties_of(schema), objects[i]));
    for (size_t f = 0; qd_field_at(f) != NULL; f++) {
        const qd_field *field = qd_field_at(f);
        json_t *node = properties_of(schema), *fallback = NULL;
        char key[QD_WORD];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(field->path, "/"), field->path);
        node = json_object_get(node, key);
        if (strchr(field->path, '/') != NULL)
            node = json_object_get(properties_of(node), qd_field_key(field));
        assert_non_null(node);
        fallback = json_object_get(node, "default");
        if (qd_effort_decides(field->path)) {
            assert_null(fallback);
            assert_string_equal(json_string_value(json_object_get(node, "x-default-by")), "effort");
        } else if (field->decided_by != NULL) {
            assert_null(fallback);
            assert_string_equal(json_string_value(json_object_get(node, "x-default-by")), field->decided_by);
        } else if (field->type != QD_FIELD_OBJECT && strcmp(field->path, "alphabet/zero") != 0 &&
                   strcmp(field->path, "alphabet/levels") != 0 && strcmp(field->path, "model/url") != 0 &&
                   strcmp(field->path, "model/token") != 0 && strcmp(field->path, "webhook/secret") != 0)
            check_equal_json(fallback, value_at(defaults, field->path), field->path);
    }
}

static void secrets_are_neither_printed_nor_echoed(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *request = request_with("model/token", "\"hf_secret\"");
    json_object_set_new(request, "webhook", parse_text("{\"url\": \"https://h/\", \"secret\": \"whsec_secret\"}"));
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(request);
    QD_AUTO(qd_json_fini) json_t *echo = qd_recipe_redact(request);
    char *texts[] = { json_dumps(printed, 0), json_dumps(echo, 0) };
    for (size_t i = 0; i < QD_LENGTH(texts); i++) {
        assert_null(strstr(texts[i], "hf_secret"));
        assert_null(strstr(texts[i], "whsec_secret"));
        free(texts[i]);
    }
    assert_string_equal(json_string_value(value_at(request, "model/token")), "hf_secret");
    assert_string_equal(json_string_value(value_at(echo, "model/url")), "file:///m");
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    check_ok(qd_recipe_parse(request, &recipe, NULL, &err));
    assert_string_equal(recipe->model_token, "hf_secret");
    assert_string_equal(recipe->webhook_secret, "whsec_secret");
    qd_recipe_destroy(recipe);
    QD_AUTO(qd_json_fini) json_t *plain = parse_text("{\"model\": \"file:///m\"}");
    QD_AUTO(qd_json_fini) json_t *same = qd_recipe_redact(plain);
    check_equal_json(same, plain, "nothing to remove");
}

static bool has_row(const json_t *catalog, const char *registry, const char *name)
{
    const json_t *rows = json_object_get(catalog, registry);
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(rows, i), "name")), name) == 0)
            return true;
    return false;
}

static void the_catalog_lists_every_registry(void **state)
{
    (void)state;
    static const char *const rows[][2] = { { "algorithms", "optq" },
                                           { "algorithms", "rtn" },
                                           { "alphabets", "int" },
                                           { "scale_rules", "mse" },
                                           { "scale_types", "bf16" },
                                           { "orders", "auto" },
                                           { "formats", "safetensors" },
                                           { "regularizers", "mean_diagonal" },
                                           { "splits", "lines" },
                                           { "samplings", "random" },
                                           { "mismatch_scopes", "block" },
                                           { "mismatch_starts", "original" },
                                           { "algorithms", "qronos" },
                                           { "bos_policies", "none" },
                                           { "architectures", "llama" },
                                           { "efforts", "balanced" },
                                           { "first_positions", "left-out" },
                                           { "protocols", "tutorial" },
                                           { "tasks", "hellaswag" },
                                           { "metrics", "acc_norm" },
                                           { "arithmetics", "bfloat16" } };
    QD_AUTO(qd_json_fini) json_t *catalog = qd_catalog_print();
    for (size_t i = 0; i < QD_LENGTH(rows); i++)
        if (!has_row(catalog, rows[i][0], rows[i][1]))
            fail_msg("no '%s' in '%s'", rows[i][1], rows[i][0]);
    json_t *row = json_array_get(json_object_get(catalog, "regularizers"), 0);
    json_t *param = json_array_get(json_object_get(row, "params"), 0);
    assert_string_equal(json_string_value(json_object_get(param, "type")), "number");
    check_close(json_number_value(json_object_get(param, "default")), 0.01, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_lists_exactly_the_fields_the_parser_knows_with_their_defaults),
        cmocka_unit_test(secrets_are_neither_printed_nor_echoed),
        cmocka_unit_test(the_catalog_lists_every_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
