/* test_documents.c: documents come back as they were written, whatever packs them; what is none is refused by name. */
#include "packed.h"

#include <sys/wait.h>

#include "base/json.h"
#include "base/rng.h"
#include "text/documents.h"

enum { LIMIT = 1 << 20, DOCUMENTS = 40 };

typedef struct reading {
    qd_code code;
    qd_error err;
    size_t count;
    qd_str all; /* documents, each ended by \x01 */
    qd_text_format format;
    char packing[8];
} reading;

static reading read_with(const char *bytes, size_t length, qd_documents_way way)
{
    reading r = { 0 };
    qd_documents *documents = NULL;
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    const char *path = packed_file(bytes, length);
    way.limit = way.limit == 0 ? LIMIT : way.limit;
    r.code = qd_documents_open(path, &way, &documents, &r.err);
    for (bool found = true; r.code == QD_OK && found;) {
        r.code = qd_documents_next(documents, &text, &found, &r.err);
        if (r.code != QD_OK || !found)
            break;
        r.count++;
        qd_str_add_bytes(&r.all, text.data, text.length);
        qd_str_add(&r.all, "\x01");
    }
    if (documents != NULL) {
        r.format = qd_documents_format(documents);
        snprintf(r.packing, sizeof r.packing, "%s", qd_documents_packing(documents));
    }
    qd_documents_close(documents);
    unlink(path);
    return r;
}

static reading read_bytes(const char *bytes, size_t length)
{
    return read_with(bytes, length, (qd_documents_way){ 0 });
}

/* ---- what is written comes back ---- */

static void add_random_character(uint64_t key, uint64_t *at, qd_str *out)
{
    static const char *const some[] = { "a",  " ", "\"",  "\\", "/", "\n",   "\t",           "\r",       "{", "}",
                                        "é",  "ß", "日",  "本", "𝔘", "🙂", "\x7F",         "\xC2\x85", "[", "\b",
                                        "\f", "x", "{\"", ":",  ",", "0",    "\xE2\x80\xA8", "<s>",      "'", "." };
    qd_str_add(out, some[qd_rng_below(key, (*at)++, QD_LENGTH(some))]);
}

static void add_line(const qd_str *text, uint64_t bits, qd_str *out)
{
    QD_AUTO(qd_json_fini) json_t *object = json_object();
    if (bits % 3 == 0)
        json_object_set_new(object, "meta", json_pack("{s:[i, n], s:s}", "a", 1, "text", "not this"));
    json_object_set_new(object, "text", json_stringn(qd_str_borrow(text), text->length));
    QD_AUTO(qd_free_pointer) char *line = json_dumps(object, bits % 2 == 0 ? JSON_ENSURE_ASCII : JSON_COMPACT);
    qd_str_addf(out, "%s%s", line, bits % 5 == 0 ? "\r\n" : "\n");
    if (bits % 7 == 0)
        qd_str_add(out, " \t\r\n\n"); /* blank lines are no documents */
}

/* A file of `count` random documents, and what reading it must give. */
static void write_documents(uint64_t seed, size_t count, qd_str *file, qd_str *want)
{
    uint64_t key = qd_rng_key(seed, 1, 0), at = 0;
    for (size_t i = 0; i < count; i++) {
        QD_AUTO(qd_str_fini) qd_str text = { 0 };
        size_t length = (size_t)qd_rng_below(key, at++, i % 8 == 0 ? 3000 : 60);
        for (size_t k = 0; k < length; k++)
            add_random_character(key, &at, &text);
        add_line(&text, qd_rng_bits(key, at++), file);
        qd_str_add_bytes(want, text.data, text.length);
        qd_str_add(want, "\x01");
    }
    if (seed % 2 == 0)
        file->length--; /* the last line need not end */
}

typedef enum packing { PLAIN, GZIP, ZSTD, PACKINGS } packing;

/* In up to five members or frames. */
static void pack(const qd_str *file, uint64_t seed, packing how, qd_str *out)
{
    uint64_t key = qd_rng_key(seed, 2, 0);
    size_t parts = how == PLAIN ? 1 : 1 + (size_t)qd_rng_below(key, 0, 5), from = 0;
    for (size_t i = 0; i < parts; i++) {
        size_t to = i + 1 == parts ? file->length : from + (size_t)qd_rng_below(key, i + 1, file->length - from + 1);
        if (how == GZIP)
            add_gzip(file->data + from, to - from, 1 + (int)(seed % 9), out);
        else if (how == ZSTD)
            add_zstd(file->data + from, to - from, 1 + (int)(seed % 12), out);
        else
            qd_str_add_bytes(out, file->data + from, to - from);
        from = to;
    }
}

static void expect(const reading *r, const qd_str *want, size_t count)
{
    if (r->code != QD_OK)
        fail_msg("%s", r->err.text);
    assert_int_equal(r->count, count);
    assert_int_equal(r->all.length, want->length);
    assert_memory_equal(r->all.data, want->data, want->length);
}

static void random_documents_come_back_whatever_packs_them(void **state)
{
    static const char *const names[] = { "none", "gzip", "zstd" };
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        QD_AUTO(qd_str_fini) qd_str file = { 0 }, want = { 0 }, packed = { 0 };
        write_documents(seed, DOCUMENTS, &file, &want);
        pack(&file, seed, (packing)(seed % PACKINGS), &packed);
        reading r = read_bytes(packed.data, packed.length);
        expect(&r, &want, DOCUMENTS);
        assert_string_equal(r.packing, names[seed % PACKINGS]);
        assert_int_equal(r.format, QD_TEXT_JSONL);
        qd_str_fini(&r.all);
    }
}

static void a_text_is_one_document_of_the_same_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        uint64_t at = 0;
        QD_AUTO(qd_str_fini) qd_str file = { 0 }, packed = { 0 };
        qd_str_add(&file, seed % 2 == 0 ? "\xEF\xBB\xBF \nx" : "- ");
        for (size_t k = 0; k < 20 + 4000 * seed; k++)
            add_random_character(qd_rng_key(seed, 3, 0), &at, &file);
        pack(&file, seed, (packing)(seed % PACKINGS), &packed);
        reading r = read_bytes(packed.data, packed.length);
        qd_str_add(&file, "\x01");
        expect(&r, &file, 1);
        assert_int_equal(r.format, QD_TEXT_PLAIN);
        qd_str_fini(&r.all);
    }
}

/* What unpacks slowly must be read on; what ends a piece must not end the file. */
static void a_pipe_that_gives_a_byte_at_a_time_gives_the_same(void **state)
{
    (void)state;
    for (packing how = PLAIN; how < PACKINGS; how++) {
        int ends[2];
        qd_error err = { 0 };
        bool found = false;
        qd_documents *documents = NULL;
        QD_AUTO(qd_str_fini) qd_str file = { 0 }, packed = { 0 }, text = { 0 };
        qd_str_add(&file, "{\"text\":\"one\"}\n{\"text\":\"two\"}\n");
        pack(&file, 3, how, &packed);
        assert_int_equal(pipe(ends), 0);
        pid_t writer = fork();
        if (writer == 0) {
            close(ends[0]);
            for (size_t i = 0; i < packed.length; i++)
                if (write(ends[1], packed.data + i, 1) != 1)
                    _exit(1);
            _exit(0);
        }
        close(ends[1]);
        check_ok(qd_documents_attach(ends[0], "pipe", &(qd_documents_way){ .limit = LIMIT }, &documents, &err));
        check_ok(qd_documents_next(documents, &text, &found, &err));
        assert_string_equal(qd_str_borrow(&text), "one");
        check_ok(qd_documents_next(documents, &text, &found, &err));
        assert_string_equal(qd_str_borrow(&text), "two");
        check_ok(qd_documents_next(documents, &text, &found, &err));
        assert_false(found);
        qd_documents_close(documents);
        waitpid(writer, NULL, 0);
    }
}

/* ---- damage ---- */

static void sample_file(packing how, qd_str *out)
{
    QD_AUTO(qd_str_fini) qd_str file = { 0 }, want = { 0 };
    write_documents(9, 6, &file, &want);
    pack(&file, 4, how, out);
}

static void whatever_is_cut_off_is_missed(void **state)
{
    (void)state;
    for (packing how = GZIP; how <= ZSTD; how++) {
        QD_AUTO(qd_str_fini) qd_str file = { 0 }, want = { 0 }, packed = { 0 };
        write_documents(9, 6, &file, &want);
        if (how == GZIP)
            add_gzip(file.data, file.length, 9, &packed);
        else
            add_zstd(file.data, file.length, 3, &packed);
        for (size_t length = 4; length < packed.length; length++) {
            reading r = read_bytes(packed.data, length);
            assert_int_equal(r.code, QD_EFORMAT);
            check_contains(r.err.text, how == GZIP ? "gzip: cut off" : "zstd: cut off");
            qd_str_fini(&r.all);
        }
    }
}

static void a_changed_byte_is_found_or_changes_nothing(void **state)
{
    (void)state;
    for (packing how = GZIP; how <= ZSTD; how++) {
        QD_AUTO(qd_str_fini) qd_str packed = { 0 };
        sample_file(how, &packed);
        reading want = read_bytes(packed.data, packed.length);
        size_t unseen = 0;
        for (size_t i = 4; i < packed.length; i++) { /* the magic itself: another file */
            packed.data[i] ^= 0x20;
            reading r = read_bytes(packed.data, packed.length);
            unseen += r.code == QD_OK;
            if (r.code == QD_OK)
                assert_string_equal(qd_str_borrow(&r.all), qd_str_borrow(&want.all));
            packed.data[i] ^= 0x20;
            qd_str_fini(&r.all);
        }
        assert_true(unseen < packed.length / 4); /* times and flags of headers */
        qd_str_fini(&want.all);
    }
}

static void a_file_that_unpacks_beyond_the_limit_is_refused(void **state)
{
    enum { ZEROS = 64 << 20 };
    (void)state;
    char *zeros = calloc(1, ZEROS);
    for (packing how = GZIP; how <= ZSTD; how++) {
        qd_error err = { 0 };
        uint64_t bytes = 0;
        QD_AUTO(qd_str_fini) qd_str packed = { 0 };
        if (how == GZIP)
            add_gzip(zeros, ZEROS, 1, &packed);
        else
            add_zstd(zeros, ZEROS, 3, &packed);
        assert_true(packed.length < ZEROS / 100);
        reading r = read_bytes(packed.data, packed.length);
        assert_int_equal(r.code, QD_ETOOBIG);
        check_contains(r.err.text, "unpacks to more than the limit of 1048576 bytes");
        qd_str_fini(&r.all);
        const char *path = packed_file(packed.data, packed.length);
        check_fails(qd_documents_measure(path, LIMIT, &bytes, &err), QD_ETOOBIG);
        check_ok(qd_documents_measure(path, ZEROS, &bytes, &err));
        assert_int_equal(bytes, ZEROS);
        unlink(path);
    }
    free(zeros);
}

static void behind_gzip_zeros_are_padding_and_anything_else_is_refused(void **state)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str packed = { 0 };
    add_gzip("{\"text\":\"a\"}", 12, 6, &packed);
    qd_str_add_bytes(&packed, "\0\0\0\0\0\0\0", 7);
    reading padded = read_bytes(packed.data, packed.length);
    assert_int_equal(padded.code, QD_OK);
    assert_string_equal(qd_str_borrow(&padded.all), "a\x01");
    add_gzip("\n{\"text\":\"b\"}", 13, 6, &packed);
    reading more = read_bytes(packed.data, packed.length);
    assert_string_equal(qd_str_borrow(&more.all), "a\x01"
                                                  "b\x01");
    qd_str_add(&packed, "x");
    reading strange = read_bytes(packed.data, packed.length);
    assert_int_equal(strange.code, QD_EFORMAT);
    check_contains(strange.err.text, "not gzip");
    qd_str_fini(&padded.all);
    qd_str_fini(&more.all);
    qd_str_fini(&strange.all);
}

/* ---- what is no document ---- */

static void what_is_wrong_is_said_with_its_line(void **state)
{
    static const struct {
        const char *text;
        qd_code code;
        const char *says[3];
    } rows[] = {
        { "{\"text\":\"a\"}\n{\"body\":1,\"id\":2}\n",
          QD_EFORMAT,
          { "line 2: it has 'body', 'id'", "'text', 'messages', or 'prompt' and 'completion' is wanted",
            "test_packed" } },
        { "{\"text\":\"a\"}\n\n{}\n", QD_EFORMAT, { "line 3: it has no keys", "", "" } },
        { "{\"text\":5}", QD_EFORMAT, { "line 1: text: a string is wanted, found", "", "" } },
        { "{\"text\":null,\"id\":1}", QD_EFORMAT, { "it has 'text', 'id'", "", "" } },
        { "{\"text\":\"a\",\"messages\":[]}", QD_EFORMAT, { "both 'text' and 'messages'", "", "" } },
        { "{\"prompt\":\"a\",\"completion\":[]}", QD_EFORMAT, { "prompt and completion: two strings", "", "" } },
        { "{\"prompt\":\"a\"}", QD_EFORMAT, { "it has 'prompt'; ", "", "" } },
        { "{\"messages\":{}}", QD_EFORMAT, { "messages: an array is wanted, found an object", "", "" } },
        { "{\"messages\":[1]}", QD_EFORMAT, { "messages[0]: an object is wanted", "", "" } },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"\"},{\"content\":\"\"}]}",
          QD_EFORMAT,
          { "messages[1].role: a string is wanted, found nothing", "", "" } },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
          QD_EUNSUPPORTED,
          { "line 1: messages: a conversation needs the model's chat template", "", "" } },
        { "{\"text\":\"a\"", QD_EFORMAT, { "line 1: JSON", "", "" } },
        { "{\"text\":\"a\"}\n[\"a\"]\n", QD_EFORMAT, { "line 2: JSON: an object is wanted, found an array", "", "" } },
        { "{\"text\":\"a\"}\nplain\n", QD_EFORMAT, { "line 2: JSON", "", "" } },
        { "{\"text\":\"a\\ud800\"}", QD_EFORMAT, { "line 1: JSON", "", "" } },
        { "{\"text\":\"\xE9\"}", QD_EFORMAT, { "line 1: JSON", "", "" } },
        { "{\"text\":\"a\",\"text\":\"b\"}", QD_EFORMAT, { "line 1: JSON", "duplicate", "" } },
        { "[{\"text\":\"a\"}]", QD_EFORMAT, { "a JSON array of objects", "jq", "" } },
        { " [\n {\n  \"text\":\"a\"}]", QD_EFORMAT, { "a JSON array of objects", "", "" } },
        { "one\ntwo \xE9\n", QD_EFORMAT, { "line 2: byte 8 of the text, 0xE9, is not UTF-8", "", "" } },
        { "PAR1\x15\x04", QD_EUNSUPPORTED, { "this is a Parquet file", "JSON lines", "gzip or zstd" } },
        { "PK\x03\x04", QD_EUNSUPPORTED, { "a zip archive", "", "" } },
        { "BZh91AY&SY", QD_EUNSUPPORTED, { "bzip2", "", "" } },
        { "\xFD"
          "7zXZ",
          QD_EUNSUPPORTED,
          { "xz", "", "" } },
        { "\xFF\xFE"
          "a",
          QD_EUNSUPPORTED,
          { "UTF-16", "", "" } },
        { "\x1F\x8Bxxxxxxxxxxxx", QD_EFORMAT, { "gzip: damaged", "", "" } },
        { "\x28\xB5\x2F\xFDxxxxxxxx", QD_EFORMAT, { "zstd: damaged", "", "" } },
    };
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        reading r = read_bytes(rows[i].text, strlen(rows[i].text));
        if (r.code != rows[i].code)
            fail_msg("row %zu: %s", i, r.err.text);
        for (size_t k = 0; k < QD_LENGTH(rows[i].says); k++)
            check_contains(r.err.text, rows[i].says[k]);
        qd_str_fini(&r.all);
    }
}

/* Keys may hold anything; what is said of them must be text. */
static void a_long_list_of_strange_keys_is_cut_short(void **state)
{
    (void)state;
    QD_AUTO(qd_str_fini) qd_str file = { 0 };
    for (size_t i = 0; i < 3000; i++)
        qd_str_addf(&file, "%s\"%zu\xC3\xA9\\n\\\"\":1", i == 0 ? "{" : ",", i);
    qd_str_add(&file, "}");
    reading r = read_bytes(file.data, file.length);
    assert_int_equal(r.code, QD_EFORMAT);
    check_contains(r.err.text, "'0???\"', '1???\"'");
    check_contains(r.err.text, "...; 'text'");
    qd_str_fini(&r.all);
}

static void what_it_is_shows_in_its_first_bytes_unless_the_job_says(void **state)
{
    static const struct {
        const char *text;
        qd_text_format asked, found;
        size_t documents;
    } rows[] = {
        { "", QD_TEXT_AUTO, QD_TEXT_PLAIN, 0 },
        { "{", QD_TEXT_AUTO, QD_TEXT_PLAIN, 1 },
        { "{ \t\"text\": \"a\" }", QD_TEXT_AUTO, QD_TEXT_JSONL, 1 },
        { "\r\n\n {\"text\":\"a\"}", QD_TEXT_AUTO, QD_TEXT_JSONL, 1 },
        { "\xEF\xBB\xBF{\"text\":\"a\"}", QD_TEXT_AUTO, QD_TEXT_JSONL, 1 },
        { "{a}", QD_TEXT_AUTO, QD_TEXT_PLAIN, 1 },
        { "{}", QD_TEXT_AUTO, QD_TEXT_PLAIN, 1 },
        { "[1, {\"a\": 1}]", QD_TEXT_AUTO, QD_TEXT_PLAIN, 1 },
        { "{\"text\":\"a\"}", QD_TEXT_PLAIN, QD_TEXT_PLAIN, 1 },
        { "[{\"text\":\"a\"}]", QD_TEXT_PLAIN, QD_TEXT_PLAIN, 1 },
        { "PAR1 is how a file may begin", QD_TEXT_PLAIN, QD_TEXT_PLAIN, 1 },
        { "", QD_TEXT_JSONL, QD_TEXT_JSONL, 0 },
        { "\n\n", QD_TEXT_JSONL, QD_TEXT_JSONL, 0 },
    };
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(rows); i++) {
        reading r = read_with(rows[i].text, strlen(rows[i].text), (qd_documents_way){ .format = rows[i].asked });
        if (r.code != QD_OK || r.format != rows[i].found || r.count != rows[i].documents)
            fail_msg("row %zu: %s, format %d, %zu documents", i, r.err.text, (int)r.format, r.count);
        qd_str_fini(&r.all);
    }
    for (size_t i = 0; qd_text_format_name(i) != NULL; i++)
        assert_int_equal(qd_text_format_find(qd_text_format_name(i)), i);
    assert_int_equal(qd_text_format_find("parquet"), -1);
}

/* ---- conversations and samples ---- */

static qd_code roles(void *ctx, const json_t *messages, qd_str *out, qd_error *err)
{
    size_t index;
    const json_t *message;
    ++*(size_t *)ctx;
    if (json_array_size(messages) > 3)
        return qd_fail(err, QD_EINVAL, "too long a talk");
    json_array_foreach(messages, index, message)
    {
        qd_str_addf(out, "<%s>%s", json_string_value(json_object_get(message, "role")),
                    json_string_value(json_object_get(message, "content")));
    }
    return QD_OK;
}

static void conversations_go_through_the_renderer(void **state)
{
    static const char file[] =
        "{\"prompt\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"a\",\"content\":\"yo\"}]}\n"
        "{\"prompt\":[{\"role\":\"u\",\"content\":\"1\"}],\"completion\":[{\"role\":\"a\",\"content\":\"2\"}]}\n"
        "{\"prompt\":\"to be \",\"completion\":\"or not\"}\n"
        "{\"messages\":[]}\n";
    (void)state;
    size_t calls = 0;
    const qd_renderer renderer = { roles, &calls };
    reading r = read_with(file, sizeof file - 1, (qd_documents_way){ .renderer = &renderer });
    assert_int_equal(r.code, QD_OK);
    assert_string_equal(qd_str_borrow(&r.all), "<user>hi<a>yo\x01<u>1<a>2\x01to be or not\x01\x01");
    assert_int_equal(calls, 2);
    qd_str_fini(&r.all);
    static const char long_one[] =
        "{\"messages\":[{\"role\":\"a\"},{\"role\":\"a\"},{\"role\":\"a\"},{\"role\":\"a\"}]}";
    reading refused = read_with(long_one, sizeof long_one - 1, (qd_documents_way){ .renderer = &renderer });
    assert_int_equal(refused.code, QD_EINVAL);
    check_contains(refused.err.text, "line 1: messages: too long a talk");
    reading plain = read_with(file, sizeof file - 1, (qd_documents_way){ .renderer = &qd_renderer_plain });
    assert_string_equal(qd_str_borrow(&plain.all), "user\nhi\na\nyo\n\x01u\n1\na\n2\n\x01to be or not\x01\x01");
    qd_str_fini(&plain.all);
}

static void a_sample_is_the_beginning_in_whole_characters_and_lines(void **state)
{
    (void)state;
    for (size_t sample = 1; sample < 12; sample++) {
        reading r = read_with("日本語日本", 15, (qd_documents_way){ .sample = sample });
        assert_int_equal(r.code, QD_OK);
        assert_int_equal(r.all.length, sample < 3 ? 0 : sample / 3 * 3 + 1);
        qd_str_fini(&r.all);
    }
    static const char lines[] = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n";
    reading r = read_with(lines, sizeof lines - 1, (qd_documents_way){ .sample = 14 });
    assert_string_equal(qd_str_borrow(&r.all), "a\x01"
                                               "b\x01");
    qd_str_fini(&r.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_documents_come_back_whatever_packs_them),
        cmocka_unit_test(a_text_is_one_document_of_the_same_bytes),
        cmocka_unit_test(a_pipe_that_gives_a_byte_at_a_time_gives_the_same),
        cmocka_unit_test(whatever_is_cut_off_is_missed),
        cmocka_unit_test(a_changed_byte_is_found_or_changes_nothing),
        cmocka_unit_test(a_file_that_unpacks_beyond_the_limit_is_refused),
        cmocka_unit_test(behind_gzip_zeros_are_padding_and_anything_else_is_refused),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(a_long_list_of_strange_keys_is_cut_short),
        cmocka_unit_test(what_it_is_shows_in_its_first_bytes_unless_the_job_says),
        cmocka_unit_test(conversations_go_through_the_renderer),
        cmocka_unit_test(a_sample_is_the_beginning_in_whole_characters_and_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
