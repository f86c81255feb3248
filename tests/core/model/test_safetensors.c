/* test_safetensors.c: every rule of formats.md §1.2, one hostile file each; what is legal; the writer's round trip. */
#include "check.h"

#include <sys/stat.h>

#include "base/file.h"
#include "forward.h"
#include "model/safetensors.h"

/* header: JSON text; data: bytes of zeros after it; length: -1 = the true header length goes into the length word. */
typedef struct hostile {
    const char *claim, *header;
    size_t data;
    long long length;
    const char *part; /* of the message */
} hostile;

#define T(name, shape, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
#define LONG16(x) x x x x x x x x x x x x x x x x

static const hostile table[] = {
    /* Rule 1: lengths. */
    { "header length beyond the file", "{}", 0, 100, "header of 100 bytes, but the file ends after 2" },
    { "header length one too long", "{}", 0, 3, "the file ends after 2" },
    { "header length above the limit", "{}", 0, (16 << 20) + 1, "the limit is 16777216" },
    { "header length of 2^63", "{}", 0, INT64_MIN, "the limit is" },
    { "header length of 2^64 - 1", "{}", 0, -2, "the limit is" },
    { "header length that adds up to 2^64", "{}", 0, -8, "the limit is" },
    { "empty header", "", 0, -1, "not one JSON object" },
    /* Rule 2: one strict JSON object. */
    { "header of spaces", "    ", 0, -1, "not one JSON object" },
    { "header that is an array", "[]", 0, -1, "not one JSON object" },
    { "header that begins with a space", " {}", 0, -1, "not one JSON object" },
    { "header that begins with a byte order mark", "\xef\xbb\xbf{}", 0, -1, "not one JSON object" },
    { "header padded with newlines", "{}\n\n", 0, -1, "not one JSON object" },
    { "header padded with tabs", "{}\t", 0, -1, "not one JSON object" },
    { "two objects", "{}{}", 0, -1, "JSON" },
    { "an object and a word", "{} {", 0, -1, "not one JSON object" },
    { "cut JSON", "{\"a\":{}", 0, -1, "JSON" },
    { "a trailing comma", "{" T("a", "1", "0,4") ",}", 4, -1, "JSON" },
    { "a comment", "{/**/}", 0, -1, "JSON" },
    { "single quotes", "{'a':1}", 0, -1, "JSON" },
    { "NaN", "{\"a\":NaN}", 0, -1, "JSON" },
    { "Infinity", "{\"a\":Infinity}", 0, -1, "JSON" },
    { "an overlong UTF-8 name", "{\"\xc0\xaf\":{}}", 0, -1, "JSON" },
    { "a surrogate in UTF-8", "{\"\xed\xa0\x80\":{}}", 0, -1, "JSON" },
    { "a lone surrogate escape", "{\"\\ud800\":{}}", 0, -1, "JSON" },
    { "a byte that is never UTF-8", "{\"\xff\":{}}", 0, -1, "JSON" },
    { "cut UTF-8", "{\"\xe2\x82\":{}}", 0, -1, "JSON" },
    { "nesting of 5", "{\"a\":{\"b\":[[[1]]]}}", 0, -1, "nested deeper than 4" },
    { "nesting of 4096", NULL, 0, -1, "nested deeper than 4" },
    { "many arrays", "{\"a\":[[],[],[]]}", 0, -1, "1 objects and 4 arrays in 16 bytes are not tensors" },
    { "many objects", "{" LONG16("\"a\":{},") "}", 0, -1, "17 objects and 0 arrays" },
    /* Rule 3: duplicates. */
    { "a name twice", "{" T("a", "1", "0,4") "," T("a", "1", "4,8") "}", 8, -1, "duplicate" },
    { "a name twice, once escaped", "{" T("a", "1", "0,4") "," T("\\u0061", "1", "4,8") "}", 8, -1, "duplicate" },
    { "dtype twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1,
      "duplicate" },
    { "metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, -1, "duplicate" },
    { "a metadata key twice", "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, -1, "duplicate" },
    /* Rule 4: names. */
    { "an empty name", "{" T("", "1", "0,4") "}", 4, -1, "name of 0 bytes" },
    { "a name of 513 bytes", "{" T(LONG16(LONG16("ab")) "c", "1", "0,4") "}", 4, -1, "name of 513 bytes" },
    { "a NUL in a name", "{" T("a\\u0000b", "1", "0,4") "}", 4, -1, "JSON" },
    { "a newline in a name", "{" T("a\\nb", "1", "0,4") "}", 4, -1, "control character (byte 0x0a at 1)" },
    { "a DEL in a name", "{" T("\\u007f", "1", "0,4") "}", 4, -1, "control character" },
    { "a C1 control in a name", "{" T("a\\u0085", "1", "0,4") "}", 4, -1, "control character (byte 0xc2 at 1)" },
    /* Rule 5: shapes. */
    { "no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, -1, "tensor 'a': shape" },
    { "a shape that is a number", "{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, -1, "shape" },
    { "a dimension 1.0", "{" T("a", "1.0", "0,4") "}", 4, -1, "shape: non-negative plain integers" },
    { "a dimension 1e0", "{" T("a", "1e0", "0,4") "}", 4, -1, "shape: non-negative plain integers" },
    { "a negative dimension", "{" T("a", "-1", "0,4") "}", 4, -1, "negative" },
    { "a dimension -0", "{" T("a", "-0", "0,0") "}", 0, -1, "negative" },
    { "a quoted dimension", "{" T("a", "\"1\"", "0,4") "}", 4, -1, "shape: non-negative plain integers" },
    { "a dimension true", "{" T("a", "true", "0,4") "}", 4, -1, "shape: non-negative plain integers" },
    { "a dimension null", "{" T("a", "null", "0,4") "}", 4, -1, "shape: non-negative plain integers" },
    { "a dimension 01", "{" T("a", "01", "0,4") "}", 4, -1, "JSON" },
    { "a dimension of 2^63", "{" T("a", "9223372036854775808", "0,4") "}", 4, -1, "too big integer" },
    { "nine dimensions", "{" T("a", "1,1,1,1,1,1,1,1,1", "0,4") "}", 4, -1, "more than 8 dimensions" },
    /* Rule 6: products. */
    { "elements that overflow", "{" T("a", "4294967296,4294967296", "0,4") "}", 4, -1, "elements overflows" },
    { "elements that overflow before a 0", "{" T("a", "9223372036854775807,4,0", "0,0") "}", 0, -1, "overflows" },
    { "bytes that overflow", "{" T("a", "1152921504606846976", "0,4") "}", 4, -1, "bytes overflows" },
    { "half a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1, "not whole" },
    { "too few bytes for the shape", "{" T("a", "2", "0,4") "}", 4, -1, "span 4 bytes, shape and F32 need 8" },
    { "too many bytes for the shape", "{" T("a", "1", "0,8") "}", 8, -1, "span 8 bytes, shape and F32 need 4" },
    { "a scalar of 0 bytes", "{" T("a", "", "0,0") "}", 0, -1, "span 0 bytes, shape and F32 need 4" },
    /* Rule 7: the data is covered once. */
    { "two tensors that overlap", "{" T("a", "2", "0,8") "," T("b", "2", "4,12") "}", 12, -1, "overlapping" },
    { "two tensors at one place", "{" T("a", "1", "0,4") "," T("b", "1", "0,4") "}", 4, -1, "overlapping" },
    { "a tensor inside another", "{" T("a", "3", "0,12") "," T("b", "1", "4,8") "}", 12, -1, "overlapping" },
    { "a hole", "{" T("a", "1", "0,4") "," T("b", "1", "8,12") "}", 12, -1, "leaving a hole" },
    { "a hole at the beginning", "{" T("a", "1", "4,8") "}", 8, -1, "leaving a hole" },
    { "bytes behind the last tensor", "{" T("a", "1", "0,4") "}", 5, -1, "1 bytes after the last tensor" },
    { "bytes and no tensor", "{}", 3, -1, "3 bytes after the last tensor" },
    { "an empty tensor inside another", "{" T("a", "2", "0,8") "," T("b", "0", "4,4") "}", 8, -1, "overlapping" },
    /* Rule 8: offsets and dtypes. */
    { "offsets reversed", "{" T("a", "1", "4,0") "}", 4, -1, "begin <= end" },
    { "offsets beyond the data", "{" T("a", "2", "0,8") "}", 4, -1, "end at 8, but the data has 4" },
    { "a negative offset", "{" T("a", "1", "-4,0") "}", 4, -1, "negative" },
    { "a fractional offset", "{" T("a", "1", "0,4.0") "}", 4, -1, "two integers" },
    { "one offset", "{" T("a", "1", "0") "}", 4, -1, "two integers" },
    { "three offsets", "{" T("a", "1", "0,4,4") "}", 4, -1, "two integers" },
    { "an offset of 2^64 + 4", "{" T("a", "1", "0,18446744073709551620") "}", 4, -1, "too big integer" },
    { "no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, -1, "data_offsets" },
    { "offsets that are an object", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{}}}", 4, -1,
      "data_offsets" },
    { "an unknown dtype", "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1,
      "tensor 'a': unknown dtype 'F33'" },
    { "a dtype in lower case", "{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1, "unknown" },
    { "a dtype that is a number", "{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1, "dtype" },
    { "no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1, "dtype" },
    { "an entry that is a string", "{\"a\":\"F32\"}", 0, -1, "an object with dtype" },
    { "metadata that is a string", "{\"__metadata__\":\"pt\"}", 0, -1, "__metadata__: an object is wanted" },
    { "metadata with a number", "{\"__metadata__\":{\"format\":1}}", 0, -1, "'format' is not a string" },
};

/* Its own heap block of the exact size, so that a sanitizer sees a read past the end. */
static unsigned char *build(const hostile *h, size_t *out_size)
{
    char deep[8200];
    const char *header = h->header;
    if (header == NULL) { /* nesting of 4096 */
        memset(deep, '[', 4096);
        memset(deep + 4096, ']', 4096);
        memcpy(deep, "{\"a\":", 5);
        memcpy(deep + 8192, "}", 2);
        header = deep;
    }
    size_t n = strlen(header);
    uint64_t word = h->length == -1 ? n : (uint64_t)h->length;
    unsigned char *bytes = calloc(1, 8 + n + h->data);
    memcpy(bytes, &word, 8);
    memcpy(bytes + 8, header, n);
    *out_size = 8 + n + h->data;
    return bytes;
}

static void is_refused(void **state)
{
    const hostile *h = *state;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    size_t size;
    unsigned char *bytes = build(h, &size);
    check_fails(qd_safetensors_parse("evil.safetensors", bytes, size, &file, &err), QD_EFORMAT);
    assert_null(file);
    check_contains(err.text, "evil.safetensors");
    check_contains(err.text, h->part);
    free(bytes);
}

static void a_file_below_8_bytes_is_refused(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    for (size_t size = 0; size < 8; size++) {
        unsigned char *bytes = calloc(1, size == 0 ? 1 : size);
        check_fails(qd_safetensors_parse("x", bytes, size, &file, &err), QD_EFORMAT);
        check_contains(err.text, "at least 8");
        free(bytes);
    }
}

/* Every proper prefix of a good file, and every file with one byte more, is refused: no read past the end, no
 * acceptance. */
static void a_cut_file_is_refused_at_every_length(void **state)
{
    (void)state;
    static const hostile good = { "", "{" T("a", "2", "0,8") "," T("b", "1", "8,12") "}  ", 12, -1, "" };
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    size_t size;
    unsigned char *bytes = build(&good, &size);
    check_ok(qd_safetensors_parse("x", bytes, size, &file, &err));
    qd_safetensors_destroy(file);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        check_fails(qd_safetensors_parse("x", exact, cut, &file, &err), QD_EFORMAT);
        free(exact);
    }
    free(bytes);
}

static void legal_oddities_are_read(void **state)
{
    (void)state;
    static const hostile odd = {
        "",
        "{\"__metadata__\":{\"format\":\"pt\"}," T("z", "", "5,9") "," T("e", "0,7", "5,5") "," T(
            "f", "3,0", "9,9") ",\"b\":{\"data_offsets\":[0,5],\"shape\":[5],\"dtype\":\"BOOL\"}," T("g", "0",
                                                                                                     "0,0") "}",
        9, -1, ""
    };
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    size_t size;
    unsigned char *bytes = build(&odd, &size);
    float value = 1.5f;
    memcpy(bytes + size - 4, &value, 4);
    check_ok(qd_safetensors_parse("x", bytes, size, &file, &err));
    assert_int_equal(qd_safetensors_count(file), 5);
    const char *order[] = { "b", "e", "f", "g", "z" };
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(qd_safetensors_at(file, i)->name, order[i]);
    assert_null(qd_safetensors_at(file, 5));
    assert_null(qd_safetensors_find(file, "a"));
    assert_null(qd_safetensors_find(file, "__metadata__"));
    assert_string_equal(qd_safetensors_metadata(file, "format"), "pt");
    assert_null(qd_safetensors_metadata(file, "other"));
    const qd_tensor *scalar = qd_safetensors_find(file, "z"), *empty = qd_safetensors_find(file, "e");
    assert_int_equal(scalar->rank, 0);
    assert_int_equal(scalar->elements, 1);
    assert_int_equal(empty->elements, 0);
    value = 0;
    check_ok(qd_tensor_to_floats(scalar, &value, &err)); /* at an odd address */
    assert_true(value == 1.5f);
    check_ok(qd_tensor_to_floats(empty, NULL, &err));
    check_fails(qd_tensor_to_floats(qd_safetensors_find(file, "b"), &value, &err), QD_EUNSUPPORTED);
    check_fails(qd_tensor_rows_to_floats(empty, 1, 0, &value, &err), QD_ESHAPE);
    check_fails(qd_tensor_rows_to_floats(qd_safetensors_find(file, "f"), 2, SIZE_MAX, &value, &err), QD_ESHAPE);
    qd_safetensors_destroy(file);
    free(bytes);
}

static void an_empty_object_is_a_file_without_tensors(void **state)
{
    (void)state;
    static const hostile none = { "", "{}      ", 0, -1, "" };
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    size_t size;
    unsigned char *bytes = build(&none, &size);
    check_ok(qd_safetensors_parse("x", bytes, size, &file, &err));
    assert_int_equal(qd_safetensors_count(file), 0);
    assert_null(qd_safetensors_find(file, "a"));
    assert_null(qd_safetensors_metadata(file, "format"));
    qd_safetensors_destroy(file);
    free(bytes);
}

/* Rule 11 for a path: what is not a regular file is refused, and does not block. */
static void only_regular_files_are_opened(void **state)
{
    (void)state;
    qd_error err = { 0 };
    qd_safetensors *file = NULL;
    char folder[4096], path[4200];
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    check_fails(qd_safetensors_open(path, &file, &err), QD_EFORMAT);
    check_contains(err.text, "not a regular file");
    check_fails(qd_safetensors_open(folder, &file, &err), QD_EFORMAT);
    check_fails(qd_safetensors_open("/dev/zero", &file, &err), QD_EFORMAT);
    snprintf(path, sizeof path, "%s/empty", folder);
    check_ok(qd_file_write(path, "", 0, &err));
    check_fails(qd_safetensors_open(path, &file, &err), QD_EFORMAT);
    snprintf(path, sizeof path, "%s/absent", folder);
    check_fails(qd_safetensors_open(path, &file, &err), QD_ENOTFOUND);
    check_ok(qd_dir_remove(folder, &err));
}

/* Rule 10: NaN and infinities are legal in a file; the check names tensor and element. */
static void the_first_value_that_is_not_finite_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        unsigned char bytes[8];
    } bad[] = { { "F32", { 0, 0, 0xc0, 0x7f } },
                { "F32", { 0, 0, 0x80, 0xff } },
                { "F16", { 0, 0x7c } },
                { "BF16", { 0x80, 0xff } },
                { "F64", { 0, 0, 0, 0, 0, 0, 0xf0, 0x7f } } };
    qd_error err = { 0 };
    for (size_t i = 0; i < QD_LENGTH(bad); i++) {
        enum { COUNT = 5000, AT = 4321 };
        const qd_dtype *dtype = qd_dtype_find(bad[i].dtype);
        size_t width = dtype->bits / 8;
        unsigned char *data = calloc(COUNT, width);
        qd_tensor t = { .name = "w",
                        .dtype = dtype,
                        .rank = 1,
                        .shape = { COUNT },
                        .elements = COUNT,
                        .data = data,
                        .bytes = COUNT * width };
        check_ok(qd_tensor_check_finite(&t, &err));
        memcpy(data + AT * width, bad[i].bytes, width);
        check_fails(qd_tensor_check_finite(&t, &err), QD_ENUMERIC);
        check_contains(err.text, "tensor 'w': element 4321 is");
        free(data);
    }
}

static void every_dtype_is_found_by_its_name(void **state)
{
    (void)state;
    size_t count = 0, previous = 64;
    for (const qd_dtype *row; (row = qd_dtype_at(count)) != NULL; count++) {
        assert_ptr_equal(qd_dtype_find(row->name), row);
        assert_true(row->bits <= previous && row->bits > 0); /* the writer's order: widest first */
        previous = row->bits;
    }
    assert_int_equal(count, 22);
    assert_null(qd_dtype_find(""));
    assert_null(qd_dtype_find("F3"));
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[4096], path[4200];
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/out.safetensors", folder);
    const float f32[3] = { 1, -2, 3 };
    const uint16_t half[4] = { 0x3c00, 0, 0x7bff, 0x8001 };
    const signed char bytes[5] = { 1, -1, 127, -128, 0 };
    const qd_tensor_out tensors[] = {
        { "z.bytes", qd_dtype_find("I8"), 2, { 1, 5 }, bytes },
        { "b.half", qd_dtype_find("F16"), 2, { 2, 2 }, half },
        { "a.half", qd_dtype_find("F16"), 1, { 4 }, half },
        { "scalar", qd_dtype_find("F32"), 0, { 0 }, f32 },
        { "f32 \"\\\xc3\xa9", qd_dtype_find("F32"), 1, { 3 }, f32 },
        { "empty", qd_dtype_find("BF16"), 2, { 0, 9 }, NULL },
    };
    const char *keys[] = { "quantd" }, *values[] = { "a \"b\"" };
    check_ok(qd_safetensors_write(path, tensors, QD_LENGTH(tensors), keys, values, 1, &err));
    qd_safetensors *file = NULL;
    check_ok(qd_safetensors_open(path, &file, &err));
    assert_int_equal(qd_safetensors_count(file), QD_LENGTH(tensors));
    assert_string_equal(qd_safetensors_metadata(file, "format"), "pt");
    assert_string_equal(qd_safetensors_metadata(file, "quantd"), "a \"b\"");
    for (size_t i = 0; i < QD_LENGTH(tensors); i++) {
        const qd_tensor *t = qd_safetensors_find(file, tensors[i].name);
        assert_non_null(t);
        assert_ptr_equal(t->dtype, tensors[i].dtype);
        assert_int_equal(t->rank, tensors[i].rank);
        assert_memory_equal(t->shape, tensors[i].shape, t->rank * sizeof t->shape[0]);
        assert_memory_equal(t->data, tensors[i].data == NULL ? (const void *)"" : tensors[i].data, t->bytes);
        assert_int_equal((uintptr_t)t->data % (t->dtype->bits / 8), 0); /* widest first: all aligned */
    }
    const char *order[] = { "f32 \"\\\xc3\xa9", "scalar", "empty", "a.half", "b.half", "z.bytes" };
    for (size_t i = 1; i < 6; i++)
        assert_true(qd_safetensors_find(file, order[i - 1])->data <= qd_safetensors_find(file, order[i])->data);
    qd_safetensors_destroy(file);
    qd_str first = { 0 }, second = { 0 }; /* the same bytes whatever the order given */
    const qd_tensor_out turned[] = { tensors[5], tensors[4], tensors[3], tensors[2], tensors[1], tensors[0] };
    check_ok(qd_file_read(path, 1 << 20, &first, &err));
    check_ok(qd_safetensors_write(path, turned, QD_LENGTH(turned), keys, values, 1, &err));
    check_ok(qd_file_read(path, 1 << 20, &second, &err));
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    assert_int_equal(first.data[0] % 8, 0);
    qd_str_fini(&first);
    qd_str_fini(&second);
    check_ok(qd_dir_remove(folder, &err));
}

static void the_writer_writes_no_file_its_reader_refuses(void **state)
{
    (void)state;
    qd_error err = { 0 };
    char folder[4096], path[4200];
    char **names = NULL;
    size_t count = 0;
    temporary_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/out.safetensors", folder);
    const float one = 1;
    const qd_dtype *f32 = qd_dtype_find("F32"), *f4 = qd_dtype_find("F4");
    const qd_tensor_out twice[] = { { "a", f32, 1, { 1 }, &one }, { "a", qd_dtype_find("I8"), 1, { 1 }, &one } };
    check_fails(qd_safetensors_write(path, twice, 2, NULL, NULL, 0, &err), QD_EINVAL);
    check_contains(err.text, "two tensors are called 'a'");
    const qd_tensor_out reserved = { "__metadata__", f32, 1, { 1 }, &one };
    check_fails(qd_safetensors_write(path, &reserved, 1, NULL, NULL, 0, &err), QD_EINVAL);
    const qd_tensor_out nibble = { "n", f4, 1, { 1 }, &one }, huge = { "h", f32, 2, { 1ull << 40, 1ull << 40 }, &one };
    check_fails(qd_safetensors_write(path, &nibble, 1, NULL, NULL, 0, &err), QD_ESHAPE);
    check_fails(qd_safetensors_write(path, &huge, 1, NULL, NULL, 0, &err), QD_ESHAPE);
    const qd_tensor_out bad = { "\xff", f32, 1, { 1 }, &one };
    assert_int_not_equal(qd_safetensors_write(path, &bad, 1, NULL, NULL, 0, &err), QD_OK);
    check_ok(qd_dir_list(folder, &names, &count, &err));
    assert_int_equal(count, 0); /* no half file, no temporary one */
    qd_names_free(names, count);
    check_fails(qd_safetensors_write("/nonexistent/out", twice, 1, NULL, NULL, 0, &err), QD_ENOTFOUND);
    check_ok(qd_dir_remove(folder, &err));
}

int main(void)
{
    enum { OTHERS = 9 };
    struct CMUnitTest tests[QD_LENGTH(table) + OTHERS] = {
        cmocka_unit_test(a_file_below_8_bytes_is_refused),
        cmocka_unit_test(a_cut_file_is_refused_at_every_length),
        cmocka_unit_test(legal_oddities_are_read),
        cmocka_unit_test(an_empty_object_is_a_file_without_tensors),
        cmocka_unit_test(only_regular_files_are_opened),
        cmocka_unit_test(the_first_value_that_is_not_finite_is_named),
        cmocka_unit_test(every_dtype_is_found_by_its_name),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(the_writer_writes_no_file_its_reader_refuses),
    };
    static char claims[QD_LENGTH(table)][160];
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        snprintf(claims[i], sizeof claims[i], "refused: %s", table[i].claim);
        tests[OTHERS + i] = (struct CMUnitTest){ claims[i], is_refused, NULL, NULL, (void *)(uintptr_t)&table[i] };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
