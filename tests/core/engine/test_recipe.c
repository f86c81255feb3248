/* test_recipe.c: every field of a job: its default, values that are taken, values that are refused and in which
 * words. */
#include "recipe.h"

#include "base/rng.h"

static void a_request_with_only_a_model_gets_the_defaults_of_the_contract(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *request = parse_text("{\"model\": \"https://example.org/m/\"}");
    QD_AUTO(qd_json_fini) json_t *got = print_parsed(request);
    QD_AUTO(qd_json_fini)
    json_t *want = parse_text(
        "{\"name\": null, \"tags\": {}, \"priority\": 50,"
        " \"limits\": {\"memory\": null, \"disk\": null, \"runtime\": null},"
        " \"webhook\": {\"url\": null}, \"publish\": {\"url\": null},"
        " \"model\": {\"url\": \"https://example.org/m/\", \"revision\": \"main\", \"sha256\": null, "
        "\"unknown\": \"refuse\"},"
        " \"algorithm\": \"qronos\", \"effort\": \"balanced\", \"rounding\": \"nearest\", \"seed\": 0, \"certified\": "
        "false, \"bits\": 4,"
        " \"alphabet\": {\"kind\": \"int\", \"zero\": \"none\", \"narrow\": false}, \"group_size\": 128,"
        " \"scale\": {\"rule\": \"hessian-mse\", \"shrink\": 1, \"type\": \"bf16\"}, \"transforms\": [], \"order\": "
        "\"norm-descending\","
        " \"regularization\": \"auto\","
        " \"mismatch\": {\"scope\": \"model\", \"shrink\": \"auto\", \"start\": \"projected\", \"residual\": true},"
        " \"refine\": {\"beam\": 8, \"coordinate_descent\": 4, \"refit_scales\": true},"
        " \"arithmetic\": \"auto\", \"on_degraded\": \"warn\","
        " \"experts\": {\"min_tokens\": null, \"fallback\": \"shared\"},"
        " \"calibration\": {\"source\": null, \"samples\": 128, \"length\": null, \"bos\": true, \"format\": \"auto\", "
        "\"documents\": \"joined\", \"split\": \"whole\","
        "  \"sampling\": \"even\", \"phase\": 0, \"first_position\": \"left-out\"},"
        " \"evaluation\": {\"text\": null, \"also\": [], \"protocol\": \"plain\", \"length\": null,"
        " \"stride\": null, \"context\": null, \"windows\": null, \"format\": \"auto\", \"split\": \"whole\","
        "  \"bos\": \"every-window\", \"tasks\": [], \"baseline\": \"rtn\"},"
        " \"gate\": {\"perplexity_ratio\": null, \"kl\": null, \"every_text\": false},"
        " \"format\": \"compressed-tensors\"}");
    check_equal_json(got, want, "defaults");
}

/* value as given, and as it is printed (NULL = the same). */
static const struct {
    const char *path, *given, *printed;
} good[] = {
    { "name", "\"a name\"", NULL },
    { "name", "null", NULL },
    { "name", "\"\"", NULL },
    { "tags", "{\"team\": \"a\", \"\\u00e9\": \"\"}", NULL },
    { "priority", "0", NULL },
    { "priority", "100", NULL },
    { "limits", "{\"disk\": 1048576}", "{\"memory\": null, \"disk\": 1048576, \"runtime\": null}" },
    { "limits/memory", "1048576", NULL },
    { "limits/memory", "null", NULL },
    { "limits/disk", "9007199254740991", NULL },
    { "limits/disk", "null", NULL },
    { "limits/runtime", "1.5", NULL },
    { "limits/runtime", "315360000", NULL },
    { "limits/runtime", "null", NULL },
    { "webhook", "null", "{\"url\": null}" },
    { "webhook", "{\"url\": \"https://example.org/hook\"}", NULL },
    { "webhook/url", "\"https://example.org/hook\"", NULL },
    { "webhook/url", "null", NULL },
    { "webhook/secret", "null", NULL },
    { "publish", "null", "{\"url\": null}" },
    { "publish", "\"s3://bucket/prefix\"", "{\"url\": \"s3://bucket/prefix\"}" },
    { "publish/url", "\"https://example.org/folder/\"", NULL },
    { "publish/url", "null", NULL },
    { "model/url", "\"hf://org/name\"", NULL },
    { "model/revision", "\"v1.0\"", NULL },
    { "model/token", "null", NULL },
    { "model/sha256", "{\"m\": \"0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef\"}", NULL },
    { "model/sha256", "null", NULL },
    { "model/unknown", "\"refuse\"", NULL },
    { "algorithm", "\"rtn\"", NULL },
    { "algorithm", "\"gpfq\"", NULL },
    { "algorithm", "\"qronos\"", NULL },
    { "algorithm", "\"gptq\"", "\"optq\"" },
    { "effort", "\"reference\"", NULL },
    { "effort", "\"best\"", NULL },
    { "rounding", "\"nearest\"", NULL },
    { "rounding", "\"stochastic\"", NULL },
    { "seed", "9007199254740991", NULL },
    { "bits", "1.58", NULL },
    { "certified", "true", NULL },
    { "certified", "false", NULL },
    { "bits", "2", NULL },
    { "bits", "3", NULL },
    { "bits", "4.0", "4" },
    { "bits", "5", NULL },
    { "bits", "6", NULL },
    { "bits", "8", NULL },
    { "alphabet", "\"int-asymmetric\"", "{\"kind\": \"int-asymmetric\", \"zero\": \"integer\", \"narrow\": false}" },
    { "alphabet", "\"int\"", "{\"kind\": \"int\", \"zero\": \"none\", \"narrow\": false}" },
    { "alphabet", "\"ternary\"", "{\"kind\": \"ternary\"}" },
    { "alphabet", "\"e2m1\"", "{\"kind\": \"e2m1\"}" },
    { "alphabet", "\"mxfp4\"", "{\"kind\": \"mxfp4\"}" },
    { "alphabet", "{\"kind\": \"nf4\"}", NULL },
    { "alphabet", "{\"levels\": [-1, -0.1, 0.30000001192092896]}",
      "{\"kind\": \"levels\", \"levels\": [-1, -0.1, 0.3]}" },
    { "alphabet", "{\"kind\": \"levels\", \"levels\": [-1e-20, 1e30]}", NULL },
    { "alphabet/levels", "[0, 1, 2, 4, 8]", NULL },
    { "alphabet/kind", "\"int-asymmetric\"", NULL },
    { "alphabet/zero", "\"none\"", NULL },
    { "alphabet/zero", "\"integer\"", NULL },
    { "alphabet/zero", "\"float\"", NULL },
    { "alphabet/narrow", "true", NULL },
    { "group_size", "0", NULL },
    { "group_size", "1", NULL },
    { "group_size", "1048576", NULL },
    { "scale/rule", "\"minmax\"", NULL },
    { "scale/rule", "\"hessian-mse\"", NULL },
    { "scale/shrink", "4", NULL },
    { "scale/shrink", "0.8", NULL },
    { "scale/type", "\"f32\"", NULL },
    { "scale/type", "\"f16\"", NULL },
    { "transforms", "[]", NULL },
    { "transforms", "[\"hadamard\"]", "[{\"kind\": \"hadamard\", \"signs\": \"random\"}]" },
    { "transforms", "[{\"kind\": \"hadamard\", \"signs\": \"none\"}, \"magr\"]",
      "[{\"kind\": \"hadamard\", \"signs\": \"none\"}, {\"kind\": \"magr\", \"alpha\": 0.01, \"iterations\": 200,"
      " \"normalization\": \"brevitas\", \"target\": \"reference\"}]" },
    { "transforms",
      "[{\"kind\": \"magr\", \"alpha\": 0, \"iterations\": 1, \"normalization\": \"published\", \"target\": "
      "\"weights\"},"
      " {\"kind\": \"hadamard\", \"signs\": \"random\"}]",
      NULL },
    { "scale/type", "\"e8m0\"", NULL },
    { "order", "\"natural\"", NULL },
    { "order", "\"auto\"", NULL },
    { "order", "\"min-pivot\"", NULL },
    { "regularization", "\"auto\"", NULL },
    { "regularization", "{\"mean_diagonal\": 0}", "{\"mean_diagonal\": 0.0}" },
    { "regularization", "{\"spectral\": 1e-6}", NULL },
    { "regularization", "{\"absolute\": 0.5}", NULL },
    { "mismatch/scope", "\"block\"", NULL },
    { "mismatch/scope", "\"model\"", NULL },
    { "mismatch/shrink", "\"auto\"", NULL },
    { "mismatch/shrink", "0", NULL },
    { "mismatch/shrink", "0.25", NULL },
    { "mismatch/start", "\"original\"", NULL },
    { "mismatch/start", "\"projected\"", NULL },
    { "mismatch/residual", "true", NULL },
    { "mismatch/residual", "false", NULL },
    { "refine", "{\"coordinate_descent\": 3, \"refit_scales\": true}",
      "{\"beam\": 1, \"coordinate_descent\": 3, \"refit_scales\": true}" },
    { "refine/beam", "1", NULL },
    { "refine/beam", "64", NULL },
    { "refine/coordinate_descent", "0", NULL },
    { "refine/coordinate_descent", "64", NULL },
    { "refine/refit_scales", "false", NULL },
    { "arithmetic", "\"auto\"", NULL },
    { "arithmetic", "\"float32\"", NULL },
    { "arithmetic", "\"bfloat16\"", NULL },
    { "on_degraded", "\"fail\"", NULL },
    { "experts/min_tokens", "1000", NULL },
    { "experts/min_tokens", "null", NULL },
    { "experts/fallback", "\"rtn\"", NULL },
    { "calibration/source", "\"https://example.org/t.txt\"", NULL },
    { "calibration/source", "null", NULL },
    { "calibration/source", "\"self\"", NULL },
    { "calibration/samples", "1", NULL },
    { "calibration/length", "2", NULL },
    { "calibration/length", "null", NULL },
    { "calibration/bos", "false", NULL },
    { "calibration/format", "\"jsonl\"", NULL },
    { "calibration/documents", "\"separated\"", NULL },
    { "calibration/documents", "\"within\"", NULL },
    { "calibration/split", "\"lines\"", NULL },
    { "calibration/sampling", "\"random\"", NULL },
    { "calibration/phase", "0.999", NULL },
    { "calibration/first_position", "\"counted\"", NULL },
    { "calibration/first_position", "\"left-out\"", NULL },
    { "evaluation/text", "\"file:///t\"", NULL },
    { "evaluation/text", "\"self\"", NULL },
    { "evaluation/also", "[]", NULL },
    { "evaluation/also",
      "[\"https://h/a/b.txt?k=1#x\", {\"text\": \"s3://b/c\"}, {\"name\": \"é\", \"text\": \"file:///\"}]",
      "[{\"name\": \"b.txt\", \"text\": \"https://h/a/b.txt?k=1#x\"}, {\"name\": \"c\", \"text\": \"s3://b/c\"},"
      " {\"name\": \"é\", \"text\": \"file:///\"}]" },
    { "evaluation/also", "[\"https://h/\"]", "[{\"name\": \"text\", \"text\": \"https://h/\"}]" },
    { "evaluation/protocol", "\"tutorial\"", NULL },
    { "evaluation/stride", "512", NULL },
    { "evaluation/stride", "null", NULL },
    { "evaluation/context", "1", NULL },
    { "evaluation/length", "1048576", NULL },
    { "evaluation/windows", "200", NULL },
    { "evaluation/windows", "null", NULL },
    { "evaluation/format", "\"text\"", NULL },
    { "evaluation/split", "\"lines\"", NULL },
    { "evaluation/bos", "\"none\"", NULL },
    { "evaluation/bos", "\"inserted\"", NULL },
    { "evaluation/tasks", "[]", NULL },
    { "evaluation/tasks", "[\"piqa\",{\"task\":\"boolq\",\"examples\":20,\"data\":\"https://h/b\"}]",
      "[{\"task\":\"piqa\",\"examples\":null,\"data\":null},{\"task\":\"boolq\",\"examples\":20,\"data\":\"https://h/"
      "b\"}]" },
    { "evaluation/baseline", "null", NULL },
    { "evaluation/baseline", "\"rtn\"", NULL },
    { "gate", "{\"kl\": 1}", "{\"perplexity_ratio\": null, \"kl\": 1, \"every_text\": false}" },
    { "gate/every_text", "true", NULL },
    { "gate/perplexity_ratio", "1.05", NULL },
    { "gate/perplexity_ratio", "0", NULL },
    { "gate/perplexity_ratio", "null", NULL },
    { "gate/kl", "0.02", NULL },
    { "gate/kl", "null", NULL },
    { "format", "\"compressed-tensors\"", NULL },
    { "format", "\"safetensors\"", NULL },
    { "format", "\"safetensors:bf16\"", NULL },
    { "format", "\"safetensors:f16\"", NULL },
    { "format", "[\"safetensors:bf16\"]", "\"safetensors:bf16\"" },
    { "format", "[\"safetensors:bf16\", \"compressed-tensors\", \"safetensors\"]", NULL },
};

static void every_good_value_is_taken_and_printed(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(good); i++) {
        QD_AUTO(qd_json_fini) json_t *request = request_with(good[i].path, good[i].given);
        QD_AUTO(qd_json_fini) json_t *got = print_parsed(request);
        QD_AUTO(qd_json_fini)
        json_t *want = parse_text(good[i].printed == NULL ? good[i].given : good[i].printed);
        if (strcmp(good[i].path, "model/token") == 0 || strcmp(good[i].path, "webhook/secret") == 0)
            assert_null(value_at(got, good[i].path));
        else
            check_equal_json(value_at(got, good[i].path), want, good[i].path);
        QD_AUTO(qd_json_fini) json_t *again = print_parsed(got);
        check_equal_json(again, got, "printed and parsed again");
    }
}

/* value, the pointer of the finding, and a part of its sentence. */
static const struct {
    const char *path, *given, *pointer, *part;
} bad[] = {
    { "name", "7", "/name", "name: a string is wanted, found an integer" },
    { "name", "\"a\\nb\"", "/name", "'a?b' has a control character" },
    { "name", "\"a\\u0085b\"", "/name", "'a??b' has a control character" },
    { "tags", "[]", "/tags", "tags: an object of strings is wanted, found an array" },
    { "tags", "null", "/tags", "an object of strings is wanted, found null" },
    { "tags", "{\"a\": 1}", "/tags/a", "'a': a string is wanted, found an integer" },
    { "tags", "{\"\": \"x\"}", "/tags/", "key of 1 to 200 characters" },
    { "tags", "{\"a/b~\": 1}", "/tags/a~1b~0", "'a/b~'" },
    { "priority", "101", "/priority", "priority: 101 is not in 0..100" },
    { "priority", "-1", "/priority", "priority: -1 is not in 0..100" },
    { "priority", "null", "/priority", "an integer is wanted, found null" },
    { "limits", "null", "/limits", "limits: an object is wanted, found null" },
    { "limits", "{\"cores\": 2}", "/limits/cores", "no such field; known are memory, disk, runtime" },
    { "limits/memory", "1000", "/limits/memory", "limits.memory: 1000 is not in 1048576..9007199254740991" },
    { "limits/disk", "\"1G\"", "/limits/disk", "an integer is wanted, found a string" },
    { "limits/runtime", "0.5", "/limits/runtime", "limits.runtime: 0.5 is not in 1..315360000" },
    { "webhook", "\"https://example.org/hook\"", "/webhook", "webhook: an object is wanted, found a string" },
    { "webhook", "[]", "/webhook", "webhook: an object is wanted, found an array" },
    { "webhook", "{\"urls\": []}", "/webhook/urls", "no such field; known are url, secret" },
    { "webhook/url", "\"example.org\"", "/webhook/url", "webhook.url: 'example.org' is no URL" },
    { "webhook/secret", "\"\"", "/webhook/secret", "empty" },
    { "webhook/secret", "5", "/webhook/secret", "webhook.secret: a string is wanted" },
    { "publish", "7", "/publish", "publish: a string or an object is wanted, found an integer" },
    { "publish/url", "\"bucket\"", "/publish/url", "publish.url: 'bucket' is no URL" },
    { "model", "7", "/model", "model: a string or an object is wanted, found an integer" },
    { "model", "\"\"", "/model", "model.url: '' is no URL" },
    { "model", "{}", "/model/url", "model.url: is missing" },
    { "model/url", "\"org/name\"", "/model/url", "model.url: 'org/name' is no URL" },
    { "model/url", "null", "/model/url", "found null" },
    { "model/revision", "\"\"", "/model/revision", "empty" },
    { "model/token", "5", "/model/token", "model.token: a string is wanted" },
    { "model/unknown", "\"guess\"", "/model/unknown", "model.unknown: 'guess' is not in refuse, data-free" },
    { "model/sha256", "{\"m\": \"12\"}", "/model/sha256/m", "'12' is not 64 hexadecimal digits" },
    { "algorithm", "\"magic\"", "/algorithm", "algorithm: 'magic' is not in rtn, optq, gpfq, qronos, gptq" },
    { "algorithm", "1", "/algorithm", "a string is wanted, found an integer" },
    { "effort", "\"most\"", "/effort", "effort: 'most' is not in reference, fast, balanced, best" },
    { "effort", "null", "/effort", "effort: a string is wanted, found null" },
    { "rounding", "\"random\"", "/rounding", "rounding: 'random' is not in nearest, stochastic" },
    { "certified", "1", "/certified", "certified: true or false is wanted, found an integer" },
    { "seed", "-1", "/seed", "seed: -1 is not in 0..9007199254740991" },
    { "seed", "1.5", "/seed", "an integer is wanted, found a number" },
    { "bits", "17", "/bits", "bits: 17 is not in 1.58, 2, 3, 4, 5, 6, 7, 8" },
    { "bits", "1.585", "/bits", "is not in 1.58, 2, 3, 4, 5, 6, 7, 8" },
    { "bits", "\"4\"", "/bits", "bits: a number is wanted, found a string" },
    { "bits", "null", "/bits", "bits: a number is wanted, found null" },
    { "alphabet", "\"nf8\"", "/alphabet",
      "alphabet.kind: 'nf8' is not in int, int-asymmetric, ternary, e2m1, mxfp4, nvfp4, iq4_nl, binary, nf4, levels" },
    { "alphabet", "\"levels\"", "/alphabet/levels", "alphabet.levels: is missing; alphabet 'levels' wants 2 to 256" },
    { "alphabet", "{\"kind\": \"nf4\", \"zero\": \"float\"}", "/alphabet/zero",
      "alphabet.zero: means nothing for alphabet 'nf4'; it wants alphabet int or int-asymmetric" },
    { "alphabet", "{\"kind\": \"ternary\", \"narrow\": true}", "/alphabet/narrow", "for alphabet 'ternary'" },
    { "alphabet", "{\"kind\": \"int\", \"levels\": [0, 1]}", "/alphabet/levels",
      "alphabet.levels: means nothing for alphabet 'int'; it wants alphabet levels" },
    { "alphabet", "[]", "/alphabet", "a string or an object" },
    { "alphabet", "{\"grid\": [1]}", "/alphabet/grid", "no such field; known are kind, zero, narrow, levels" },
    { "alphabet/levels", "[1]", "/alphabet/levels", "alphabet.levels: 1 levels; 2 to 256 are allowed" },
    { "alphabet/levels", "[]", "/alphabet/levels", "0 levels" },
    { "alphabet/levels", "7", "/alphabet/levels", "an array of numbers is wanted, found an integer" },
    { "alphabet/levels", "[0, \"1\"]", "/alphabet/levels", "level 1: a number is wanted, found a string" },
    { "alphabet/levels", "[0, null]", "/alphabet/levels", "level 1: a number is wanted, found null" },
    { "alphabet/levels", "[0, 2, 1]", "/alphabet/levels", "level 2, 1, does not lie above 2 before it" },
    { "alphabet/levels", "[1, 1]", "/alphabet/levels", "each once" },
    { "alphabet/levels", "[0, 1e300]", "/alphabet/levels", "does not fit float32" },
    { "alphabet/kind", "\"nf8\"", "/alphabet/kind", "'nf8'" },
    { "alphabet/zero", "\"half\"", "/alphabet/zero", "'half' is not in none, integer, float" },
    { "alphabet/narrow", "1", "/alphabet/narrow", "true or false is wanted, found an integer" },
    { "group_size", "-1", "/group_size", "group_size: -1 is not in 0..1048576" },
    { "group_size", "1e3", "/group_size", "an integer is wanted" },
    { "scale", "\"mse\"", "/scale", "scale: an object is wanted, found a string" },
    { "scale/rule", "\"hessian\"", "/scale/rule", "scale.rule: 'hessian' is not in minmax, mse, hessian-mse" },
    { "scale/shrink", "0", "/scale/shrink", "scale.shrink: 0 is not in (0, 4]" },
    { "scale/shrink", "4.1", "/scale/shrink", "is not in (0, 4]" },
    { "transforms", "\"magr\"", "/transforms", "transforms: a list of transforms is wanted, found a string" },
    { "transforms", "null", "/transforms", "a list of transforms is wanted, found null" },
    { "transforms", "[\"fourier\"]", "/transforms/0", "transforms[0]: 'fourier' is not in hadamard, magr" },
    { "transforms", "[{\"kind\": \"fo\\nurier\"}]", "/transforms/0/kind", "'fo?urier' is not in hadamard, magr" },
    { "transforms", "[{\"alpha\": 1}]", "/transforms/0", "found an object without kind" },
    { "transforms", "[7]", "/transforms/0", "found an integer" },
    { "transforms", "[{\"kind\": 7}]", "/transforms/0/kind", "found an integer" },
    { "transforms", "[\"hadamard\", {\"kind\": \"magr\", \"alpha\": -1}]", "/transforms/1/alpha",
      "transforms[1].alpha: -1 is not in 0..1000" },
    { "transforms", "[{\"kind\": \"magr\", \"alpha\": \"1\"}]", "/transforms/0/alpha",
      "a number is wanted, found a string" },
    { "transforms", "[{\"kind\": \"magr\", \"iterations\": 1.5}]", "/transforms/0/iterations", "an integer is wanted" },
    { "transforms", "[{\"kind\": \"magr\", \"iterations\": 0}]", "/transforms/0/iterations", "0 is not in 1..100000" },
    { "transforms", "[{\"kind\": \"magr\", \"target\": \"v\"}]", "/transforms/0/target",
      "transforms[0].target: 'v' is not in reference, weights" },
    { "transforms", "[{\"kind\": \"magr\", \"normalization\": 1}]", "/transforms/0/normalization",
      "a string is wanted, found an integer" },
    { "transforms", "[{\"kind\": \"hadamard\", \"alpha\": 1}]", "/transforms/0/alpha",
      "transforms[0].alpha: no such field of 'hadamard'; known are kind, signs" },
    { "transforms", "[{\"kind\": \"hadamard\", \"signs\": \"some\"}]", "/transforms/0/signs",
      "'some' is not in random, none" },
    { "transforms", "[\"magr\", \"magr\"]", "/transforms/1", "transforms[1]: 'magr' is in the list already" },
    { "transforms", "[1, 2, 3, 4, 5]", "/transforms", "5 of them; at most 4 are allowed" },
    { "scale/type", "\"e5m2\"", "/scale/type", "is not in f32, bf16, f16, e8m0" },
    { "order", "\"best\"", "/order", "order: 'best' is not in auto, natural, norm-descending, min-pivot" },
    { "regularization", "0.01", "/regularization", "\"auto\" or an object of one rule" },
    { "regularization", "{}", "/regularization", "number of members" },
    { "regularization", "\"spectral\"", "/regularization", "'spectral' is not in auto" },
    { "regularization", "{\"nuclear\": 1}", "/regularization/nuclear",
      "'nuclear' is not in mean_diagonal, spectral, absolute" },
    { "regularization", "{\"auto\": 1}", "/regularization/auto", "'auto' is not in mean_diagonal, spectral, absolute" },
    { "regularization", "{\"spectral\": 1, \"absolute\": 1}", "/regularization", "number of members" },
    { "regularization", "{\"spectral\": -1}", "/regularization/spectral", "regularization.spectral: -1 is not in 0.." },
    { "regularization", "{\"mean_diagonal\": -1}", "/regularization/mean_diagonal",
      "regularization.mean_diagonal: -1" },
    { "regularization", "{\"mean_diagonal\": \"1\"}", "/regularization/mean_diagonal", "a number is wanted" },
    { "mismatch", "7", "/mismatch", "mismatch: an object is wanted, found an integer" },
    { "mismatch/scope", "\"layer\"", "/mismatch/scope", "'layer' is not in model, block" },
    { "mismatch/shrink", "\"half\"", "/mismatch/shrink", "'half' is not in auto, or a number in 0..1" },
    { "mismatch/shrink", "1.5", "/mismatch/shrink", "mismatch.shrink: 1.5 is not in 0..1" },
    { "mismatch/shrink", "true", "/mismatch/shrink", "\"auto\" or a number is wanted, found a boolean" },
    { "mismatch/start", "\"late\"", "/mismatch/start", "'late' is not in projected, original" },
    { "mismatch/residual", "1", "/mismatch/residual", "true or false is wanted, found an integer" },
    { "refine", "8", "/refine", "refine: an object is wanted, found an integer" },
    { "refine/beam", "0", "/refine/beam", "refine.beam: 0 is not in 1..64" },
    { "refine/beam", "65", "/refine/beam", "refine.beam: 65 is not in 1..64" },
    { "refine/coordinate_descent", "65", "/refine/coordinate_descent", "is not in 0..64" },
    { "refine/refit_scales", "1", "/refine/refit_scales", "true or false is wanted, found an integer" },
    { "refine/refit_scales", "true", "/refine/refit_scales", "does nothing with refine.coordinate_descent of 0; 1" },
    { "arithmetic", "\"float16\"", "/arithmetic", "'float16' is not in auto, float32, bfloat16" },
    { "on_degraded", "\"ignore\"", "/on_degraded", "is not in warn, fail" },
    { "experts/min_tokens", "0", "/experts/min_tokens", "1" },
    { "experts/fallback", "\"skip\"", "/experts/fallback", "is not in shared, rtn" },
    { "calibration", "\"self\"", "/calibration", "calibration: an object is wanted, found a string" },
    { "calibration", "null", "/calibration", "found null" },
    { "calibration/source", "\"itself\"", "/calibration/source",
      "calibration.source: 'itself' is no URL (scheme://...), nor self" },
    { "calibration/samples", "0", "/calibration/samples", "calibration.samples: 0 is not in 1..65536" },
    { "calibration/length", "1", "/calibration/length", "calibration.length: 1 is not in 2..1048576" },
    { "calibration/bos", "\"yes\"", "/calibration/bos", "true or false is wanted, found a string" },
    { "calibration/format", "\"csv\"", "/calibration/format", "'csv' is not in auto, text, jsonl" },
    { "calibration/documents", "\"packed\"", "/calibration/documents", "'packed' is not in joined, separated, within" },
    { "calibration/split", "\"words\"", "/calibration/split", "is not in whole, lines" },
    { "calibration/sampling", "\"odd\"", "/calibration/sampling", "is not in even, random" },
    { "calibration/phase", "1", "/calibration/phase", "calibration.phase: 1 is not in [0, 1)" },
    { "calibration/first_position", "0", "/calibration/first_position", "a string is wanted, found an integer" },
    { "calibration/first_position", "\"zero\"", "/calibration/first_position", "'zero' is not in counted, left-out" },
    { "evaluation/text", "5", "/evaluation/text", "a string (a URL) is wanted" },
    { "evaluation/also", "\"file:///t\"", "/evaluation/also",
      "evaluation.also: a list of texts is wanted, found a string" },
    { "evaluation/also", "[\"t\"]", "/evaluation/also/0", "evaluation.also[0]: 't' is no URL" },
    { "evaluation/also", "[{\"name\": \"t\"}]", "/evaluation/also/0/text", "evaluation.also[0].text: is missing" },
    { "evaluation/also", "[{\"text\": \"file:///t\", \"url\": 1}]", "/evaluation/also/0/url", "known are name, text" },
    { "evaluation/also", "[{\"text\": \"file:///t\", \"name\": \"a\\tb\"}]", "/evaluation/also/0", "'a?b'" },
    { "evaluation/also", "[7]", "/evaluation/also/0", "evaluation.also[0]: a string (a URL) or an object" },
    { "evaluation/also", "[\"file:///a/t\", \"file:///b/t\"]", "/evaluation/also/1",
      "evaluation.also[1]: 't' is the name of another text already" },
    { "evaluation/also", "[1, 2, 3, 4, 5, 6, 7, 8, 9]", "/evaluation/also", "a list of 9; at most 8" },
    { "evaluation/protocol", "\"wikitext\"", "/evaluation/protocol",
      "evaluation.protocol: 'wikitext' is not in plain, tutorial, gptq, strided, llama.cpp" },
    { "evaluation/stride", "0", "/evaluation/stride", "is not in 1..1048576" },
    { "evaluation/context", "0.5", "/evaluation/context", "an integer is wanted" },
    { "evaluation", "{\"length\": 8, \"context\": 8}", "/evaluation/context",
      "does not go with evaluation.length of 8" },
    { "evaluation", "{\"length\": 8, \"stride\": 8, \"bos\": \"inserted\"}", "/evaluation/stride", "at most 7 does" },
    { "gate/every_text", "1", "/gate/every_text", "true or false is wanted" },
    { "evaluation/length", "1", "/evaluation/length", "is not in 2..1048576" },
    { "evaluation/windows", "0", "/evaluation/windows", "is not in 1..1048576" },
    { "evaluation/format", "\"parquet\"", "/evaluation/format", "'parquet' is not in auto, text, jsonl" },
    { "evaluation/split", "0", "/evaluation/split", "a string is wanted" },
    { "evaluation/bos", "true", "/evaluation/bos", "a string is wanted, found a boolean" },
    { "evaluation/tasks", "\"piqa\"", "/evaluation/tasks", "a list of at most 16 tasks is wanted, found a string" },
    { "evaluation/tasks", "[\"piqua\"]", "/evaluation/tasks/0",
      "'piqua' is not in arc_easy, arc_challenge, hellaswag" },
    { "evaluation/tasks", "[\"piqa\",{\"task\":\"piqa\"}]", "/evaluation/tasks/1/task",
      "'piqa' is in the list already" },
    { "evaluation/tasks", "[{\"examples\":3}]", "/evaluation/tasks/0/task",
      "the name of a task is wanted, found nothing" },
    { "evaluation/tasks", "[{\"task\":\"piqa\",\"examples\":0}]", "/evaluation/tasks/0/examples", "an integer in 1.." },
    { "evaluation/tasks", "[{\"task\":\"piqa\",\"data\":\"x\"}]", "/evaluation/tasks/0/data", "a URL" },
    { "evaluation/tasks", "[{\"task\":\"piqa\",\"shots\":5}]", "/evaluation/tasks/0/shots",
      "no such field; known are task, examples, data" },
    { "evaluation/baseline", "\"optq\"", "/evaluation/baseline", "'optq' is not in rtn" },
    { "gate", "1.05", "/gate", "an object is wanted, found a number" },
    { "gate", "{\"ratio\": 1}", "/gate/ratio", "no such field; known are perplexity_ratio, kl, every_text" },
    { "gate/perplexity_ratio", "-0.5", "/gate/perplexity_ratio", "is not in 0..1000000" },
    { "gate/perplexity_ratio", "\"1\"", "/gate/perplexity_ratio", "a number is wanted, found a string" },
    { "gate/kl", "-1", "/gate/kl", "is not in 0..1000000" },
    { "format", "\"zip\"", "/format", "format: 'zip' is not in compressed-tensors, gptq, awq, gguf, safetensors" },
    { "format", "\"compressed-tensors:x\"", "/format", "is not in" },
    { "format", "\"safetensors:f8\"", "/format", "'safetensors:f8' is not in safetensors:f32, safetensors:bf16" },
    { "format", "4", "/format", "a string or a list of strings is wanted, found an integer" },
    { "format", "[]", "/format", "a list of 0; 1 to 8 formats are wanted" },
    { "format", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]", "/format", "a list of 9; 1 to 8" },
    { "format", "[\"safetensors\", \"zip\"]", "/format/1", "format[1]: 'zip' is not in compressed-tensors, gptq" },
    { "format", "[\"safetensors\", 4]", "/format/1", "format[1]: a string is wanted, found an integer" },
    { "format", "[\"safetensors\", \"safetensors:f32\"]", "/format/1", "is in the list already" },
};

static void every_bad_value_is_refused_with_its_pointer_and_what_is_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        QD_AUTO(qd_json_fini) json_t *request = request_with(bad[i].path, bad[i].given);
        check_finding(request, bad[i].pointer, bad[i].part);
    }
}

static void every_field_of_the_table_has_a_good_and_a_bad_value_here(void **state)
{
    (void)state;
    for (size_t f = 0; qd_field_at(f) != NULL; f++) {
        const qd_field *field = qd_field_at(f);
        size_t goods = field->type == QD_FIELD_OBJECT, bads = field->type == QD_FIELD_OBJECT;
        for (size_t i = 0; i < QD_LENGTH(good); i++)
            goods += strcmp(good[i].path, field->path) == 0;
        for (size_t i = 0; i < QD_LENGTH(bad); i++)
            bads += strcmp(bad[i].path, field->path) == 0;
        if (goods == 0 || bads == 0)
            fail_msg("'%s' has %zu good and %zu bad values", field->path, goods, bads);
    }
}

static void fields_that_do_not_exist_yet_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const later[] = { "activations", "kv_cache", "targets", "overrides", "bitz" };
    for (size_t i = 0; i < QD_LENGTH(later); i++) {
        char pointer[64], part[64];
        QD_AUTO(qd_json_fini) json_t *request = request_with(later[i], "null");
        snprintf(pointer, sizeof pointer, "/%s", later[i]);
        snprintf(part, sizeof part, "%s: no such field; known are name, tags, priority, limits,", later[i]);
        check_finding(request, pointer, part);
    }
    QD_AUTO(qd_json_fini) json_t *nested = request_with("evaluation/shots", "5");
    check_finding(nested, "/evaluation/shots", "evaluation.shots: no such field; known are text, also, protocol");
}

static void all_findings_are_collected_and_the_first_is_the_error(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_issues issues;
    QD_AUTO(qd_json_fini)
    json_t *request = parse_text("{\"bits\": 17, \"x\": 1, \"order\": 3, \"calibration\": {\"samples\": 0, \"y\": 1}}");
    check_fails(qd_recipe_parse(request, &recipe, &issues, &err), QD_EINVAL);
    static const char *const pointers[] = {
        "/x", "/order", "/calibration/samples", "/calibration/y", "/model", "/bits"
    };
    assert_int_equal(issues.count, QD_LENGTH(pointers));
    for (size_t i = 0; i < QD_LENGTH(pointers); i++)
        assert_string_equal(issues.items[i].pointer, pointers[i]);
    check_contains(err.text, "x: no such field");
}

static void more_findings_than_fit_and_endless_keys_do_no_harm(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_recipe *recipe = NULL;
    qd_issues issues;
    QD_AUTO(qd_json_fini) json_t *request = json_object();
    for (int i = 0; i < 40; i++) {
        char key[900] = "";
        for (int k = 0; k < 200; k++)
            strcat(key, "\xc3\xa9/"); /* cut in the middle of a character if cut bytewise */
        snprintf(key + 3 * (size_t)i + 1 - (i > 0), 8, "%d", i);
        json_object_set_new(request, "long", json_null());
        json_object_set_new(request, key, json_integer(i));
    }
    check_fails(qd_recipe_parse(request, &recipe, &issues, &err), QD_EINVAL);
    assert_true(issues.count <= QD_ISSUES_MAX);
    for (size_t i = 0; i < issues.count; i++) {
        QD_AUTO(qd_json_fini) json_t *pointer = json_string(issues.items[i].pointer);
        QD_AUTO(qd_json_fini) json_t *detail = json_string(issues.items[i].detail);
        assert_non_null(pointer); /* still UTF-8 */
        assert_non_null(detail);
    }
}

static void long_names_are_counted_in_characters(void **state)
{
    (void)state;
    char text[3 * 201 + 3] = "\"";
    for (int i = 0; i < 200; i++)
        strcat(text, "\xe2\x82\xac");
    strcat(text, "\"");
    QD_AUTO(qd_json_fini) json_t *fits = request_with("name", text);
    QD_AUTO(qd_json_fini) json_t *printed = print_parsed(fits);
    assert_non_null(printed);
    text[strlen(text) - 1] = '\0';
    strcat(text, "x\"");
    QD_AUTO(qd_json_fini) json_t *over = request_with("name", text);
    check_finding(over, "/name", "name: 201 characters; at most 200");
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    QD_AUTO(qd_json_fini) json_t *array = json_array();
    check_finding(array, "", "a job is an object, found an array");
    check_finding(NULL, "", "found nothing");
}

/* A walk over random combinations: what is printed is taken again and printed the same. */
static void print_and_parse_are_a_fixpoint_on_random_requests(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 300; round++) {
        QD_AUTO(qd_json_fini) json_t *request = request_with("seed", "1");
        for (uint64_t k = 0; k < 8; k++) {
            size_t i = (size_t)qd_rng_below(round, k, QD_LENGTH(good));
            if (strncmp(good[i].path, "format", 6) == 0 || strncmp(good[i].path, "mismatch", 8) == 0 ||
                strncmp(good[i].path, "refine", 6) == 0 || strcmp(good[i].path, "transforms") == 0 ||
                strcmp(good[i].path, "calibration/samples") == 0 || strcmp(good[i].path, "alphabet") == 0 ||
                (strcmp(good[i].path, "calibration/source") == 0 && strcmp(good[i].given, "\"self\"") == 0) ||
                strcmp(good[i].path, "alphabet/levels") == 0 || strcmp(good[i].path, "certified") == 0)
                continue; /* combinations that disagree have their own test */
            QD_AUTO(qd_json_fini) json_t *one = request_with(good[i].path, good[i].given);
            json_object_del(one, "format");
            if (strcmp(good[i].path, "regularization") == 0) /* two rules do not merge */
                json_object_del(request, "regularization");
            json_object_update_recursive(request, one);
        }
        QD_AUTO(qd_json_fini) json_t *once = print_parsed(request);
        QD_AUTO(qd_json_fini) json_t *twice = print_parsed(once);
        check_equal_json(twice, once, "second print");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_with_only_a_model_gets_the_defaults_of_the_contract),
        cmocka_unit_test(every_good_value_is_taken_and_printed),
        cmocka_unit_test(every_bad_value_is_refused_with_its_pointer_and_what_is_allowed),
        cmocka_unit_test(every_field_of_the_table_has_a_good_and_a_bad_value_here),
        cmocka_unit_test(fields_that_do_not_exist_yet_are_refused_by_name),
        cmocka_unit_test(all_findings_are_collected_and_the_first_is_the_error),
        cmocka_unit_test(more_findings_than_fit_and_endless_keys_do_no_harm),
        cmocka_unit_test(long_names_are_counted_in_characters),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(print_and_parse_are_a_fixpoint_on_random_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
