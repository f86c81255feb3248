/* test_artifacts.c: several containers from one run; the gate; what attests an artifact, and that no changed bit passes. */
#include "job.h"

#include "base/rng.h"
#include "engine/attest.h"
#include "eval/divergence.h"
#include "export/artifact.h"

#define SEVERAL QUICK ",\"format\":[\"compressed-tensors\",\"safetensors:f32\",\"safetensors:bf16\"]"
#define FIRST "compressed-tensors-pack-quantized"

/* Keys of RFC 8032 section 7.1: the pair of test 2, and the public one of test 1. */
static const char private_key[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n"
                                  "-----END PRIVATE KEY-----\n",
                  public_key[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n"
                                 "-----END PUBLIC KEY-----\n",
                  other_key[] = "-----BEGIN PUBLIC KEY-----\n"
                                "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                "-----END PUBLIC KEY-----\n";

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

/* One run into several containers, signed. */
typedef struct runs {
    char folder[200], out[300];
    small_run job;
    qd_signer *signer;
    qd_verifier *key, *other;
} runs;

static void *open_key(const char *folder, const char *text, bool is_private)
{
    char path[300];
    qd_error err = { 0 };
    void *out = NULL;
    snprintf(path, sizeof path, "%s/key.pem", folder);
    check_ok(qd_file_write(path, text, strlen(text), &err));
    if (is_private)
        check_ok(qd_signer_open(path, (qd_signer **)&out, &err));
    else
        check_ok(qd_verifier_open(path, (qd_verifier **)&out, &err));
    return out;
}

static int set_up(void **state)
{
    static runs f;
    qd_error err = { 0 };
    f.job = (small_run){ .request = SEVERAL, .folder = make_folder(f.folder, sizeof f.folder), .texts = SHORT_TEXTS };
    check_ok(run_job(&f.job, &err));
    snprintf(f.out, sizeof f.out, "%s/out", f.folder);
    f.signer = open_key(f.folder, private_key, true);
    f.key = open_key(f.folder, public_key, false);
    f.other = open_key(f.folder, other_key, false);
    check_ok(qd_attest_sign(f.out, f.signer, &err));
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    runs *f = *state;
    job_fini(&f->job);
    qd_signer_destroy(f->signer);
    qd_verifier_destroy(f->key);
    qd_verifier_destroy(f->other);
    remove_folder(f->folder);
    return 0;
}

static json_t *read_json(const char *folder, const char *name)
{
    json_t *out = NULL;
    qd_error err = { 0 };
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, name);
    check_ok(qd_json_read_object(path, 64 << 20, 16, &out, &err));
    return out;
}

/* ---- several containers ---- */

static void each_container_is_an_artifact_and_the_manifest_lists_all(void **state)
{
    const runs *f = *state;
    static const char *const places[] = { FIRST, "safetensors-f32", "safetensors-bf16" };
    static const char *const files[] = { "README.md",         "certificate.json", "config.json",   "manifest.json",
                                         "model.safetensors", "recipe.json",      "tokenizer.json" };
    QD_AUTO(qd_json_fini) json_t *manifest = read_json(f->out, "manifest.json");
    const json_t *formats = json_object_get(manifest, "formats");
    assert_true(json_equal(formats, json_object_get(f->job.result, "formats")));
    assert_int_equal(json_array_size(formats), QD_LENGTH(places));
    for (size_t i = 0; i < QD_LENGTH(places); i++) {
        const json_t *one = json_array_get(formats, i);
        assert_string_equal(json_string_value(json_object_get(one, "path")), places[i]);
        QD_AUTO(qd_free_pointer) char *dir = qd_path_join(f->out, places[i]);
        QD_AUTO(qd_json_fini) json_t *own = read_json(dir, "manifest.json");
        assert_true(json_equal(json_object_get(own, "format"), json_object_get(one, "format")));
        assert_true(json_equal(json_object_get(own, "bits_per_weight"), json_object_get(one, "bits_per_weight")));
        for (size_t k = 0; k < QD_LENGTH(files); k++) {
            char path[200];
            size_t index, found = 0;
            const json_t *file;
            snprintf(path, sizeof path, "%s/%s", places[i], files[k]);
            json_array_foreach(json_object_get(manifest, "files"), index, file)
            {
                found += strcmp(json_string_value(json_object_get(file, "path")), path) == 0;
            }
            assert_int_equal(found, 1);
        }
    }
    check_close(number_at(json_array_get(formats, 0), "bits_per_weight"), 4.125, 1e-9);
    check_close(number_at(json_array_get(formats, 1), "bits_per_weight"), 32, 0);
    check_close(number_at(json_array_get(formats, 2), "bits_per_weight"), 16, 0);
}

static void the_folder_above_is_no_model_and_names_those_below(void **state)
{
    const runs *f = *state;
    qd_error err = { 0 };
    qd_artifact *artifact = NULL;
    json_t *report = NULL;
    check_fails(qd_artifact_open(f->out, &artifact, &err), QD_EUNSUPPORTED);
    check_contains(err.text, FIRST ", safetensors-f32, safetensors-bf16");
    QD_AUTO(qd_free_pointer) char *file = qd_path_join(f->out, "safetensors-f32/model.safetensors");
    check_fails(qd_verify(file, NULL, &report, &err), QD_ENOTFOUND);
    check_contains(err.text, "an artifact with its records is wanted");
}

/* Packed codes and their values in float32 are the same weights: measured once, and the same to the last bit; bf16 is rounded again. */
static void same_weights_have_the_same_numbers(void **state)
{
    const runs *f = *state;
    const json_t *formats = json_object_get(f->job.result, "formats");
    const json_t *packed = json_array_get(formats, 0), *f32 = json_array_get(formats, 1),
                 *bf16 = json_array_get(formats, 2);
    assert_true(json_equal(json_object_get(packed, "kl"), json_object_get(f32, "kl")));
    assert_true(json_equal(json_object_get(packed, "perplexity"), json_object_get(f32, "perplexity")));
    assert_false(json_equal(json_object_get(packed, "kl"), json_object_get(bf16, "kl")));
    check_close(number_at(bf16, "perplexity"), number_at(f32, "perplexity"), 0.01);
    const json_t *kl = json_object_get(f->job.result, "kl"), *own = json_object_get(kl, "quantized");
    assert_true(json_equal(own, json_object_get(packed, "kl")));
    assert_true(number_at(own, "mean") > 0 && number_at(own, "mean") < 1);
    assert_true(number_at(own, "p99") >= number_at(own, "mean") && number_at(own, "max") >= number_at(own, "p99"));
    assert_true(number_at(own, "same_top") > 0.3 && number_at(own, "same_top") <= 1);
    assert_true(number_at(json_object_get(kl, "rtn"), "mean") > 0);
}

/* Kept tensors and scales of a source in blocks stand in float32: config.json must not let loaders round them to what it said before. */
static void a_source_in_blocks_makes_a_model_in_float32(void **state)
{
    (void)state;
    char folder[200], model[300], out[300];
    qd_error err = { 0 };
    small_run first = { .request = QUICK ",\"algorithm\":\"rtn\",\"format\":\"gguf:q4_0\"",
                        .folder = make_folder(folder, sizeof folder),
                        .texts = SHORT_TEXTS };
    check_ok(run_job(&first, &err));
    snprintf(model, sizeof model, "%s/out", folder);
    snprintf(out, sizeof out, "%s/again", folder);
    QD_AUTO(qd_free_pointer) char *work = qd_path_join(folder, "work2");
    small_run again = { .request = SMALL ",\"algorithm\":\"rtn\",\"scale\":{\"type\":\"f32\"}",
                        .folder = folder,
                        .model = model,
                        .work = work,
                        .out = out,
                        .texts = SHORT_TEXTS };
    check_ok(run_job(&again, &err));
    QD_AUTO(qd_json_fini) json_t *before = read_json(model, "config.json");
    QD_AUTO(qd_json_fini) json_t *after = read_json(out, "config.json");
    assert_string_equal(json_string_value(json_object_get(before, "dtype")), "bfloat16");
    assert_string_equal(json_string_value(json_object_get(after, "dtype")), "float32");
    job_fini(&first);
    job_fini(&again);
    remove_folder(folder);
}

/* GPTQ, AWQ and compressed-tensors hold the same codes, GGUF the same as plain float32: one measurement, one number. */
static void one_solution_is_the_same_in_every_container_that_holds_it(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        size_t alike;
    } cases[] = {
        { QUICK ",\"format\":[\"gptq\",\"compressed-tensors\",\"awq\",\"safetensors:f32\"]", 4 },
        { QUICK ",\"format\":[\"gguf:q4_0\",\"safetensors:f32\"]", 2 },
        { QUICK ",\"format\":[\"gguf:q4_k\",\"safetensors:f32\"]", 2 },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char folder[200];
        qd_error err = { 0 };
        json_t *report = NULL;
        small_run job = { .request = cases[i].request,
                          .folder = make_folder(folder, sizeof folder),
                          .texts = SHORT_TEXTS };
        check_ok(run_job(&job, &err));
        const json_t *formats = json_object_get(job.result, "formats");
        assert_int_equal(json_array_size(formats), cases[i].alike);
        for (size_t k = 1; k < cases[i].alike; k++)
            assert_true(json_equal(json_object_get(json_array_get(formats, k), "kl"),
                                   json_object_get(json_array_get(formats, 0), "kl")));
        QD_AUTO(qd_free_pointer) char *out = qd_path_join(folder, "out");
        check_ok(qd_verify(out, NULL, &report, &err));
        if (!json_is_true(json_object_get(report, "ok")))
            fail_msg("%s", json_dumps(json_object_get(report, "findings"), 0));
        json_decref(report);
        job_fini(&job);
        remove_folder(folder);
    }
}

/* What the run says of its artifact is what anybody finds who opens it. */
static void kl_is_that_of_the_folder(void **state)
{
    const runs *f = *state;
    qd_error err = { 0 };
    char path[4096];
    qd_model *source = NULL;
    qd_artifact *artifact = NULL;
    qd_tokenizer *tokenizer = NULL;
    QD_AUTO(qd_corpus_fini) qd_corpus corpus = { 0 };
    qd_windows windows = { 0 };
    qd_perplexity own = { 0 };
    qd_divergence found = { 0 };
    QD_AUTO(qd_free_pointer) char *dir = qd_path_join(f->out, FIRST);
    QD_AUTO(qd_free_pointer) char *text = qd_path_join(f->folder, "text.txt");
    check_ok(qd_model_open(SOURCE_PATH(path, "tests/models/novella-1m"), &source, &err));
    check_ok(qd_tokenizer_open(dir, &tokenizer, &err));
    check_ok(qd_artifact_open(dir, &artifact, &err));
    check_ok(
        qd_corpus_read(tokenizer, text, &(qd_corpus_way){ .split = QD_SPLIT_WHOLE, .limit = 1 << 24 }, &corpus, &err));
    const qd_window_cut cut = { .length = 64, .max_windows = 1, .bos = qd_model_borrow_config(source)->bos };
    check_ok(qd_windows_cut(&corpus.ids, &cut, &windows, &err));
    const qd_rival rivals[] = { { source, NULL }, { qd_artifact_model(artifact), qd_artifact_overlay(artifact) } };
    check_ok(qd_divergence_measure(&rivals[0], &rivals[1], 1, &windows, NULL, NULL, NULL, NULL, &own, &found, &err));
    const json_t *kl = json_object_get(json_object_get(f->job.result, "kl"), "quantized");
    check_close(number_at(kl, "mean"), found.mean, 0);
    check_close(number_at(kl, "max"), found.max, 0);
    check_close(number_at(kl, "same_top"), found.same_top, 0);
    check_close(number_at(json_object_get(f->job.result, "perplexity"), "source"), own.perplexity, 0);
    qd_windows_fini(&windows);
    qd_tokenizer_destroy(tokenizer);
    qd_artifact_destroy(artifact);
    qd_model_destroy(source);
}

/* Every file below a folder, one level deep. */
static void digest_tree(const char *folder, char *out_hex)
{
    static const char *const places[] = { FIRST, "safetensors-f32", "safetensors-bf16" };
    static const char *const files[] = { "manifest.json", "provenance.json" };
    char hex[QD_DIGEST_HEX];
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str all = { 0 };
    for (size_t i = 0; i < QD_LENGTH(places); i++) {
        QD_AUTO(qd_free_pointer) char *dir = qd_path_join(folder, places[i]);
        digest_folder(dir, hex);
        qd_str_addf(&all, "%s\n", hex);
    }
    for (size_t i = 0; i < QD_LENGTH(files); i++) {
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(folder, files[i]);
        check_ok(qd_sha256_file(path, hex, &err));
        qd_str_addf(&all, "%s\n", hex);
    }
    check_ok(qd_sha256(all.data, all.length, out_hex, &err));
}

static void threads_and_being_stopped_change_no_byte_of_any_container_or_record(void **state)
{
    const runs *f = *state;
    char want[QD_DIGEST_HEX], found[QD_DIGEST_HEX];
    digest_tree(f->out, want);
    for (size_t stop = 0; stop <= 20; stop += 20) {
        char folder[200];
        qd_error err = { 0 };
        small_run job = {
            .request = SEVERAL, .folder = make_folder(folder, sizeof folder), .texts = SHORT_TEXTS, .threads = 2
        };
        job.log.cancel_after = stop;
        if (stop > 0) {
            check_fails(run_job(&job, &err), QD_ECANCELLED);
            job_fini(&job);
            job.log.cancel_after = 0;
        }
        check_ok(run_job(&job, &err));
        QD_AUTO(qd_free_pointer) char *out = qd_path_join(folder, "out");
        digest_tree(out, found);
        assert_string_equal(found, want);
        job_fini(&job);
        remove_folder(folder);
    }
}

/* ---- the gate ---- */

/* Runs a job with this gate; the folder is the caller's to remove. */
static qd_code run_gated(const char *members, char *folder, size_t size, qd_error *err)
{
    char request[600];
    snprintf(request, sizeof request, "%s,%s", QUICK, members);
    small_run job = { .request = request, .folder = make_folder(folder, size), .texts = SHORT_TEXTS };
    qd_code code = run_job(&job, err);
    assert_true((code == QD_OK) == (job.result != NULL));
    job_fini(&job);
    return code;
}

static void an_artifact_outside_the_gate_is_put_aside_whole_and_not_published(void **state)
{
    (void)state;
    static const struct {
        const char *gate, *reason;
    } cases[] = {
        { "\"gate\":{\"perplexity_ratio\":0.5}", "gate.perplexity_ratio: 'compressed-tensors:pack-quantized' has " },
        { "\"gate\":{\"kl\":1e-9}", "gate.kl: 'compressed-tensors:pack-quantized' is " },
        { "\"gate\":{\"kl\":1e-9,\"perplexity_ratio\":100},\"format\":[\"safetensors\",\"compressed-tensors\"]",
          "gate.kl: 'safetensors:f32' is " },
    };
    for (size_t i = 0; i < QD_LENGTH(cases); i++) {
        char folder[200];
        qd_error err = { 0 };
        json_t *report = NULL;
        check_fails(run_gated(cases[i].gate, folder, sizeof folder, &err), QD_EGATE);
        check_contains(err.text, cases[i].reason);
        QD_AUTO(qd_free_pointer) char *out = qd_path_join(folder, "out");
        QD_AUTO(qd_free_pointer) char *aside = qd_path_join(folder, "out.quarantined");
        check_contains(err.text, aside);
        assert_false(qd_path_exists(out));
        check_ok(qd_verify(aside, NULL, &report, &err)); /* sound, with all its records, only not good enough */
        assert_true(json_is_true(json_object_get(report, "ok")));
        json_decref(report);
        remove_folder(folder);
    }
}

static void a_gate_that_is_met_changes_nothing_but_the_record_of_it(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    check_ok(run_gated("\"gate\":{\"kl\":10,\"perplexity_ratio\":10}", folder, sizeof folder, &err));
    QD_AUTO(qd_free_pointer) char *aside = qd_path_join(folder, "out.quarantined");
    assert_false(qd_path_exists(aside));
    remove_folder(folder);
}

static void a_gate_without_a_text_is_refused_before_any_work(void **state)
{
    (void)state;
    char folder[200];
    qd_error err = { 0 };
    small_run job = { .request = QUICK ",\"gate\":{\"kl\":1}",
                      .folder = make_folder(folder, sizeof folder),
                      .texts = SHORT_TEXTS,
                      .evaluation = "" };
    check_fails(run_job(&job, &err), QD_EINVAL);
    check_contains(err.text, "gate.kl: it is measured on an evaluation text");
    check_contains(err.text, "evaluation.text");
    assert_int_equal(job.log.layers, 0);
    job_fini(&job);
    remove_folder(folder);
}

/* Between writing and opening again a bit of the weights turns over. */
typedef struct saboteur {
    const char *folder;
    bool done;
} saboteur;

static void flip_in_the_middle(qd_str *bytes, void *ctx)
{
    (void)ctx;
    bytes->data[bytes->length / 2] ^= 4;
}

static void sabotage(void *ctx, const json_t *event)
{
    saboteur *s = ctx;
    const char *phase = json_string_value(json_object_get(event, "phase"));
    if (s->done || phase == NULL || strcmp(phase, "verifying") != 0)
        return;
    s->done = true;
    QD_AUTO(qd_free_pointer) char *out = qd_path_join(s->folder, "out");
    change_file(out, "model.safetensors", flip_in_the_middle, NULL);
}

static void what_was_written_wrong_is_put_aside(void **state)
{
    (void)state;
    char folder[200], model[4096], text[300], work[300], out[300];
    qd_error err = { 0 };
    json_t *result = NULL;
    saboteur s = { .folder = make_folder(folder, sizeof folder) };
    short_text(folder, text, sizeof text);
    snprintf(work, sizeof work, "%s/work", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    const qd_run_paths paths = { .model_dir = SOURCE_PATH(model, "tests/models/novella-1m"),
                                 .calibration_text = text,
                                 .evaluation_text = text,
                                 .work_dir = work,
                                 .out_dir = out };
    const qd_run_options options = { .threads = 1 };
    const qd_sink sink = { sabotage, &s };
    const qd_cancel cancel = { 0 };
    qd_recipe *recipe = recipe_of(QUICK);
    check_fails(qd_run(recipe, &paths, &options, &sink, &cancel, &result, &err), QD_EFORMAT);
    check_contains(err.text, "verifying: format 'compressed-tensors': file 'model.safetensors' has the digest");
    check_contains(err.text, "out.quarantined'");
    assert_true(s.done);
    assert_false(qd_path_exists(out));
    qd_recipe_destroy(recipe);
    remove_folder(folder);
}

/* ---- what attests it ---- */

static bool is_ok(const char *dir, const qd_verifier *key, json_t **out_report)
{
    qd_error err = { 0 };
    check_ok(qd_verify_signed(dir, NULL, key, out_report, &err));
    return json_is_true(json_object_get(*out_report, "ok"));
}

static const char *signature_of(const json_t *report)
{
    return json_string_value(json_object_get(json_object_get(report, "provenance"), "signature"));
}

static void a_signed_artifact_passes_with_its_key_and_no_other(void **state)
{
    const runs *f = *state;
    const qd_verifier *const keys[] = { f->key, NULL, f->other };
    static const char *const words[] = { "valid", "unchecked", "invalid" };
    for (size_t i = 0; i < QD_LENGTH(keys); i++) {
        QD_AUTO(qd_json_fini) json_t *report = NULL;
        assert_true(is_ok(f->out, keys[i], &report) == (i < 2));
        assert_string_equal(signature_of(report), words[i]);
    }
    QD_AUTO(qd_json_fini) json_t *statement = read_json(f->out, "provenance.json");
    assert_string_equal(json_string_value(json_object_get(statement, "_type")), "https://in-toto.io/Statement/v1");
    QD_AUTO(qd_json_fini) json_t *manifest = read_json(f->out, "manifest.json");
    assert_int_equal(json_array_size(json_object_get(statement, "subject")),
                     json_array_size(json_object_get(manifest, "files")) + 1);
    QD_AUTO(qd_free_pointer) char *text = json_dumps(statement, JSON_COMPACT);
    assert_null(strstr(text, f->folder));
    assert_null(strstr(text, "threads"));
}

/* The bit of a file that another process or a bad disk changes. */
typedef struct flip {
    uint64_t key, round;
} flip;

static void flip_one_bit(qd_str *bytes, void *ctx)
{
    const flip *how = ctx;
    uint64_t bit = qd_rng_below(how->key, how->round, 8 * bytes->length);
    bytes->data[bit / 8] ^= (char)(1 << bit % 8);
}

static void no_changed_bit_passes_in_weights_card_records_or_signature(void **state)
{
    const runs *f = *state;
    static const char *const files[] = { FIRST "/model.safetensors",
                                         FIRST "/README.md",
                                         "safetensors-f32/config.json",
                                         "safetensors-bf16/manifest.json",
                                         "manifest.json",
                                         "provenance.json",
                                         "provenance.dsse.json" };
    for (size_t i = 0; i < QD_LENGTH(files); i++)
        for (uint64_t round = 0; round < 3; round++) {
            flip how = { i, round };
            QD_AUTO(qd_json_fini) json_t *report = NULL;
            change_file(f->out, files[i], flip_one_bit, &how);
            if (is_ok(f->out, f->key, &report))
                fail_msg("%s: round %d passes", files[i], (int)round);
            change_file(f->out, files[i], flip_one_bit, &how); /* and back */
        }
    QD_AUTO(qd_json_fini) json_t *report = NULL;
    assert_true(is_ok(f->out, f->key, &report));
}

/* Every bit of what follows the payload: key id and signature, their names, and what is between them. */
static void no_changed_bit_of_the_signature_passes(void **state)
{
    const runs *f = *state;
    qd_error err = { 0 };
    QD_AUTO(qd_str_fini) qd_str bytes = { 0 };
    QD_AUTO(qd_json_fini) json_t *manifest = read_json(f->out, "manifest.json");
    QD_AUTO(qd_free_pointer) char *path = qd_path_join(f->out, "provenance.dsse.json");
    check_ok(qd_file_read(path, 1 << 24, &bytes, &err));
    size_t first = (size_t)(strstr(bytes.data, "\"signatures\"") - bytes.data);
    assert_true(bytes.length - first > 150 && bytes.length - first < 300);
    for (size_t bit = 8 * first; bit < 8 * bytes.length; bit++) {
        json_t *lines = json_array(), *report = NULL;
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        FILE *file = fopen(path, "w"); /* no sync: thousands of them */
        assert_int_equal(fwrite(bytes.data, 1, bytes.length, file), bytes.length);
        fclose(file);
        check_ok(qd_attest_check(f->out, manifest, f->key, lines, &report, &err));
        if (json_array_size(lines) == 0)
            fail_msg("bit %zu of byte %zu passes", bit % 8, bit / 8);
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        json_decref(lines);
        json_decref(report);
    }
    check_ok(qd_file_write(path, bytes.data, bytes.length, &err));
}

static void what_is_taken_away_is_missed(void **state)
{
    const runs *f = *state;
    static const char *const files[] = { "provenance.dsse.json", "provenance.json", FIRST "/README.md" };
    for (size_t i = 0; i < QD_LENGTH(files); i++) {
        qd_error err = { 0 };
        QD_AUTO(qd_json_fini) json_t *report = NULL;
        QD_AUTO(qd_free_pointer) char *path = qd_path_join(f->out, files[i]);
        QD_AUTO(qd_free_pointer) char *away = qd_path_join(f->folder, "away");
        check_ok(qd_file_rename(path, away, &err));
        assert_false(is_ok(f->out, f->key, &report));
        check_ok(qd_file_rename(away, path, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_container_is_an_artifact_and_the_manifest_lists_all),
        cmocka_unit_test(the_folder_above_is_no_model_and_names_those_below),
        cmocka_unit_test(same_weights_have_the_same_numbers),
        cmocka_unit_test(a_source_in_blocks_makes_a_model_in_float32),
        cmocka_unit_test(one_solution_is_the_same_in_every_container_that_holds_it),
        cmocka_unit_test(kl_is_that_of_the_folder),
        cmocka_unit_test(threads_and_being_stopped_change_no_byte_of_any_container_or_record),
        cmocka_unit_test(an_artifact_outside_the_gate_is_put_aside_whole_and_not_published),
        cmocka_unit_test(a_gate_that_is_met_changes_nothing_but_the_record_of_it),
        cmocka_unit_test(a_gate_without_a_text_is_refused_before_any_work),
        cmocka_unit_test(what_was_written_wrong_is_put_aside),
        cmocka_unit_test(a_signed_artifact_passes_with_its_key_and_no_other),
        cmocka_unit_test(no_changed_bit_passes_in_weights_card_records_or_signature),
        cmocka_unit_test(no_changed_bit_of_the_signature_passes),
        cmocka_unit_test(what_is_taken_away_is_missed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
