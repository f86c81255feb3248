/* fuzz_replay.c: runs a fuzz target over its stored corpus, as a test, where libFuzzer is not linked.
 * Usage: the corpus folder is $QUANTD_SOURCE/tests/.../corpus_NAME, given by FUZZ_CORPUS at compile time. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    static uint8_t data[1 << 20];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    uint8_t *exact = malloc(size + 1); /* own allocation: a sanitizer sees reads past the end */
    if (exact == NULL)
        return -1;
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(void)
{
    const char *source = getenv("QUANTD_SOURCE");
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", source == NULL ? "." : source, FUZZ_CORPUS);
    DIR *dir = opendir(folder);
    size_t count = 0, failed = 0;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[8192];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        failed += replay(path) != 0;
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    printf("1..1\n%s 1 - %zu corpus files of %s are survived\n", count > 0 && failed == 0 ? "ok" : "not ok", count,
           FUZZ_CORPUS);
    return count > 0 && failed == 0 ? 0 : 1;
}
