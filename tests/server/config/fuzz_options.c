/* fuzz_options.c: any bytes as the configuration file: refused with a sentence that names the file or an option, or taken. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "tests/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char verb[] = "serve", flag[] = "--config", path[512];
    char *words[] = { verb, flag, path, NULL };
    const char *const environment[] = { NULL };
    qd_config config = { 0 };
    qd_error err = { 0 };
    fuzz_folder_put("quantd.conf", data, size);
    snprintf(path, sizeof path, "%s/quantd.conf", fuzz_folder_path());
    if (qd_config_read(3, words, environment, &config, &err) != QD_OK) {
        if (err.text[0] == '\0')
            abort();
    } else if (config.listen == NULL || config.state == NULL || config.workers == 0)
        abort();
    qd_config_fini(&config);
    return 0;
}
