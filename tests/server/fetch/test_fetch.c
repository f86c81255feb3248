/* test_fetch.c: fetches from a real server on loopback that does what servers should not. One row, one claim. */
#include "world.h"

#include "base/auto.h"

static world the_world;

typedef enum how { BY_URL, BY_HUB } how;

/* url: a model URL with {ORIGIN} {CDN} {MODELS}; BY_HUB: the hub's base URL, the model being hf://org/<model>. code
 * QD_OK: the snapshot equals the model's folder. body: bounds of the bytes of model files that the server sent, 0 =
 * any. */
typedef struct example {
    const char *claim, *url, *model;
    qd_code code;
    const char *text, *also;
    long body_min, body_max;
    how by;
    const char *sha256, *token, *revision;
    unsigned retries; /* 0: the setting's */
    size_t files;     /* of the snapshot; 0: two or more */
} example;

#define WHOLE_TINY (TINY_WEIGHTS + TINY_OTHERS)
#define ALLOWED "; allow-net"

static const example examples[] = {
    { "a folder behind a web server arrives whole", "{ORIGIN}/files/tiny/", .model = "tiny", .body_min = WHOLE_TINY,
      .body_max = WHOLE_TINY },
    { "a folder URL may lack its last slash", "{ORIGIN}/files/tiny", .model = "tiny" },
    { "a query is kept for every file", "{ORIGIN}/files/tiny/?key=s3cret", .model = "tiny" },
    { "shards are found by the index", "{ORIGIN}/files/shards/", .model = "shards" },
    { "the URL of one shard means its folder", "{ORIGIN}/files/shards/model-00002-of-00006.safetensors",
      .model = "shards" },
    { "the URL of one safetensors file brings its siblings", "{ORIGIN}/files/tiny/model.safetensors", .model = "tiny" },
    { "the single file wins over an index", "{ORIGIN}/files/both/", .model = "both" },
    { "a folder below a root is read without a server", "file://{MODELS}/shards", .model = "shards" },
    { "a single local file brings its siblings", "file://{MODELS}/tiny/model.safetensors", .model = "tiny" },

    { "a hub page names a model", "{ORIGIN}/hub/org/tiny", .model = "tiny" },
    { "a hub page names a revision", "{ORIGIN}/hub/org/shards/tree/v1.0", .model = "shards" },
    { "a file of a hub model brings its siblings", "{ORIGIN}/hub/org/tiny/resolve/main/model.safetensors",
      .model = "tiny" },
    { "a renamed repository is followed at the hub", "hf://old/tiny", .model = "tiny" },
    { "a token opens a plain server", "{ORIGIN}/~token:sesame@*/files/tiny/", .model = "tiny", .token = "sesame" },
    { "a repository that is not there says so", "hf://missing/tiny", .code = QD_EDENIED, .text = "may also not exist" },
    { "a pickle is refused with what would work", "{ORIGIN}/files/tiny/x.bin", .code = QD_EUNSUPPORTED,
      .text = ".safetensors or .gguf" },
    { "a GGUF is a model by itself", "{ORIGIN}/files/gguf/model.gguf", .model = "gguf", .files = 1 },
    { "a broken GGUF download goes on where it stopped", "{ORIGIN}/~drop:1000000*1@*.gguf/files/gguf/model.gguf",
      .model = "gguf", .files = 1, .body_min = TINY_WEIGHTS, .body_max = TINY_WEIGHTS },
    { "a local GGUF is a model by itself", "file://{MODELS}/gguf/model.gguf", .model = "gguf", .files = 1 },
    { "a local folder's only GGUF is its weights", "file://{MODELS}/gguf", .model = "gguf", .files = 2 },
    { "safetensors win over a GGUF beside them", "file://{MODELS}/both", .model = "both", .files = 2 },
    { "several GGUF files are named, and one is asked for", "file://{MODELS}/quants", .code = QD_EINVAL,
      .text = "model.Q4_0.gguf, model.gguf", .also = "name one" },
    { "a GGUF of a hub page with several", "{ORIGIN}/hub/org/quants/resolve/main/model.gguf", .model = "quants",
      .files = 1 },
    { "one file of a GGUF set means the set", "{ORIGIN}/files/set/model-00002-of-00002.gguf", .model = "set",
      .files = 2 },
    { "a local GGUF set is one model", "file://{MODELS}/set", .model = "set", .files = 2 },
    { "a missing file of a GGUF set is named", "{ORIGIN}/files/half/model-00001-of-00002.gguf", .code = QD_ENOTFOUND,
      .text = "model-00002-of-00002.gguf" },
    { "a missing file of a local GGUF set is named", "file://{MODELS}/half", .code = QD_ENOTFOUND,
      .text = "model-00002-of-00002.gguf" },
    { "a GGUF that is not there is named", "{ORIGIN}/files/gguf/y.gguf", .code = QD_ENOTFOUND, .text = "gguf",
      .also = "404" },
    { "a digest for weights that a GGUF does not have is refused", "{ORIGIN}/files/gguf/model.gguf", .code = QD_EINVAL,
      .text = "model.safetensors", .sha256 = "0000000000000000000000000000000000000000000000000000000000000000" },
    { "a digest for a file that the model lacks is refused", "{ORIGIN}/files/shards/", .code = QD_EINVAL,
      .text = "model.safetensors", .sha256 = "0000000000000000000000000000000000000000000000000000000000000000" },
    { "forty-four cuts leave the right file", "{ORIGIN}/~drop:70001/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY, .body_max = WHOLE_TINY, .retries = 100 },

    { "a 404 of config.json names it", "{ORIGIN}/files/no-config/", .code = QD_ENOTFOUND, .text = "config.json",
      .also = "404" },
    { "a 404 of the weights names them", "{ORIGIN}/files/no-weights/", .code = QD_ENOTFOUND,
      .text = "model.safetensors" },
    { "a folder that is not there names config.json", "{ORIGIN}/files/nothing-here/", .code = QD_ENOTFOUND,
      .text = "config.json" },
    { "an index that leads to a parent folder is refused", "{ORIGIN}/files/dotdot/", .code = QD_EFORMAT,
      .text = "../x.safetensors" },
    { "an index with an absolute path is refused", "{ORIGIN}/files/absolute/", .code = QD_EFORMAT,
      .text = "/etc/x.safetensors" },
    { "an index with a query is refused", "{ORIGIN}/files/query/", .code = QD_EFORMAT, .text = "x?y=.safetensors" },
    { "an index naming a missing shard names it", "{ORIGIN}/files/missing-shard/", .code = QD_EFORMAT,
      .text = "model-00001-of-00002.safetensors" },
    { "an index that is not JSON is refused", "{ORIGIN}/files/not-json/", .code = QD_EFORMAT,
      .text = "model.safetensors.index.json" },
    { "a local index that leads out is refused", "file://{MODELS}/dotdot", .code = QD_EFORMAT,
      .text = "../x.safetensors" },
    { "a local missing shard is named", "file://{MODELS}/missing-shard", .code = QD_EFORMAT,
      .text = "model-00001-of-00002.safetensors" },

    { "a broken download goes on where it stopped", "{ORIGIN}/~drop:1000000*1/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY, .body_max = WHOLE_TINY },
    { "two megabytes of progress bring new tries", "{ORIGIN}/~drop:600000/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY, .body_max = WHOLE_TINY },
    { "a server that always breaks off is given up", "{ORIGIN}/~drop:100/files/tiny/", .code = QD_ENETWORK,
      .text = "tries", .also = "model.safetensors" },
    { "a file that changed in between starts again", "{ORIGIN}/~drop:1000000*1/~older*1/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY + 1000000, .body_max = WHOLE_TINY + 1000000 },
    { "a 206 under another ETag starts again", "{ORIGIN}/~drop:1000000*1/~older*1/~anyrange/files/tiny/",
      .model = "tiny" },
    { "a 206 from elsewhere starts again", "{ORIGIN}/~drop:1000000*1/~badrange*2/files/tiny/", .model = "tiny" },
    { "a server without ranges starts again", "{ORIGIN}/~drop:1000000*1/~norange/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY + 1000000, .body_max = WHOLE_TINY + 1000000 },
    { "a weak ETag is no ground to continue", "{ORIGIN}/~drop:1000000*1/~weak/~nodate/files/tiny/", .model = "tiny",
      .body_min = WHOLE_TINY + 1000000, .body_max = WHOLE_TINY + 1000000 },
    { "a body without length arrives", "{ORIGIN}/~chunked/files/tiny/", .model = "tiny" },
    { "a body without length that breaks off arrives", "{ORIGIN}/~chunked/~drop:1000000*1/files/tiny/",
      .model = "tiny" },
    { "a length that is too long is a broken body", "{ORIGIN}/~length:100/files/tiny/", .code = QD_ENETWORK,
      .text = "model.safetensors" },
    { "429 with Retry-After is waited for", "{ORIGIN}/~status:429:0*2/files/tiny/", .model = "tiny" },
    { "500 is asked again", "{ORIGIN}/~status:500*3/files/tiny/", .model = "tiny" },
    { "503 for ever is given up", "{ORIGIN}/~status:503/files/tiny/", .code = QD_ENETWORK, .text = "503",
      .also = "tries" },
    { "400 is not asked again", "{ORIGIN}/~status:400*1/files/tiny/", .code = QD_ENETWORK, .text = "400" },
    { "401 says gated or wrong token", "{ORIGIN}/~status:401*1/files/tiny/", .code = QD_EDENIED,
      .text = "gated or wrong token" },
    { "a drip of two bytes a second is cut", "{ORIGIN}/~drip:2/files/tiny/", .retries = 1, .code = QD_ETIMEOUT,
      .text = "bytes a second" },
    { "a server that accepts and never answers is cut", "{ORIGIN}/~silent:20/files/tiny/", .retries = 1,
      .code = QD_ETIMEOUT, .text = "bytes a second" },
    { "a flood of headers is cut", "{ORIGIN}/~headers:400000/files/tiny/", .code = QD_ETOOBIG, .text = "header" },

    { "a redirect to another host is followed",
      "{ORIGIN}/~redirect:{CDN2}%252Ffiles%252Ftiny%252Fmodel.safetensors/files/tiny/", .model = "tiny" },
    { "a redirect to a private address is refused", "{ORIGIN}/~redirect:http%253A%252F%252F10.0.0.1%252Fx/files/tiny/",
      .code = QD_EDENIED, .text = "10.0.0.1", .also = "private" },
    { "a redirect to the metadata service is refused",
      "{ORIGIN}/~redirect:http%253A%252F%252F169.254.169.254%252Fx/files/tiny/", .code = QD_EDENIED,
      .text = "169.254.169.254" },
    { "a redirect to a file is refused", "{ORIGIN}/~redirect:file%253A%252F%252F%252Fetc%252Fpasswd/files/tiny/",
      .code = QD_EDENIED, .text = "file:///etc/passwd" },
    { "a redirect to gopher is refused", "{ORIGIN}/~redirect:gopher%253A%252F%252F127.0.0.1%252Fx/files/tiny/",
      .code = QD_EDENIED, .text = "redirect" },
    { "a redirect with a password is refused",
      "{ORIGIN}/~redirect:http%253A%252F%252Fu%253Apw%2540127.0.0.1%252Fx/files/tiny/", .code = QD_EDENIED,
      .text = "redirect" },
    { "a redirect loop is cut", "{ORIGIN}/~loop/files/tiny/", .code = QD_ENETWORK, .text = "more than 5 redirects" },

    { "a host that does not resolve is named", "http://no-such-host.invalid/m/", .code = QD_ENETWORK,
      .text = "no-such-host.invalid" },
    { "a port that nobody listens on is named", "http://127.0.0.1:1/m/", .code = QD_ENETWORK, .text = "127.0.0.1",
      .also = "port 1" },

    { "a digest of the request is enforced", "{ORIGIN}/files/tiny/", .code = QD_EFORMAT, .text = "sha256",
      .also = "model.safetensors", .sha256 = "0000000000000000000000000000000000000000000000000000000000000000" },
    { "a digest that is no digest is refused", "{ORIGIN}/files/tiny/", .code = QD_EINVAL, .text = "64 hex digits",
      .sha256 = "12" },

    { "a hub model arrives whole", "{ORIGIN}/hub", .model = "tiny", .body_min = WHOLE_TINY, .body_max = WHOLE_TINY,
      .by = BY_HUB },
    { "a hub page's only GGUF is its weights", "{ORIGIN}/hub", .model = "gguf", .by = BY_HUB, .files = 2 },
    { "a hub page's GGUF set is its weights", "{ORIGIN}/hub", .model = "set", .by = BY_HUB, .files = 2 },
    { "a GGUF with a changed byte is refused", "{ORIGIN}/~corrupt:77@*.gguf/hub", .model = "gguf", .code = QD_EFORMAT,
      .text = "sha256", .also = "model.gguf", .by = BY_HUB },
    { "a hub page's GGUF files are named", "{ORIGIN}/hub", .model = "quants", .code = QD_EINVAL,
      .text = "model.Q4_0.gguf, model.gguf", .also = "name one", .body_min = -1, .by = BY_HUB },
    { "a sharded hub model arrives without pickles and subfolders", "{ORIGIN}/hub", .model = "shards", .by = BY_HUB },
    { "a hub model's tag is resolved", "{ORIGIN}/hub", .model = "tiny", .by = BY_HUB, .revision = "refs/pr/1" },
    { "a hub at the root of its host works", "{ORIGIN}", .model = "tiny", .by = BY_HUB },
    { "an unknown revision is not found", "{ORIGIN}/hub", .code = QD_ENOTFOUND, .text = "revision", .by = BY_HUB,
      .revision = "nope" },
    { "an expired link to the store is renewed at the hub", "{ORIGIN}/~expired*1/hub", .model = "tiny", .by = BY_HUB },
    { "links that never work are given up", "{ORIGIN}/~expired/hub", .code = QD_EDENIED, .text = "403", .also = "tries",
      .by = BY_HUB },
    { "a broken hub download goes on where it stopped", "{ORIGIN}/~drop:1000000*1/hub", .model = "tiny",
      .body_min = WHOLE_TINY, .body_max = WHOLE_TINY, .by = BY_HUB },
    { "a gated model opens to its token", "{ORIGIN}/~token:sesame@*/hub", .model = "tiny", .by = BY_HUB,
      .token = "sesame" },
    { "a gated model without token is denied", "{ORIGIN}/~token:sesame@*/hub", .code = QD_EDENIED,
      .text = "gated or wrong token", .also = "401", .by = BY_HUB },
    { "a token without rights is denied", "{ORIGIN}/~token:sesame@*/hub", .code = QD_EDENIED,
      .text = "gated or wrong token", .also = "403", .by = BY_HUB, .token = "not-allowed" },
    { "a token with a line break is refused", "{ORIGIN}/hub", .code = QD_EINVAL, .text = "token", .by = BY_HUB,
      .token = "a\r\nHost: b" },
    { "the hub's 500 is asked again", "{ORIGIN}/~api-status:500*1/hub", .model = "tiny", .by = BY_HUB },
    { "a hub that answers HTML is refused", "{ORIGIN}/~api-json/hub", .code = QD_EFORMAT, .text = "JSON",
      .by = BY_HUB },
    { "weights with a changed byte are refused", "{ORIGIN}/~corrupt:77/hub", .code = QD_EFORMAT, .text = "sha256",
      .also = "model.safetensors", .by = BY_HUB },
    { "a small file with a changed byte is refused", "{ORIGIN}/~corrupt:3@config.json/hub", .code = QD_EFORMAT,
      .text = "git blob id", .also = "config.json", .by = BY_HUB },
    { "another commit's answer is refused", "{ORIGIN}/~api-commit/hub", .code = QD_EFORMAT, .text = "commit",
      .by = BY_HUB },
    { "another digest in the link is refused", "{ORIGIN}/~api-etag/hub", .code = QD_EFORMAT, .text = "digest",
      .by = BY_HUB },
    { "a list with ../ is refused", "{ORIGIN}/~api-path:..%252F..%252Fetc%252Fx.json/hub", .code = QD_EFORMAT,
      .text = "../../etc/x.json", .by = BY_HUB },
    { "a list with an absolute path is refused", "{ORIGIN}/~api-path:%252Fetc%252Fx.json/hub", .code = QD_EFORMAT,
      .text = "/etc/x.json", .by = BY_HUB },
    { "a list that names a file twice is refused", "{ORIGIN}/~api-path:config.json/hub", .code = QD_EFORMAT,
      .text = "twice", .by = BY_HUB },
    { "a listed size beyond the limit is refused before the first byte", "{ORIGIN}/~api-size:99999999999999/hub",
      .code = QD_ETOOBIG, .text = "99999999999999", .also = "limit", .body_min = -1, .by = BY_HUB },
    { "a negative size is refused", "{ORIGIN}/~api-size:-5/hub", .code = QD_EFORMAT, .text = "size", .body_min = -1,
      .by = BY_HUB },
    { "a size that the store does not keep is refused", "{ORIGIN}/~api-size:1000/hub", .code = QD_EFORMAT,
      .text = "bytes", .by = BY_HUB },
    { "a next page at another host is not asked for", "{ORIGIN}/~api-next:{CDN2}%252Fx/hub", .model = "shards",
      .code = QD_EDENIED, .text = "another host", .by = BY_HUB },
};

static void run_example(void **state)
{
    const example *e = *state;
    const world *w = &the_world;
    char url[600];
    qd_error err = { 0 };
    qd_fetched fetched = { 0 };
    setting s;
    setting_init(&s, w);
    world_expand(w, e->url, e->by == BY_HUB ? s.hub_url : url, e->by == BY_HUB ? sizeof s.hub_url : sizeof url);
    if (e->by == BY_HUB)
        snprintf(url, sizeof url, "hf://org/%s", e->model == NULL ? "tiny" : e->model);
    if (e->retries > 0) {
        s.policy.retries = e->retries;
        s.policy.retry_base_seconds = 1e-7; /* pauses double: many tries would mean minutes */
    }
    world_reset(w);
    qd_fetcher *fetcher = setting_fetcher(&s);
    json_t *sha256 = e->sha256 == NULL ? NULL : json_pack("{s:s}", "model.safetensors", e->sha256);
    const qd_fetch_request request = { .url = url, .revision = e->revision, .token = e->token, .sha256 = sha256 };
    check_fails(qd_fetch_model(fetcher, &request, NULL, NULL, &fetched, &err), e->code);
    if (e->code == QD_OK)
        assert_in_range(check_snapshot(w, fetched.folder, e->model), e->files == 0 ? 2 : e->files,
                        e->files == 0 ? 100 : e->files);
    if (e->text != NULL)
        check_contains(err.text, e->text);
    if (e->also != NULL)
        check_contains(err.text, e->also);
    assert_null(strstr(err.text, "s3cret"));
    long body = world_count(w, "body_bytes");
    if (e->body_min < 0)
        assert_int_equal(body, 0);
    if (e->body_min > 0)
        assert_in_range(body, e->body_min, e->body_max);
    check_blobs(s.cache);
    qd_fetched_fini(&fetched);
    json_decref(sha256);
    qd_fetcher_destroy(fetcher);
}

int main(void)
{
    struct CMUnitTest tests[QD_LENGTH(examples)];
    for (size_t i = 0; i < QD_LENGTH(examples); i++)
        tests[i] = (struct CMUnitTest){ .name = examples[i].claim,
                                        .test_func = run_example,
                                        .initial_state = (void *)(uintptr_t)&examples[i] };
    world_open(&the_world);
    int failed = cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
    world_close(&the_world);
    return failed;
}
