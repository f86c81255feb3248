/* world.c: see world.h. */
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"
#include "folder.h"

static void put(const world *w, const char *model, const char *name, const void *bytes, size_t length)
{
    char path[700];
    qd_error err;
    snprintf(path, sizeof path, "%s/%s", w->models, model);
    check_ok(qd_dir_make(path, &err));
    snprintf(path, sizeof path, "%s/%s/%s", w->models, model, name);
    check_ok(qd_file_write(path, bytes, length, &err));
}

static void put_text(const world *w, const char *model, const char *name, const char *text)
{
    put(w, model, name, text, strlen(text));
}

/* Bytes nobody would produce by accident. */
static void put_noise(const world *w, const char *model, const char *name, size_t length, uint64_t seed)
{
    unsigned char *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)qd_rng_bits(qd_rng_key(seed, 1, 2), i);
    put(w, model, name, bytes, length);
    free(bytes);
}

static void put_index(const world *w, const char *model, const char *const *names, size_t count)
{
    qd_str text = { 0 };
    qd_str_add(&text, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (size_t i = 0; i < count; i++)
        qd_str_addf(&text, "%s\"tensor.%zu\":\"%s\"", i == 0 ? "" : ",", i, names[i]);
    qd_str_add(&text, "}}");
    put(w, model, "model.safetensors.index.json", text.data, text.length);
    qd_str_fini(&text);
}

static void put_hostile_index(const world *w, const char *model, const char *shard)
{
    put_text(w, model, "config.json", "{}");
    put_index(w, model, &shard, 1);
}

static void make_models(const world *w)
{
    char name[64];
    const char *names[2 * SHARDS];
    static char kept[SHARDS][64];
    put_text(w, "tiny", "config.json", "{\"architectures\":[\"LlamaForCausalLM\"]}");
    put_text(w, "tiny", "generation_config.json", "{}");
    put_noise(w, "tiny", "tokenizer.json", 300000, 1);
    put_noise(w, "tiny", "model.safetensors", TINY_WEIGHTS, 2);
    put_text(w, "shards", "config.json", "{\"shards\":true}");
    put_noise(w, "shards", "tokenizer.json", 1000, 3);
    put_text(w, "shards", "merges.txt", "a b\n");
    for (size_t i = 0; i < SHARDS; i++) {
        snprintf(name, sizeof name, "model-%05zu-of-%05d.safetensors", i + 1, SHARDS);
        put_noise(w, "shards", name, SHARD_BYTES, 10 + i);
        memcpy(kept[i], name, sizeof name);
        names[i] = names[i + SHARDS] = kept[i];
    }
    put_index(w, "shards", names, QD_LENGTH(names));
    put_text(w, "shards", "README.md", "its card");
    put_text(w, "shards", "other.md", "not for us");
    put_text(w, "shards", "pytorch_model.bin", "pickle");
    put_text(w, "shards", ".gitattributes", "*.safetensors filter=lfs");
    put_text(w, "shards/onnx", "config.json", "{\"other\":1}");
    put_text(w, "both", "config.json", "{}");
    put_noise(w, "both", "model.safetensors", 1000, 5);
    put_index(w, "both", names, 1);
    put_noise(w, "both", "model.Q4_0.gguf", 1000, 7);
    put_noise(w, "gguf", "model.gguf", TINY_WEIGHTS, 8);
    put_text(w, "gguf", "tokenizer_config.json", "{}");
    put_text(w, "gguf", "other.md", "not for us");
    put_noise(w, "set", "model-00001-of-00002.gguf", 1000, 10);
    put_noise(w, "set", "model-00002-of-00002.gguf", 1200, 11);
    put_noise(w, "half", "model-00001-of-00002.gguf", 1000, 10);
    put_noise(w, "quants", "model.gguf", 1000, 9);
    put_noise(w, "quants", "model.Q4_0.gguf", 1000, 9);
    put_noise(w, "no-config", "model.safetensors", 1000, 6);
    put_text(w, "no-weights", "config.json", "{}");
    put_hostile_index(w, "dotdot", "../x.safetensors");
    put_hostile_index(w, "absolute", "/etc/x.safetensors");
    put_hostile_index(w, "query", "x?y=.safetensors");
    put_hostile_index(w, "missing-shard", "model-00001-of-00002.safetensors");
    put_text(w, "not-json", "config.json", "{}");
    put_text(w, "not-json", "model.safetensors.index.json", "<html>");
    put_text(w, "texts", "text.txt", "It was the best of times.\n");
}

/* A self-signed certificate and its key in one file; out is "" where the openssl program is missing. */
static void make_certificate(const world *w, char *out, size_t size)
{
    char command[700];
    snprintf(out, size, "%s/tls.pem", w->folder);
    snprintf(command, sizeof command,
             "cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem"
             " -out crt.pem -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 >openssl.log 2>&1"
             " && cat key.pem crt.pem >tls.pem",
             w->folder);
    if (system(command) != 0)
        out[0] = '\0';
}

static void start_hub(world *w)
{
    char script[600], line[128] = "";
    char pem[300];
    int ends[2];
    make_certificate(w, pem, sizeof pem);
    SOURCE_PATH(script, "tests/server/fetch/fake_hub.py");
    assert_int_equal(pipe(ends), 0);
    w->hub = fork();
    assert_true(w->hub >= 0);
    if (w->hub == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("python3", "python3", script, "--port", "0", "--root", w->models, pem[0] == '\0' ? NULL : "--tls", pem,
               (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    if (out == NULL || fgets(line, sizeof line, out) == NULL ||
        sscanf(line, "listening on http://127.0.0.1:%d", &w->port) != 1) {
        print_error("fake_hub.py did not start: '%s'\n", line);
        exit(1);
    }
    fclose(out);
    snprintf(w->origin, sizeof w->origin, "http://127.0.0.1:%d", w->port);
    json_t *stats = world_stats(w);
    snprintf(w->cdn, sizeof w->cdn, "%s", json_string_value(json_object_get(stats, "cdn")));
    const char *tls = json_string_value(json_object_get(stats, "tls"));
    snprintf(w->tls, sizeof w->tls, "%s", tls == NULL ? "" : tls);
    json_decref(stats);
}

void world_open(world *w)
{
    temporary_folder(w->folder, sizeof w->folder);
    snprintf(w->models, sizeof w->models, "%s/models", w->folder);
    make_models(w);
    start_hub(w);
}

void world_close(world *w)
{
    kill(w->hub, SIGKILL);
    waitpid(w->hub, NULL, 0);
    qd_dir_remove(w->folder, NULL);
}

/* A plain GET by hand: the tests' own eyes do not use the code under test. */
static void ask(const world *w, const char *path, qd_str *out)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port) };
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    char text[256], chunk[65536];
    qd_error err;
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
    check_ok(qd_write_all(fd, text, (size_t)length, &err));
    for (ssize_t got; (got = read(fd, chunk, sizeof chunk)) > 0;)
        qd_str_add_bytes(out, chunk, (size_t)got);
    close(fd);
}

json_t *world_stats(const world *w)
{
    qd_str reply = { 0 };
    ask(w, "/_stats", &reply);
    const char *body = strstr(qd_str_borrow(&reply), "\r\n\r\n");
    assert_non_null(body);
    json_t *stats = json_loads(body, 0, NULL);
    assert_non_null(stats);
    qd_str_fini(&reply);
    return stats;
}

void world_reset(const world *w)
{
    qd_str reply = { 0 };
    ask(w, "/_reset", &reply);
    qd_str_fini(&reply);
}

long world_count(const world *w, const char *key)
{
    json_t *stats = world_stats(w);
    long count = (long)json_integer_value(json_object_get(stats, key));
    json_decref(stats);
    return count;
}

size_t world_requests_with(const world *w, const char *part)
{
    json_t *stats = world_stats(w);
    const json_t *log = json_object_get(stats, "log");
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(log); i++)
        found += strstr(json_string_value(json_array_get(log, i)), part) != NULL;
    json_decref(stats);
    return found;
}

void setting_init(setting *s, const world *w)
{
    static unsigned counter;
    memset(s, 0, sizeof *s);
    snprintf(s->cache, sizeof s->cache, "%s/cache-%u", w->folder, counter++);
    snprintf(s->hub_url, sizeof s->hub_url, "%s/hub", w->origin);
    s->allow[0] = "127.0.0.0/8";
    s->roots[0] = w->models;
    s->policy = (qd_fetch_policy){ .cache_dir = s->cache,
                                   .hub_url = s->hub_url,
                                   .allow_net = s->allow,
                                   .file_roots = s->roots,
                                   .allow_http = true,
                                   .low_speed_seconds = 1,
                                   .retries = 4,
                                   .retry_base_seconds = 0.002 };
}

qd_fetcher *setting_fetcher(const setting *s)
{
    qd_fetcher *fetcher = NULL;
    qd_error err;
    check_ok(qd_fetcher_create(&s->policy, &fetcher, &err));
    return fetcher;
}

void world_expand(const world *w, const char *pattern, char *out, size_t size)
{
    char twice[128];
    snprintf(twice, sizeof twice, "http%%253A%%252F%%252F127.0.0.2%%253A%s", strrchr(w->cdn, ':') + 1);
    const struct {
        const char *mark, *text;
    } marks[] = { { "{TLS}", w->tls },
                  { "{CDN2}", twice },
                  { "{ORIGIN}", w->origin },
                  { "{CDN}", w->cdn },
                  { "{MODELS}", w->models } };
    qd_str text = { 0 };
    for (const char *at = pattern; *at != '\0';) {
        size_t length = 1;
        const char *piece = at;
        for (size_t i = 0; i < QD_LENGTH(marks); i++)
            if (strncmp(at, marks[i].mark, strlen(marks[i].mark)) == 0) {
                piece = marks[i].text;
                length = strlen(marks[i].mark);
            }
        qd_str_add_bytes(&text, piece, piece == at ? 1 : strlen(piece));
        at += length;
    }
    snprintf(out, size, "%s", qd_str_borrow(&text));
    qd_str_fini(&text);
}

void outcome_fini(outcome *o)
{
    qd_fetched_fini(&o->fetched);
}

void world_fetch(const world *w, const setting *s, const char *pattern, const char *token, outcome *out)
{
    char url[600];
    memset(out, 0, sizeof *out);
    world_expand(w, pattern, url, sizeof url);
    qd_fetcher *fetcher = setting_fetcher(s);
    const qd_fetch_request request = { .url = url, .token = token };
    out->code = qd_fetch_model(fetcher, &request, NULL, NULL, &out->fetched, &out->err);
    qd_fetcher_destroy(fetcher);
}

size_t check_snapshot(const world *w, const char *snapshot, const char *model)
{
    char **names = NULL, path[1300], want[QD_DIGEST_HEX], got[QD_DIGEST_HEX];
    size_t count = 0;
    qd_error err;
    check_ok(qd_dir_list(snapshot, &names, &count, &err));
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", snapshot, names[i]);
        check_ok(qd_sha256_file(path, got, &err));
        snprintf(path, sizeof path, "%s/%s/%s", w->models, model, names[i]);
        check_ok(qd_sha256_file(path, want, &err));
        assert_string_equal(got, want);
    }
    qd_names_free(names, count);
    return count;
}

size_t check_blobs(const char *cache)
{
    char **groups = NULL, path[1000], got[QD_DIGEST_HEX];
    size_t count = 0, found = 0;
    qd_error err;
    snprintf(path, sizeof path, "%s/blobs", cache);
    check_ok(qd_dir_list(path, &groups, &count, &err));
    for (size_t i = 0; i < count; i++) {
        char **names = NULL;
        size_t inner = 0;
        snprintf(path, sizeof path, "%s/blobs/%s", cache, groups[i]);
        check_ok(qd_dir_list(path, &names, &inner, &err));
        for (size_t j = 0; j < inner; j++, found++) {
            snprintf(path, sizeof path, "%s/blobs/%s/%s", cache, groups[i], names[j]);
            check_ok(qd_sha256_file(path, got, &err));
            assert_string_equal(got, names[j]);
        }
        qd_names_free(names, inner);
    }
    qd_names_free(groups, count);
    return found;
}
