/* fuzz_record.c: any bytes as what a download left on the disk. First byte 'p': the record of a partial file (of 100 bytes), with and without a
 * digest to check against; 'i': the record of a source. What is continued lies within the file and can be proved. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/part.h"
#include "fetch/transfer.h"
#include "tests/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PART_BYTES = 100 };
#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void check(int holds)
{
    if (!holds)
        abort();
}

static void try_partial(const qd_cache *cache, const uint8_t *data, size_t size, qd_proof proof)
{
    static const char bytes[PART_BYTES];
    qd_part part;
    qd_error err = { 0 };
    fuzz_folder_put("partial/" KEY, bytes, sizeof bytes);
    fuzz_folder_put("partial/" KEY ".json", data, size);
    check(qd_part_init(&part, cache, KEY, "https://example.org/x", proof, 0, &err) == QD_OK);
    check(part.offset <= PART_BYTES && part.offset == part.synced);
    check((part.offset > 0) == (part.origin == QD_PART_RESUMED));
    check(part.offset == 0 || proof == QD_PROOF_DIGEST || qd_etag_is_strong(part.etag));
    check(strlen(part.etag) < sizeof part.etag);
    qd_part_fini(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static qd_cache cache; /* made once: its folders are */
    qd_index_entry entry;
    if (cache.root == NULL)
        check(qd_cache_init(&cache, fuzz_folder_path(), NULL) == QD_OK);
    if (size == 0)
        return 0;
    if (data[0] == 'p') {
        try_partial(&cache, data + 1, size - 1, QD_PROOF_NONE);
        try_partial(&cache, data + 1, size - 1, QD_PROOF_DIGEST);
    } else if (data[0] == 'i') {
        fuzz_folder_put("index/" KEY ".json", data + 1, size - 1);
        check(qd_cache_recall(&cache, KEY, &entry) == QD_DIFFERENT); /* there is no blob, whatever it says */
    }
    return 0;
}
