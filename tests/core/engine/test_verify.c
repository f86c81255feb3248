/* test_verify.c: a sound artifact passes; every kind of planted damage is found and named. */
#include "job.h"

/* A finished artifact, never changed itself. */
typedef struct runs {
    char folder[200], out[300];
    small_run job;
} runs;

/* Dequantized: weights can be changed one by one. */
#define REQUEST QUICK ",\"format\":\"safetensors\""
/* Scales that cannot be chosen again without H. */
#define WEIGHTED \
    "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1},\"scale\":{" \
    "\"rule\":\"hessian-mse\"}"

/* The same texts, with scales of a container. */
#define SCALED(rule, type) \
    "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1},\"scale\":{" \
    "\"rule\":\"" rule "\",\"type\":\"" type "\"},\"format\":\"safetensors:f32\""
#define FLOAT_ZERO "\"alphabet\":{\"kind\":\"int-asymmetric\",\"zero\":\"float\"}"
#define CODE_ZERO "\"alphabet\":\"int-asymmetric\""

/* Scales that follow from the codes. */
#define FITTED "\"refine\":{\"beam\":2,\"coordinate_descent\":2,\"refit_scales\":true}"

static int set_up(void **state)
{
    static runs fixture;
    qd_error err = { 0 };
    fixture.job = (small_run){ .request = REQUEST,
                               .folder = make_folder(fixture.folder, sizeof fixture.folder),
                               .texts = SHORT_TEXTS };
    check_ok(run_job(&fixture.job, &err));
    snprintf(fixture.out, sizeof fixture.out, "%s/out", fixture.folder);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    runs *fixture = *state;
    job_fini(&fixture->job);
    remove_folder(fixture->folder);
    return 0;
}

/* A copy of the artifact to be damaged; the folder around it is to be removed. */
static void copy_artifact(const runs *f, char *folder, size_t size, char *out, size_t out_size)
{
    char **names = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    make_folder(folder, size);
    snprintf(out, out_size, "%s/out", folder);
    check_ok(qd_dir_make(out, &err));
    check_ok(qd_dir_list(f->out, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_free_pointer) char *from = qd_path_join(f->out, names[i]);
        QD_AUTO(qd_free_pointer) char *to = qd_path_join(out, names[i]);
        check_ok(qd_file_copy(from, to, &err));
    }
    qd_names_free(names, count);
}

/* The manifest made to agree with a changed file, as somebody who covers up would. */
static void cover_up(const char *out, const char *name)
{
    char hex[QD_DIGEST_HEX];
    qd_error err = { 0 };
    uint64_t size = 0;
    QD_AUTO(qd_json_fini) json_t *manifest = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(out, "manifest.json");
    QD_AUTO(qd_free_pointer) char *changed = qd_path_join(out, name);
    check_ok(qd_json_read_object(path, 1 << 24, 16, &manifest, &err));
    check_ok(qd_sha256_file(changed, hex, &err));
    check_ok(qd_file_size(changed, &size, &err));
    json_t *files = json_object_get(manifest, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        json_t *file = json_array_get(files, i);
        if (strcmp(json_string_value(json_object_get(file, "path")), name) != 0)
            continue;
        json_object_set_new(file, "sha256", json_string(hex));
        json_object_set_new(file, "size", json_integer((json_int_t)size));
    }
    QD_AUTO(qd_free_pointer) char *text = json_dumps(manifest, JSON_INDENT(2));
    check_ok(qd_file_write(path, text, strlen(text), &err));
}

static json_t *verify(const char *out, const char *against)
{
    qd_error err = { 0 };
    json_t *report = NULL;
    check_ok(qd_verify(out, against, &report, &err));
    return report;
}

/* The report is not ok, and one line is about `where` and says `part`. */
static void check_found(const json_t *report, const char *where, const char *part)
{
    const json_t *lines = json_object_get(report, "findings");
    assert_true(json_is_false(json_object_get(report, "ok")));
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if (strcmp(json_string_value(json_object_get(line, "where")), where) == 0 &&
            strstr(json_string_value(json_object_get(line, "detail")), part) != NULL)
            return;
    }
    char *text = json_dumps(report, JSON_INDENT(1));
    print_error("no finding about '%s' says '%s': %s\n", where, part, text);
    free(text);
    fail();
}

static const char *source_model(char *buffer, size_t size)
{
    snprintf(buffer, size, "%s/tests/models/novella-1m", source_folder());
    return buffer;
}

static void check_sound(const char *out)
{
    char model[4096];
    const char *const againsts[] = { NULL, source_model(model, sizeof model) };
    for (size_t i = 0; i < QD_LENGTH(againsts); i++) {
        QD_AUTO(qd_json_fini) json_t *report = verify(out, againsts[i]);
        if (!json_is_true(json_object_get(report, "ok"))) {
            char *text = json_dumps(report, JSON_INDENT(1));
            print_error("%s\n", text);
            free(text);
            fail();
        }
        assert_int_equal(json_array_size(json_object_get(report, "findings")), 0);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(report, "certificates"), "certified_layers")), LAYERS);
    }
}

static void a_sound_artifact_passes_alone_and_against_its_source(void **state)
{
    const runs *f = *state;
    check_sound(f->out);
}

static void every_container_and_grid_passes(void **state)
{
    (void)state;
    static const char *const requests[] = {
        QUICK,
        QUICK ",\"alphabet\":\"int-asymmetric\",\"bits\":2,\"group_size\":32",
        QUICK ",\"bits\":8,\"group_size\":0,\"order\":\"natural\"",
        QUICK ",\"format\":\"safetensors:bf16\",\"bits\":3,\"group_size\":100",
        QUICK ",\"format\":\"safetensors:f16\",\"alphabet\":{\"kind\":\"int\",\"zero\":\"float\"},\"bits\":6",
        QUICK ",\"algorithm\":\"rtn\"",
        QUICK ",\"alphabet\":\"ternary\",\"group_size\":64",
        "\"calibration\":{\"samples\":4,\"length\":64},\"evaluation\":{\"length\":64,\"windows\":1},"
        "\"alphabet\":\"int-asymmetric\",\"bits\":1.58,\"scale\":{\"type\":\"e8m0\"}",
        QUICK ",\"alphabet\":\"nf4\",\"format\":\"safetensors:bf16\"",
        QUICK ",\"alphabet\":\"mxfp4\",\"format\":\"safetensors:bf16\"",
        QUICK ",\"alphabet\":{\"levels\":[-4,-2,-1,-0.5,0,0.5,1,2,4]},\"format\":\"safetensors:f16\"",
        WEIGHTED ",\"alphabet\":\"e2m1\",\"format\":\"safetensors:f32\"",
        WEIGHTED ",\"alphabet\":\"mxfp4\",\"format\":\"safetensors:f32\"",
        WEIGHTED,
        WEIGHTED ",\"format\":\"safetensors:bf16\",\"bits\":3,\"alphabet\":{\"kind\":\"int\",\"zero\":\"float\"}",
        WEIGHTED ",\"algorithm\":\"qronos\",\"group_size\":32",
        QUICK ",\"refine\":{\"beam\":4,\"coordinate_descent\":2}",
        QUICK "," FITTED,
        QUICK "," FITTED ",\"algorithm\":\"qronos\",\"alphabet\":\"int-asymmetric\",\"group_size\":0",
        QUICK "," FITTED
              ",\"format\":\"safetensors:bf16\",\"bits\":3,\"alphabet\":{\"kind\":\"int\",\"zero\":\"float\"}",
        QUICK "," FITTED ",\"format\":\"safetensors\",\"bits\":2,\"group_size\":16",
        /* one token: H has rank 1, and what the path's target leaves is mostly rounding */
        "\"calibration\":{\"samples\":1,\"length\":2},\"algorithm\":\"gpfq\",\"bits\":3,\"group_size\":32,"
        "\"transforms\":[{\"kind\":\"hadamard\",\"signs\":\"none\"}],\"format\":\"safetensors:f32\"",
        /* groups of one value, and no level is 0 */
        QUICK "," FITTED ",\"format\":\"safetensors:f32\",\"alphabet\":{\"levels\":[-1,1]},\"group_size\":4",
        QUICK "," FITTED ",\"format\":\"safetensors:f16\",\"alphabet\":\"int-asymmetric\",\"bits\":8,\"group_size\":16",
        QUICK "," FITTED ",\"format\":\"safetensors:bf16\",\"alphabet\":\"mxfp4\"",
        SCALED("mse", "q4_k") "," FLOAT_ZERO ",\"group_size\":32",
        SCALED("hessian-mse", "q2_k") "," FLOAT_ZERO ",\"bits\":2,\"group_size\":16," FITTED,
        SCALED("hessian-mse", "q3_k") "," CODE_ZERO ",\"bits\":3,\"group_size\":16",
        SCALED("minmax", "q6_k") "," CODE_ZERO ",\"bits\":6,\"group_size\":16," FITTED,
        SCALED("mse", "f16-signed") "," CODE_ZERO ",\"group_size\":32,\"algorithm\":\"qronos\"",
        SCALED("hessian-mse", "f16-offset") "," FLOAT_ZERO ",\"bits\":5,\"group_size\":32",
        SCALED("mse", "e4m3") ",\"alphabet\":\"nvfp4\"",
        /* rows of 128 and 384 do not fit: another grid there, in the container and in the records */
        WEIGHTED ",\"format\":\"gguf:q4_k\"",
        QUICK ",\"format\":\"gguf:q4_0\"",
    };
    for (size_t i = 0; i < QD_LENGTH(requests); i++) {
        char folder[200], out[300];
        qd_error err = { 0 };
        small_run job = {
            .request = requests[i], .folder = make_folder(folder, sizeof folder), .evaluation = "", .texts = SHORT_TEXTS
        };
        check_ok(run_job(&job, &err));
        snprintf(out, sizeof out, "%s/out", folder);
        check_sound(out);
        job_fini(&job);
        remove_folder(folder);
    }
}

static void flip_a_bit(qd_str *bytes, void *ctx)
{
    (void)ctx;
    bytes->data[bytes->length - 1000] ^= 1;
}

static void a_flipped_bit_contradicts_the_manifest(void **state)
{
    char folder[200], out[300];
    copy_artifact(*state, folder, sizeof folder, out, sizeof out);
    change_file(out, "model.safetensors", flip_a_bit, NULL);
    QD_AUTO(qd_json_fini) json_t *report = verify(out, NULL);
    check_found(report, "manifest.json", "model.safetensors");
    remove_folder(folder);
}

static void missing_and_foreign_files_are_named(void **state)
{
    char folder[200], out[300];
    qd_error err = { 0 };
    copy_artifact(*state, folder, sizeof folder, out, sizeof out);
    QD_AUTO(qd_free_pointer) char *extra = qd_path_join(out, "extra.txt");
    check_ok(qd_file_write(extra, "x", 1, &err));
    QD_AUTO(qd_json_fini) json_t *report = verify(out, NULL);
    check_found(report, "manifest.json", "extra.txt");
    remove(extra);
    static const char *const needed[] = { "recipe.json", "certificate.json", "tokenizer.json" };
    for (size_t i = 0; i < QD_LENGTH(needed); i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(out, needed[i]);
        QD_AUTO(qd_free_pointer) char *away = qd_path_join(folder, "away");
        check_ok(qd_file_rename(path, away, &err));
        QD_AUTO(qd_json_fini) json_t *without = verify(out, NULL);
        check_found(without, "manifest.json", needed[i]);
        check_ok(qd_file_rename(away, path, &err));
    }
    check_sound(out); /* put back, all is well */
    remove_folder(folder);
}

/* One element of a float32 tensor. */
typedef struct one_weight {
    const char *tensor;
    size_t at;
    float value;
    int set; /* 1 = value, 0 = multiplied by it */
} one_weight;

static void change_element(qd_str *bytes, void *ctx)
{
    const one_weight *e = ctx;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    float value;
    check_ok(qd_safetensors_parse("model", (const unsigned char *)bytes->data, bytes->length, &file, &err));
    const qd_tensor *tensor = qd_safetensors_find(file, e->tensor);
    assert_non_null(tensor);
    assert_string_equal(tensor->dtype->name, "F32");
    char *at = bytes->data + (tensor->data - (const unsigned char *)bytes->data) + 4 * e->at;
    memcpy(&value, at, 4);
    value = e->set ? e->value : value * e->value;
    memcpy(at, &value, 4);
    qd_safetensors_destroy(file);
}

static json_t *verify_changed_weight(const runs *f, one_weight e, const char *against)
{
    char folder[200], out[300];
    copy_artifact(f, folder, sizeof folder, out, sizeof out);
    change_file(out, "model.safetensors", change_element, &e);
    cover_up(out, "model.safetensors");
    json_t *report = verify(out, against);
    remove_folder(folder);
    return report;
}

static void a_covered_up_weight_is_found_on_none_of_the_scales_that_h_chose_from(void **state)
{
    (void)state;
    char model[4096];
    runs weighted;
    qd_error err = { 0 };
    const one_weight e = { "model.layers.4.mlp.down_proj.weight", 777, 1.37F, 0 };
    weighted.job = (small_run){ .request = WEIGHTED ",\"format\":\"safetensors\"",
                                .folder = make_folder(weighted.folder, sizeof weighted.folder),
                                .texts = SHORT_TEXTS };
    check_ok(run_job(&weighted.job, &err));
    snprintf(weighted.out, sizeof weighted.out, "%s/out", weighted.folder);
    check_sound(weighted.out);
    QD_AUTO(qd_json_fini) json_t *report = verify_changed_weight(&weighted, e, source_model(model, sizeof model));
    check_found(report, "model.layers.4.mlp.down_proj", "not on the grid");
    job_fini(&weighted.job);
    remove_folder(weighted.folder);
}

/* Two fifths of the row's step above the element: on no grid that the others of its row fit. */
static float off_the_grid(const runs *f, const char *name, size_t at)
{
    enum { WIDEST = 1024 };
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(f->out, "model.safetensors");
    check_ok(qd_safetensors_open(path, &file, &err));
    const qd_tensor *tensor = qd_safetensors_find(file, name);
    size_t cols = (size_t)tensor->shape[1];
    float row[WIDEST], step = INFINITY;
    assert_true(cols <= WIDEST);
    check_ok(qd_tensor_rows_to_floats(tensor, at / cols, 1, row, &err));
    float value = row[at % cols];
    for (size_t i = 0; i < cols; i++)
        if (row[i] != value)
            step = fminf(step, fabsf(row[i] - value));
    qd_safetensors_destroy(file);
    return value + 0.4F * step;
}

static void a_covered_up_weight_is_found_off_the_grid_that_the_others_fit(void **state)
{
    (void)state;
    char model[4096];
    runs fitted;
    qd_error err = { 0 };
    one_weight e = { "model.layers.4.mlp.down_proj.weight", 777, 0, 1 };
    fitted.job = (small_run){ .request = QUICK "," FITTED ",\"format\":\"safetensors\",\"bits\":3",
                              .folder = make_folder(fitted.folder, sizeof fitted.folder),
                              .texts = SHORT_TEXTS };
    check_ok(run_job(&fitted.job, &err));
    snprintf(fitted.out, sizeof fitted.out, "%s/out", fitted.folder);
    check_sound(fitted.out);
    QD_AUTO(qd_json_fini) json_t *alone = verify(fitted.out, NULL);
    assert_true(json_is_null(json_object_get(alone, "scales")));
    e.value = off_the_grid(&fitted, e.tensor, e.at);
    QD_AUTO(qd_json_fini) json_t *report = verify_changed_weight(&fitted, e, source_model(model, sizeof model));
    assert_string_equal(json_string_value(json_object_get(report, "scales")), "fitted");
    check_found(report, "model.layers.4.mlp.down_proj", "not on the grid that the others fit");
    job_fini(&fitted.job);
    remove_folder(fitted.folder);
}

static void a_covered_up_weight_off_the_grid_is_found_against_the_source(void **state)
{
    char model[4096];
    const one_weight e = { "model.layers.4.mlp.down_proj.weight", 777, 1.37F, 0 };
    QD_AUTO(qd_json_fini)
    json_t *report = verify_changed_weight(*state, e, source_model(model, sizeof model));
    check_found(report, "model.layers.4.mlp.down_proj", "not on the grid");
}

static void a_covered_up_weight_on_another_grid_point_is_found_against_the_source(void **state)
{
    const runs *f = *state;
    char model[4096];
    /* the value of another weight of the same row and group: on the grid, but not what was decided */
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(f->out, "model.safetensors");
    check_ok(qd_safetensors_open(path, &file, &err));
    const qd_tensor *tensor = qd_safetensors_find(file, "model.layers.1.self_attn.q_proj.weight");
    float row[128], other = 0;
    check_ok(qd_tensor_rows_to_floats(tensor, 0, 1, row, &err));
    for (size_t i = 1; i < 128; i++)
        other = fabsf(row[i] - row[0]) > fabsf(other - row[0]) || i == 1 ? row[i] : other;
    qd_safetensors_destroy(file);
    const one_weight e = { "model.layers.1.self_attn.q_proj.weight", 0, other, 1 };
    QD_AUTO(qd_json_fini) json_t *report = verify_changed_weight(f, e, source_model(model, sizeof model));
    check_found(report, "model.layers.1.self_attn.q_proj", "weight_error_sq");
}

static void too_many_values_in_a_row_are_found_without_the_source(void **state)
{
    const runs *f = *state;
    char folder[200], out[300];
    copy_artifact(f, folder, sizeof folder, out, sizeof out);
    for (size_t i = 0; i < 17; i++) {
        one_weight e = { "model.layers.0.self_attn.k_proj.weight", i, 0.001F * (float)(i + 1), 1 };
        change_file(out, "model.safetensors", change_element, &e);
    }
    cover_up(out, "model.safetensors");
    QD_AUTO(qd_json_fini) json_t *report = verify(out, NULL);
    check_found(report, "model.layers.0.self_attn.k_proj", "values in a group");
    remove_folder(folder);
}

static void a_nan_is_found_in_any_tensor(void **state)
{
    const one_weight linear = { "model.layers.0.self_attn.k_proj.weight", 5, NAN, 1 };
    QD_AUTO(qd_json_fini) json_t *report = verify_changed_weight(*state, linear, NULL);
    check_found(report, "model.layers.0.self_attn.k_proj.weight", "nan");
}

/* A number of one layer's certificate. */
typedef struct number_edit {
    const char *key;
    double factor;
} number_edit;

static void edit_certificate(qd_str *bytes, void *ctx)
{
    const number_edit *edit = ctx;
    qd_error err = { 0 };
    json_t *document = NULL;
    check_ok(qd_json_parse_object(bytes->data, bytes->length, 16, &document, &err));
    json_t *c = json_object_get(json_array_get(json_object_get(document, "layers"), 9), "certificate");
    json_object_set_new(c, edit->key, json_real(json_number_value(json_object_get(c, edit->key)) * edit->factor));
    char *text = json_dumps(document, JSON_INDENT(1));
    qd_str_clear(bytes);
    qd_str_add(bytes, text);
    free(text);
    json_decref(document);
}

static void numbers_of_a_certificate_that_do_not_agree_are_found(void **state)
{
    static const number_edit edits[] = {
        { "energy_sq", 0.5 }, { "error_sq", 0.99 },          { "rel_error", 0.5 },  { "sqnr_db", 1.01 },
        { "ratio", 0.9 },     { "overload_bound_sq", 0.01 }, { "lambda", 10 },      { "S", 100 },
        { "N", 2 },           { "weight_error_sq", 100 },    { "output_sq", 1.001 }
    };
    for (size_t i = 0; i < QD_LENGTH(edits); i++) {
        char folder[200], out[300];
        number_edit edit = edits[i];
        copy_artifact(*state, folder, sizeof folder, out, sizeof out);
        change_file(out, "certificate.json", edit_certificate, &edit);
        cover_up(out, "certificate.json");
        QD_AUTO(qd_json_fini) json_t *report = verify(out, NULL);
        check_found(report, "model.layers.1.self_attn.v_proj", "");
        remove_folder(folder);
    }
}

static void another_source_is_not_mistaken_for_the_artifacts(void **state)
{
    const runs *f = *state;
    char folder[200], model[300];
    byte_patch patch = { "model.norm.weight", 3, 1, 0x3F80 };
    make_folder(folder, sizeof folder);
    snprintf(model, sizeof model, "%s/model", folder);
    copy_model(model);
    change_file(model, "model.safetensors", apply_patch, &patch);
    QD_AUTO(qd_json_fini) json_t *report = verify(f->out, model);
    check_found(report, "model.safetensors", "is not the model this artifact was made from");
    check_found(report, "model.norm.weight", "is not the source's");
    remove_folder(folder);
}

static void what_is_no_artifact_is_said(void **state)
{
    (void)state;
    char model[4096];
    qd_error err = { 0 };
    json_t *none = NULL;
    QD_AUTO(qd_json_fini) json_t *report = verify(source_model(model, sizeof model), NULL);
    check_found(report, "config.json", "plain model");
    check_fails(qd_verify("no/such/folder", NULL, &none, &err), QD_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_artifact_passes_alone_and_against_its_source),
        cmocka_unit_test(every_container_and_grid_passes),
        cmocka_unit_test(a_flipped_bit_contradicts_the_manifest),
        cmocka_unit_test(missing_and_foreign_files_are_named),
        cmocka_unit_test(a_covered_up_weight_off_the_grid_is_found_against_the_source),
        cmocka_unit_test(a_covered_up_weight_is_found_off_the_grid_that_the_others_fit),
        cmocka_unit_test(a_covered_up_weight_is_found_on_none_of_the_scales_that_h_chose_from),
        cmocka_unit_test(a_covered_up_weight_on_another_grid_point_is_found_against_the_source),
        cmocka_unit_test(too_many_values_in_a_row_are_found_without_the_source),
        cmocka_unit_test(a_nan_is_found_in_any_tensor),
        cmocka_unit_test(numbers_of_a_certificate_that_do_not_agree_are_found),
        cmocka_unit_test(another_source_is_not_mistaken_for_the_artifacts),
        cmocka_unit_test(what_is_no_artifact_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
