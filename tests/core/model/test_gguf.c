/* test_gguf.c: every rule of formats.md §6.1, one hostile file each; what is legal; the values of keys. */
#include "gguf_file.h"

#include "model/ggml_types.h"
#include "model/gguf.h"

static const float zeros[64];

/* One hostile file: `make` puts it together, `cut` bytes are taken from its end, `part` is in the message. */
typedef struct hostile {
    const char *claim;
    void (*make)(gguf_file *g);
    size_t cut;
    const char *part;
} hostile;

static void vector(gguf_file *g, const char *name, uint64_t elements)
{
    gf_tensor(g, name, 0, 0, elements, zeros, 4 * elements);
}

static void nothing(gguf_file *g)
{
    (void)g;
}
static void version_1(gguf_file *g)
{
    g->version = 1;
}
static void version_4(gguf_file *g)
{
    g->version = 4;
}
static void big_endian(gguf_file *g)
{
    g->version = 0x03000000;
}
static void many_keys(gguf_file *g)
{
    g->claimed_keys = UINT64_MAX;
}
static void more_keys(gguf_file *g)
{
    gf_put_text(g, "a", "a long text that leaves room for another key");
    g->claimed_keys = 2;
}
static void many_tensors(gguf_file *g)
{
    g->claimed_tensors = UINT64_C(1) << 60;
}
static void more_tensors(gguf_file *g)
{
    vector(g, "a", 16);
    g->claimed_tensors = 2;
}
static void empty_key(gguf_file *g)
{
    gf_put_u32(g, "", 1);
}
static void control_key(gguf_file *g)
{
    gf_put_u32(g, "a\nb", 1);
}
static void foreign_key(gguf_file *g)
{
    gf_put_u32(g, "sch\xc3\xb6n", 1);
}
static void long_key(gguf_file *g)
{
    gf_u64(&g->keys, 65536);
    for (size_t i = 0; i < 65536; i++)
        qd_str_add(&g->keys, "k");
    g->key_count++;
}
static void endless_key(gguf_file *g)
{
    gf_u64(&g->keys, UINT64_MAX - 7);
    gf_u64(&g->keys, 0);
    g->key_count++;
}
static void key_twice(gguf_file *g)
{
    gf_put_u32(g, "twice", 1);
    gf_put_u32(g, "once", 1);
    gf_put_u32(g, "twice", 2);
}
static void unknown_value(gguf_file *g)
{
    gf_key(g, "v", 13);
    gf_u64(&g->keys, 0);
}
static void bool_of_2(gguf_file *g)
{
    gf_put_bool(g, "b", 2);
}
static void bools_of_2(gguf_file *g)
{
    gf_put_array(g, "b", 7, 2);
    qd_str_add_bytes(&g->keys, "\1\2", 2);
}
static void long_string(gguf_file *g)
{
    gf_key(g, "s", 8);
    gf_u64(&g->keys, (UINT64_C(1) << 30) + 1);
}
static void cut_string(gguf_file *g)
{
    gf_key(g, "s", 8);
    gf_u64(&g->keys, 1000);
}
static void nested_array(gguf_file *g)
{
    gf_put_array(g, "n", 9, 1);
    gf_u64(&g->keys, 0);
    gf_u64(&g->keys, 0);
}
static void unknown_elements(gguf_file *g)
{
    gf_put_array(g, "n", 99, 1);
}
static void long_array(gguf_file *g)
{
    gf_put_array(g, "n", 12, UINT64_C(1) << 61); /* times 8 overflows */
}
static void cut_array(gguf_file *g)
{
    gf_put_array(g, "n", 4, UINT64_C(1) << 30);
}
static void cut_strings(gguf_file *g)
{
    gf_put_array(g, "n", 8, 20);
    gf_string(&g->keys, "one");
    gf_string(&g->keys, "two");
}
static void alignment_0(gguf_file *g)
{
    gf_put_u32(g, "general.alignment", 0);
}
static void alignment_24(gguf_file *g)
{
    gf_put_u32(g, "general.alignment", 24);
}
static void alignment_huge(gguf_file *g)
{
    gf_put_u32(g, "general.alignment", 1u << 31);
}
static void alignment_text(gguf_file *g)
{
    gf_put_text(g, "general.alignment", "32");
}
static void empty_name(gguf_file *g)
{
    vector(g, "", 1);
}
static void long_name(gguf_file *g)
{
    vector(g, "a23456789b23456789c23456789d23456789e23456789f23456789g234567890", 1);
}
static void space_in_name(gguf_file *g)
{
    vector(g, "a b", 1);
}
static void name_twice(gguf_file *g)
{
    vector(g, "a", 1);
    vector(g, "b", 1);
    vector(g, "a", 1);
}
static void rank_0(gguf_file *g)
{
    gf_tensor_at(g, "a", 0, 0, NULL, zeros, 4, 0);
}
static void rank_5(gguf_file *g)
{
    const uint64_t sizes[] = { 1, 1, 1, 1, 1 };
    gf_tensor_at(g, "a", 0, 5, sizes, zeros, 4, 0);
}
static void empty_dimension(gguf_file *g)
{
    const uint64_t sizes[] = { 4, 0 };
    gf_tensor_at(g, "a", 0, 2, sizes, zeros, 0, 0);
}
static void elements_of_2_to_63(gguf_file *g)
{
    const uint64_t sizes[] = { UINT64_C(1) << 32, UINT64_C(1) << 31 };
    gf_tensor_at(g, "a", 24, 2, sizes, zeros, 32, 0);
}
static void elements_overflow(gguf_file *g)
{
    const uint64_t sizes[] = { UINT64_C(1) << 40, UINT64_C(1) << 40 };
    gf_tensor_at(g, "a", 24, 2, sizes, zeros, 32, 0);
}
static void bytes_overflow(gguf_file *g)
{
    const uint64_t sizes[] = { UINT64_C(1) << 62 };
    gf_tensor_at(g, "a", 0, 1, sizes, zeros, 32, 0);
}
static void removed_type(gguf_file *g)
{
    gf_tensor(g, "a", 31, 0, 32, zeros, 18);
}
static void unread_type(gguf_file *g)
{
    gf_tensor(g, "a", 19, 0, 256, zeros, 50);
}
static void type_of_2_to_32(gguf_file *g)
{
    gf_tensor(g, "a", UINT32_MAX, 0, 32, zeros, 18);
}
static void half_a_block(gguf_file *g)
{
    gf_tensor(g, "a", 12, 2, 128, zeros, 144); /* 256 elements, but no row of 256 */
}
static void offset_behind(gguf_file *g)
{
    vector(g, "a", 1);
    const uint64_t sizes[] = { 1 };
    gf_tensor_at(g, "b", 0, 1, sizes, zeros, 4, 32);
}
static void offset_before(gguf_file *g)
{
    vector(g, "a", 16);
    const uint64_t sizes[] = { 1 };
    gf_tensor_at(g, "b", 0, 1, sizes, zeros, 4, (uint64_t)-64);
}
static void offset_unaligned(gguf_file *g)
{
    vector(g, "a", 1);
    const uint64_t sizes[] = { 1 };
    gf_tensor_at(g, "b", 0, 1, sizes, zeros, 4, (uint64_t)-28);
}
static void one_vector(gguf_file *g)
{
    vector(g, "a", 16);
}
static void claimed_vector(gguf_file *g)
{
    gf_tensor(g, "a", 0, 0, UINT64_C(1) << 40, zeros, 64);
}

static const hostile table[] = {
    { "three bytes", nothing, 32 - 3, "magic: 4 bytes at byte 0, but the file ends after 3" },
    { "no version", nothing, 32 - 6, "version: 4 bytes at byte 4" },
    { "no counts", nothing, 32 - 12, "number of tensors" },
    { "version 1", version_1, 0, "version 1; 2 and 3 are read" },
    { "version 4", version_4, 0, "version 4; 2 and 3 are read" },
    { "bytes the other way round", big_endian, 0, "a big-endian file" },
    { "2^64 - 1 keys", many_keys, 0, "18446744073709551615 keys in 8 bytes" },
    { "a key more than there are", more_keys, 0, "key 1: 8 bytes at byte 89" },
    { "2^60 tensors", many_tensors, 0, "tensors in 8 bytes, the limit is 65536" },
    { "a tensor more than there are", more_tensors, 0, "tensor 1" },
    { "an empty key", empty_key, 0, "key 0: an empty name" },
    { "a newline in a key", control_key, 0, "key 0: byte 0x0a at 1" },
    { "a key beyond ASCII", foreign_key, 0, "key 0: byte 0xc3 at 3" },
    { "a key of 65536 bytes", long_key, 0, "key 0: a string of 65536 bytes, the limit is 65535" },
    { "a key of 2^64 - 8 bytes", endless_key, 0, "the limit is 65535" },
    { "a key twice", key_twice, 0, "key 'twice' is there twice" },
    { "a value of type 13", unknown_value, 0, "key 'v': value type 13 is not known" },
    { "a bool of 2", bool_of_2, 0, "key 'b': a bool stored as 2" },
    { "an array with a bool of 2", bools_of_2, 0, "key 'b': a bool stored as 2" },
    { "a string beyond 2^30", long_string, 0, "key 's': a string of 1073741825 bytes" },
    { "a string beyond the file", cut_string, 0, "key 's': 1000 bytes at byte" },
    { "an array of arrays", nested_array, 0, "key 'n': an array of arrays" },
    { "an array of type 99", unknown_elements, 0, "key 'n': value type 99" },
    { "an array of 2^61 doubles", long_array, 0, "key 'n': an array of 2305843009213693952 elements" },
    { "an array beyond the file", cut_array, 0, "key 'n': 4294967296 bytes at byte" },
    { "an array of strings beyond the file", cut_strings, 0, "key 'n': " },
    { "alignment 0", alignment_0, 0, "'general.alignment': 0 is no power of two" },
    { "alignment 24", alignment_24, 0, "'general.alignment': 24 is no power of two" },
    { "alignment 2^31", alignment_huge, 0, "is no power of two from 1 to 1048576" },
    { "alignment as a text", alignment_text, 0, "a uint32 is wanted, found string" },
    { "an empty name", empty_name, 0, "tensor 0: an empty name" },
    { "a name of 64 bytes", long_name, 0, "tensor 0: a string of 64 bytes, the limit is 63" },
    { "a space in a name", space_in_name, 0, "tensor 0: byte 0x20 at 1" },
    { "a name twice", name_twice, 0, "tensor 'a' is there twice" },
    { "no dimension", rank_0, 0, "tensor 'a': 0 dimensions" },
    { "five dimensions", rank_5, 0, "tensor 'a': 5 dimensions; 1 to 4" },
    { "a dimension of 0", empty_dimension, 0, "tensor 'a': dimension 1 of 0" },
    { "2^63 elements", elements_of_2_to_63, 0, "tensor 'a': dimension 1 of 2147483648" },
    { "elements that overflow", elements_overflow, 0, "tensor 'a': dimension 1 of 1099511627776" },
    { "bytes that overflow", bytes_overflow, 0, "tensor 'a': the number of bytes overflows" },
    { "a removed type", removed_type, 0, "tensor 'a': type 31 is not read here; F32, F16, Q4_0" },
    { "a type without a row", unread_type, 0, "tensor 'a': type 19 IQ1_S is not read here; F32, F16" },
    { "type 2^32 - 1", type_of_2_to_32, 0, "type 4294967295 is not read here" },
    { "rows of half a block", half_a_block, 0, "tensor 'a': rows of 128 elements are no whole blocks of 256 (Q4_K)" },
    { "a hole between tensors", offset_behind, 0, "tensor 'b': offset 64, but the tensors before it end at 32" },
    { "tensors that overlap", offset_before, 0, "tensor 'b': offset 0, but the tensors before it end at 64" },
    { "a tensor that is not aligned", offset_unaligned, 0, "tensor 'b': offset 4" },
    { "data cut by a byte", one_vector, 1, "tensor 'a': 64 bytes at byte" },
    { "no data", one_vector, 64, "tensor 'a': 64 bytes at byte" },
    { "data beyond the file", claimed_vector, 0, "tensor 'a': 4398046511104 bytes at byte" },
};

static qd_code parse(gguf_file *g, size_t cut, unsigned char **out_bytes, qd_gguf **out, qd_error *err)
{
    size_t size = 0;
    unsigned char *whole = gguf_file_finish(g, &size), *bytes = malloc(size - cut);
    memcpy(bytes, whole, size - cut);
    free(whole);
    *out_bytes = bytes;
    return qd_gguf_parse("f.gguf", bytes, size - cut, out, err);
}

static void hostile_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < QD_LENGTH(table); i++) {
        gguf_file g = { 0 };
        unsigned char *bytes = NULL;
        qd_gguf *file = NULL;
        qd_error err = { 0 };
        table[i].make(&g);
        if (parse(&g, table[i].cut, &bytes, &file, &err) == QD_OK)
            fail_msg("accepted: %s", table[i].claim);
        if (err.code != QD_EFORMAT && err.code != QD_EUNSUPPORTED)
            fail_msg("%s: %s", table[i].claim, err.text);
        check_contains(err.text, "'f.gguf': ");
        if (strstr(err.text, table[i].part) == NULL)
            fail_msg("%s: '%s' does not contain '%s'", table[i].claim, err.text, table[i].part);
        free(bytes);
    }
}

/* A file with a key of each type, arrays, and tensors of several types. */
static void make_rich(gguf_file *g)
{
    static const unsigned char ones[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    static const unsigned sizes[] = { 1, 1, 2, 2, 4, 4, 0, 0, 0, 0, 8, 8 };
    char key[] = "int.00";
    for (uint32_t type = 0; type < QD_LENGTH(sizes); type++)
        if (sizes[type] > 0) {
            snprintf(key, sizeof key, "int.%02u", type % 100);
            gf_key(g, key, type);
            qd_str_add_bytes(&g->keys, ones, sizes[type]);
        }
    gf_put_text(g, "general.architecture", "llama");
    gf_put_f32(g, "real", 0.1f);
    gf_put_f32(g, "infinite", INFINITY);
    const double pi = M_PI;
    gf_key(g, "double", 12);
    qd_str_add_bytes(&g->keys, &pi, sizeof pi);
    gf_put_bool(g, "yes", 1);
    gf_put_bool(g, "no", 0);
    gf_key(g, "nul", 8);
    gf_u64(&g->keys, 3);
    qd_str_add_bytes(&g->keys, "a\0b", 3);
    gf_put_array(g, "words", 8, 3);
    gf_string(&g->keys, "one");
    gf_string(&g->keys, "");
    gf_string(&g->keys, "three");
    gf_put_array(g, "numbers", 5, 2);
    gf_u32(&g->keys, 7);
    gf_u32(&g->keys, (uint32_t)-8);
    gf_put_array(g, "none", 6, 0);
}

static void values_are_read_by_their_type(void **state)
{
    (void)state;
    static const long long want[] = { 255, -1, 65535, -1, 4294967295, -1 };
    gguf_file g = { 0 };
    unsigned char *bytes = NULL;
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    make_rich(&g);
    check_ok(parse(&g, 0, &bytes, &file, &err));
    size_t size = 0;
    double real = 0;
    bool truth = false;
    const char *text = NULL;
    for (size_t i = 0; i < QD_LENGTH(want); i++) {
        char key[8];
        snprintf(key, sizeof key, "int.%02zu", i % 100);
        check_ok(qd_gguf_real(file, key, 0, &real, &err));
        check_close(real, (double)want[i], 0);
        qd_code code = qd_gguf_size(file, key, 0, &size, &err);
        assert_int_equal(code, want[i] < 0 ? QD_EFORMAT : QD_OK);
        assert_true(code != QD_OK || size == (size_t)want[i]);
    }
    check_fails(qd_gguf_size(file, "int.10", 0, &size, &err), QD_EFORMAT); /* 2^64 - 1 */
    check_contains(err.text, "'f.gguf': key 'int.10': an integer below 2^63 is wanted, found uint64");
    check_fails(qd_gguf_size(file, "int.11", 0, &size, &err), QD_EFORMAT);
    check_contains(err.text, "key 'int.11': -1 is below 0");
    check_ok(qd_gguf_real(file, "real", 0, &real, &err));
    check_close(real, (double)0.1f, 0);
    check_ok(qd_gguf_real(file, "double", 0, &real, &err));
    check_close(real, M_PI, 0);
    check_fails(qd_gguf_real(file, "infinite", 0, &real, &err), QD_EFORMAT);
    check_contains(err.text, "a finite number is wanted, found float32");
    check_ok(qd_gguf_bool(file, "yes", false, &truth, &err));
    assert_true(truth);
    check_ok(qd_gguf_bool(file, "no", true, &truth, &err));
    assert_false(truth);
    check_fails(qd_gguf_bool(file, "int.04", true, &truth, &err), QD_EFORMAT);
    check_ok(qd_gguf_text(file, "general.architecture", NULL, &text, &err));
    assert_string_equal(text, "llama");
    check_fails(qd_gguf_text(file, "nul", NULL, &text, &err), QD_EFORMAT);
    check_contains(err.text, "key 'nul': a string that holds a NUL byte");
    check_fails(qd_gguf_text(file, "words", NULL, &text, &err), QD_EFORMAT);
    check_contains(err.text, "a string is wanted, found an array of string");
    check_fails(qd_gguf_size(file, "numbers", 0, &size, &err), QD_EFORMAT);
    qd_gguf_destroy(file);
    free(bytes);
}

static void arrays_are_read_and_what_is_absent_is_the_fallback(void **state)
{
    (void)state;
    gguf_file g = { 0 };
    unsigned char *bytes = NULL;
    qd_gguf *file = NULL;
    qd_error err = { 0 };
    size_t size = 0, count = 0;
    double real = 0;
    const char *text = NULL;
    make_rich(&g);
    check_ok(parse(&g, 0, &bytes, &file, &err));
    check_ok(qd_gguf_size(file, "absent", 17, &size, &err));
    check_ok(qd_gguf_real(file, "absent", 0.5, &real, &err));
    check_ok(qd_gguf_text(file, "absent", "fallback", &text, &err));
    assert_true(size == 17 && real == 0.5 && strcmp(text, "fallback") == 0);
    qd_gguf_string *words = NULL;
    int64_t *numbers = NULL;
    double *reals = NULL;
    check_ok(qd_gguf_strings(file, "words", &words, &count, &err));
    assert_true(count == 3 && words[1].length == 0 && words[2].length == 5);
    assert_memory_equal(words[2].data, "three", 5);
    check_ok(qd_gguf_integers(file, "numbers", &numbers, &count, &err));
    assert_true(count == 2 && numbers[0] == 7 && numbers[1] == -8);
    check_ok(qd_gguf_reals(file, "none", &reals, &count, &err));
    assert_true(count == 0);
    free(reals);
    check_ok(qd_gguf_reals(file, "absent", &reals, &count, &err));
    assert_true(reals == NULL && count == 0);
    check_fails(qd_gguf_integers(file, "words", &numbers, &count, &err), QD_EFORMAT);
    check_fails(qd_gguf_strings(file, "numbers", &words, &count, &err), QD_EFORMAT);
    qd_gguf_destroy(file);
    free(bytes);
    free(words);
    free(numbers);
}

/* Tensors in any order of names, of any alignment and both versions; more bytes at the end are nobody's business. */
static void sound_files_are_read(void **state)
{
    (void)state;
    static const uint32_t alignments[] = { 0, 1, 8, 64, 4096 };
    float values[64];
    for (size_t i = 0; i < 64; i++)
        values[i] = (float)i;
    for (size_t k = 0; k < 2 * QD_LENGTH(alignments); k++) {
        gguf_file g = { .version = 2 + k % 2, .alignment = alignments[k / 2] };
        unsigned char *bytes = NULL;
        qd_gguf *file = NULL;
        qd_error err = { 0 };
        float got[64];
        if (g.alignment != 0)
            gf_put_u32(&g, "general.alignment", g.alignment);
        const uint64_t sizes[] = { 4, 3, 2, 1 };
        gf_tensor_at(&g, "z", 0, 4, sizes, values, 96, 0);
        gf_tensor(&g, "half", 1, 0, 3, "\0\x3c\0\x40\0\x44", 6);
        gf_tensor(&g, "a", 2, 2, 32,
                  "\0\x3c\x01\x12\x23\x34\x45\x56\x67\x78\x89\x9a\xab\xbc\xcd\xde\xef\xf0"
                  "\0\x40\x01\x12\x23\x34\x45\x56\x67\x78\x89\x9a\xab\xbc\xcd\xde\xef\xf0",
                  36);
        qd_str_add(&g.data, "trailing");
        check_ok(parse(&g, 0, &bytes, &file, &err));
        assert_int_equal(qd_gguf_version(file), 2 + k % 2);
        assert_int_equal(qd_gguf_count(file), 3);
        assert_string_equal(qd_gguf_at(file, 0)->name, "a");
        assert_null(qd_gguf_at(file, 3));
        assert_null(qd_gguf_find(file, "b"));
        const qd_tensor *z = qd_gguf_find(file, "z"), *a = qd_gguf_find(file, "a");
        assert_true(z->rank == 4 && z->shape[0] == 1 && z->shape[1] == 2 && z->shape[2] == 3 && z->shape[3] == 4);
        assert_ptr_equal(z->dtype, qd_dtype_find("F32"));
        check_ok(qd_tensor_to_floats(z, got, &err));
        assert_memory_equal(got, values, 96);
        check_ok(qd_tensor_to_floats(qd_gguf_find(file, "half"), got, &err));
        assert_true(got[0] == 1 && got[1] == 2 && got[2] == 4);
        check_ok(qd_tensor_rows_to_floats(a, 1, 1, got, &err));
        assert_true(got[0] == 2 * (1 - 8) && got[16] == 2 * (0 - 8) && got[15] == 2 * (0 - 8) && got[31] == 2 * 7);
        check_fails(qd_tensor_rows_to_floats(a, 2, 1, got, &err), QD_ESHAPE);
        check_ok(qd_tensor_check_finite(a, &err));
        qd_gguf_destroy(file);
        free(bytes);
    }
}

/* Cut after any byte, a sound file is refused, or whole enough: never read beyond. */
static void no_cut_is_read_beyond(void **state)
{
    (void)state;
    gguf_file g = { 0 };
    size_t size = 0;
    make_rich(&g);
    vector(&g, "v", 16);
    unsigned char *whole = gguf_file_finish(&g, &size);
    for (size_t length = 0; length <= size; length++) {
        unsigned char *bytes = malloc(length + 1); /* one more: malloc(0) may be NULL */
        qd_gguf *file = NULL;
        qd_error err = { 0 };
        memcpy(bytes, whole, length);
        qd_code code = qd_gguf_parse("cut", bytes, length, &file, &err);
        assert_int_equal(code, length == size ? QD_OK : QD_EFORMAT);
        qd_gguf_destroy(file);
        free(bytes);
    }
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(values_are_read_by_their_type),
        cmocka_unit_test(arrays_are_read_and_what_is_absent_is_the_fallback),
        cmocka_unit_test(sound_files_are_read),
        cmocka_unit_test(no_cut_is_read_beyond),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
