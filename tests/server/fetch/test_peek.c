/* test_peek.c: models of which only the headers come: from a real server, a hub and a folder. */
#include "world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "fetch/peek.h"
#include "fetch/peek_header.h"
#include "folder.h"

enum { DATA_BYTES = 3 << 20, FIRST_BYTES = 16 << 10 };

static world the_world;

static void put(const char *model, const char *name, const qd_str *bytes)
{
    char path[700];
    qd_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", the_world.models, model);
    check_ok(qd_dir_make(path, &err));
    snprintf(path, sizeof path, "%s/%s/%s", the_world.models, model, name);
    check_ok(qd_file_write(path, bytes->data, bytes->length, &err));
}

static void put_text(const char *model, const char *name, const char *text)
{
    qd_str bytes = { 0 };
    qd_str_add(&bytes, text);
    put(model, name, &bytes);
    qd_str_fini(&bytes);
}

static void add_number(qd_str *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        qd_str_add_bytes(out, &(char){ (char)(value >> (8 * i)) }, 1);
}

static void add_data(qd_str *out)
{
    char block[4096];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(1 + i % 200); /* no zeros: a hole is told from data */
    for (size_t i = 0; i < DATA_BYTES / sizeof block; i++)
        qd_str_add_bytes(out, block, sizeof block);
}

/* A safetensors file with a header of this many bytes; returns the bytes before the data. */
static size_t put_safetensors(const char *model, const char *name, size_t header)
{
    qd_str bytes = { 0 };
    add_number(&bytes, header, 8);
    qd_str_add(&bytes, "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    while (bytes.length < 8 + header)
        qd_str_add(&bytes, " ");
    add_data(&bytes);
    put(model, name, &bytes);
    qd_str_fini(&bytes);
    return 8 + header;
}

static void add_string(qd_str *out, const char *text)
{
    add_number(out, strlen(text), 8);
    qd_str_add(out, text);
}

/* With values of every kind and so many tokens. */
static size_t put_gguf(const char *model, const char *name, size_t tokens)
{
    qd_str bytes = { 0 };
    qd_str_add(&bytes, "GGUF");
    add_number(&bytes, 3, 4);
    add_number(&bytes, 1, 8); /* tensors */
    add_number(&bytes, 3, 8);
    add_string(&bytes, "general.architecture");
    add_number(&bytes, 8, 4);
    add_string(&bytes, "llama");
    add_string(&bytes, "tokenizer.ggml.tokens");
    add_number(&bytes, 9, 4);
    add_number(&bytes, 8, 4);
    add_number(&bytes, tokens, 8);
    for (size_t i = 0; i < tokens; i++)
        add_string(&bytes, "token");
    add_string(&bytes, "tokenizer.ggml.scores");
    add_number(&bytes, 9, 4);
    add_number(&bytes, 6, 4);
    add_number(&bytes, 3, 8);
    for (size_t i = 0; i < 3; i++)
        add_number(&bytes, 0, 4);
    add_string(&bytes, "token_embd.weight");
    add_number(&bytes, 2, 4);
    add_number(&bytes, 32, 8);
    add_number(&bytes, 2, 8);
    add_number(&bytes, 0, 4);
    add_number(&bytes, 0, 8);
    size_t header = bytes.length;
    add_data(&bytes);
    put(model, name, &bytes);
    qd_str_fini(&bytes);
    return header;
}

static size_t short_header, long_header, shard_header, gguf_header;

static int open_world(void **state)
{
    (void)state;
    world_open(&the_world);
    static const char *const models[] = { "plain", "wide", "pair" };
    for (size_t i = 0; i < QD_LENGTH(models); i++) {
        put_text(models[i], "config.json", "{\"a\":1}");
        put_text(models[i], "tokenizer.json", "{\"b\":2}");
    }
    short_header = put_safetensors("plain", "model.safetensors", 5000);
    long_header = put_safetensors("wide", "model.safetensors", 90001);
    put_text(
        "pair", "model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}}");
    shard_header = put_safetensors("pair", "model-00001-of-00002.safetensors", 700);
    put_safetensors("pair", "model-00002-of-00002.safetensors", 700);
    gguf_header = put_gguf("whole", "model.gguf", 9000);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&the_world);
    return 0;
}

typedef struct outcome_of_peek {
    qd_code code;
    qd_error err;
    qd_peeked peeked;
} outcome_of_peek;

static void peek_with(const setting *s, const char *pattern, const qd_cancel *cancel, outcome_of_peek *out)
{
    char url[1200];
    *out = (outcome_of_peek){ 0 };
    world_expand(&the_world, pattern, url, sizeof url);
    qd_fetcher *fetcher = setting_fetcher(s);
    const qd_fetch_request request = { .url = url };
    world_reset(&the_world);
    out->code = qd_fetch_peek(fetcher, &request, cancel, &out->peeked, &out->err);
    qd_fetcher_destroy(fetcher);
}

/* The weight file has the model's first `header` bytes and then a hole up to its size. */
static void check_hole(const outcome_of_peek *o, const char *model, const char *name, const char *there, size_t header)
{
    char path[800];
    qd_error err = { 0 };
    qd_str made = { 0 }, real = { 0 };
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", o->peeked.folder, name);
    check_ok(qd_file_read(path, 64 << 20, &made, &err));
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_blocks * 512 < (off_t)header + 65536); /* a hole takes no room */
    snprintf(path, sizeof path, "%s/%s/%s", the_world.models, model, there);
    check_ok(qd_file_read(path, 64 << 20, &real, &err));
    assert_int_equal(made.length, real.length);
    assert_memory_equal(made.data, real.data, header);
    for (size_t i = header; i < made.length; i++)
        if (made.data[i] != '\0')
            fail_msg("byte %zu of '%s' is no hole", i, name);
    qd_str_fini(&made);
    qd_str_fini(&real);
}

static void check_whole(const outcome_of_peek *o, const char *model, const char *name)
{
    char path[800];
    qd_error err = { 0 };
    qd_str made = { 0 }, real = { 0 };
    snprintf(path, sizeof path, "%s/%s", o->peeked.folder, name);
    check_ok(qd_file_read(path, 64 << 20, &made, &err));
    snprintf(path, sizeof path, "%s/%s/%s", the_world.models, model, name);
    check_ok(qd_file_read(path, 64 << 20, &real, &err));
    assert_int_equal(made.length, real.length);
    assert_memory_equal(made.data, real.data, made.length);
    qd_str_fini(&made);
    qd_str_fini(&real);
}

static void check_peek(outcome_of_peek *o)
{
    check_code_at(o->code, QD_OK, &o->err, __FILE__, __LINE__);
}

static void of_a_folder_behind_a_web_server_the_weights_are_not_read(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "{ORIGIN}/files/plain/", NULL, &o);
    check_peek(&o);
    check_hole(&o, "plain", "model.safetensors", "model.safetensors", short_header);
    check_whole(&o, "plain", "config.json");
    check_whole(&o, "plain", "tokenizer.json");
    long small = 7 + 7;
    assert_int_equal(world_count(&the_world, "body_bytes"), small + FIRST_BYTES);
    assert_int_equal(o.peeked.read_bytes, small + FIRST_BYTES);
    assert_int_equal(o.peeked.download_bytes, short_header + DATA_BYTES);
    assert_int_equal(o.peeked.model_bytes, (size_t)small + short_header + DATA_BYTES);
    qd_peeked_fini(&o.peeked);
}

static void a_header_beyond_the_first_bytes_is_read_to_its_end_and_no_further(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "{ORIGIN}/files/wide/model.safetensors", NULL, &o);
    check_peek(&o);
    check_hole(&o, "wide", "model.safetensors", "model.safetensors", long_header);
    assert_int_equal(world_count(&the_world, "body_bytes"), 7 + 7 + (long)long_header);
    qd_peeked_fini(&o.peeked);
}

static void every_shard_of_a_hub_model_gives_its_header(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "{ORIGIN}/hub/org/pair", NULL, &o);
    check_peek(&o);
    check_hole(&o, "pair", "model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors", shard_header);
    check_hole(&o, "pair", "model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors", shard_header);
    assert_true(world_count(&the_world, "body_bytes") < 2 * FIRST_BYTES + 4096);
    const json_t *file = json_array_get(json_object_get(o.peeked.resolved, "files"), 0);
    assert_true(json_is_string(json_object_get(o.peeked.resolved, "commit")));
    assert_true(json_is_string(json_object_get(file, "sha256"))); /* the hub's list says it */
    qd_peeked_fini(&o.peeked);
}

static void a_gguf_gives_its_metadata(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "{ORIGIN}/files/whole/model.gguf", NULL, &o);
    check_peek(&o);
    check_hole(&o, "whole", "model.gguf", "model.gguf", gguf_header);
    assert_true(world_count(&the_world, "body_bytes") <= FIRST_BYTES + (1 << 20));
    qd_peeked_fini(&o.peeked);
}

static void a_local_folder_is_looked_at_in_the_same_way(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "file://{MODELS}/wide", NULL, &o);
    check_peek(&o);
    check_hole(&o, "wide", "model.safetensors", "model.safetensors", long_header);
    check_whole(&o, "wide", "config.json");
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o.peeked.resolved, "files"), 2),
                                             "sha256"))); /* nobody says it */
    qd_peeked_fini(&o.peeked);
    peek_with(&s, "file://{MODELS}/whole/model.gguf", NULL, &o);
    check_peek(&o);
    check_hole(&o, "whole", "model.gguf", "model.gguf", gguf_header);
    qd_peeked_fini(&o.peeked);
}

static void weights_that_the_cache_has_are_not_to_be_downloaded(void **state)
{
    (void)state;
    static const char *const sources[] = { "{ORIGIN}/files/plain/", "{ORIGIN}/hub/org/pair", "file://{MODELS}/wide" };
    for (size_t i = 0; i < QD_LENGTH(sources); i++) {
        setting s;
        outcome fetched;
        outcome_of_peek o;
        setting_init(&s, &the_world);
        peek_with(&s, sources[i], NULL, &o);
        check_peek(&o);
        assert_true(o.peeked.download_bytes >= DATA_BYTES);
        qd_peeked_fini(&o.peeked);
        world_fetch(&the_world, &s, sources[i], NULL, &fetched);
        check_outcome(fetched, QD_OK);
        outcome_fini(&fetched);
        peek_with(&s, sources[i], NULL, &o);
        check_peek(&o);
        assert_int_equal(o.peeked.download_bytes, 0);
        qd_peeked_fini(&o.peeked);
    }
}

static size_t names_in(const setting *s, const char *folder)
{
    char path[400], **names = NULL;
    size_t count = 0;
    qd_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", s->cache, folder);
    check_ok(qd_dir_list(path, &names, &count, &err));
    qd_names_free(names, count);
    return count;
}

static void nothing_is_left_of_a_peek_good_or_bad(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    setting_init(&s, &the_world);
    peek_with(&s, "{ORIGIN}/files/plain/", NULL, &o);
    check_peek(&o);
    assert_int_equal(names_in(&s, "snapshots"), 1);
    qd_peeked_fini(&o.peeked);
    assert_int_equal(names_in(&s, "snapshots"), 0);
    peek_with(&s, "{ORIGIN}/files/missing-shard/", NULL, &o);
    assert_int_equal(o.code, QD_EFORMAT);
    assert_int_equal(names_in(&s, "snapshots"), 0);
}

typedef struct example {
    const char *url;
    qd_code code;
    const char *text;
} example;

static const example examples[] = {
    { "{ORIGIN}/~drop:3000*2/files/plain/", QD_OK, NULL },
    { "{ORIGIN}/~status:503*2/files/plain/", QD_OK, NULL },
    { "{ORIGIN}/~norange/files/wide/", QD_OK, NULL },
    { "{ORIGIN}/~chunked/~norange/files/plain/", QD_EUNSUPPORTED, "how large" },
    { "{ORIGIN}/~badrange/files/plain/", QD_ENETWORK, "another range" },
    { "{ORIGIN}/~token:sesame@*/files/plain/", QD_EDENIED, "gated or wrong token" },
    { "{ORIGIN}/files/no-weights/", QD_ENOTFOUND, "model.safetensors" },
    { "{ORIGIN}/files/missing-shard/", QD_EFORMAT, "model-00001-of-00002.safetensors" },
    { "{ORIGIN}/~redirect:http%253A%252F%252F169.254.169.254%252Fx/files/plain/", QD_EDENIED, "169.254.169.254" },
    { "file:///etc/", QD_EDENIED, "file-root" },
};

static void the_policy_and_the_retries_of_downloads_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(examples); i++) {
        setting s;
        outcome_of_peek o;
        setting_init(&s, &the_world);
        peek_with(&s, examples[i].url, NULL, &o);
        if (o.code != examples[i].code)
            print_error("%s\n", examples[i].url);
        check_code_at(o.code, examples[i].code, &o.err, __FILE__, __LINE__);
        if (examples[i].text != NULL)
            check_contains(o.err.text, examples[i].text);
        qd_peeked_fini(&o.peeked);
    }
}

static void a_peek_that_is_cancelled_ends(void **state)
{
    (void)state;
    setting s;
    outcome_of_peek o;
    qd_cancel cancel = { 0 };
    setting_init(&s, &the_world);
    qd_cancel_request(&cancel);
    double started = qd_clock_seconds();
    peek_with(&s, "{ORIGIN}/~silent:20@*/files/plain/", &cancel, &o);
    assert_int_equal(o.code, QD_ECANCELLED);
    assert_true(qd_clock_seconds() - started < 10 * check_patience());
}

static void what_is_no_header_is_left_to_its_reader(void **state)
{
    (void)state;
    static const unsigned char huge[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{' };
    static const unsigned char old[] = "GGUF\1\0\0\0\1\0\0\0\1\0\0\0................";
    static const unsigned char other[] = "PK\3\4............................";
    assert_int_equal(qd_header_of_safetensors(huge, sizeof huge), sizeof huge);
    assert_int_equal(qd_header_of_gguf(old, sizeof old), sizeof old);
    assert_int_equal(qd_header_of_gguf(other, sizeof other), sizeof other);
    assert_int_equal(qd_header_of_safetensors(huge, 3), 8);
    assert_int_equal(qd_header_of_gguf(old, 2), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_folder_behind_a_web_server_the_weights_are_not_read),
        cmocka_unit_test(a_header_beyond_the_first_bytes_is_read_to_its_end_and_no_further),
        cmocka_unit_test(every_shard_of_a_hub_model_gives_its_header),
        cmocka_unit_test(a_gguf_gives_its_metadata),
        cmocka_unit_test(a_local_folder_is_looked_at_in_the_same_way),
        cmocka_unit_test(weights_that_the_cache_has_are_not_to_be_downloaded),
        cmocka_unit_test(nothing_is_left_of_a_peek_good_or_bad),
        cmocka_unit_test(the_policy_and_the_retries_of_downloads_hold),
        cmocka_unit_test(a_peek_that_is_cancelled_ends),
        cmocka_unit_test(what_is_no_header_is_left_to_its_reader),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
