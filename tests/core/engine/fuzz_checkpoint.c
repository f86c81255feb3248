/* fuzz_checkpoint.c: any bytes as a finished layer's file: it is not there as far as the run is concerned, or it is the layer, with codes on its
 * grid. corpus_checkpoint/sound is what qd_checkpoint_write made of this layer; with QUANTD_FUZZ_WRITE=FOLDER it is made again there. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/checkpoint.h"
#include "quant/scale.h"
#include "tests/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT = 2, IN = 16, GROUP = 8 };
static const char key[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const qd_linear linear = { .name = "layer", .out = OUT, .in = IN };

static qd_grid_spec spec_of_layer(void)
{
    return (qd_grid_spec){ .alphabet = qd_alphabet_find("int"),
                           .bits = 4,
                           .group_size = GROUP,
                           .rule = qd_scale_rule_find("minmax"),
                           .shrink = 1,
                           .scale_type = qd_scale_type_find("f32") };
}

static void write_sound(const char *folder)
{
    qd_error err = { 0 };
    qd_grid_spec spec = spec_of_layer();
    qd_checkpoint made = { .record = json_pack("{s:i, s:s}", "index", 0, "name", "layer") };
    qd_grid_shape(&spec, IN, &made.grid);
    if (qd_grid_allocate(spec.scale_type, OUT, &made.grid, &err) != QD_OK ||
        qd_alloc(OUT * IN, 1, (void **)&made.codes, &err) != QD_OK)
        abort();
    for (size_t i = 0; i < OUT * IN; i++)
        made.codes[i] = (uint8_t)(i % 16);
    for (size_t o = 0; o < OUT; o++)
        for (size_t g = 0; g < IN / GROUP; g++)
            qd_matf_row(made.grid.scale.view, o)[g] = 0.5F + (float)(o + g);
    if (qd_checkpoint_write(folder, 0, key, &linear, &made, &err) != QD_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    qd_checkpoint_fini(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qd_error err = { 0 };
    qd_checkpoint found = { 0 };
    qd_grid_spec spec = spec_of_layer();
    const char *folder = getenv("QUANTD_FUZZ_WRITE");
    if (folder != NULL)
        write_sound(folder);
    fuzz_folder_put("layers/00000.safetensors", data, size);
    qd_code code = qd_checkpoint_read(fuzz_folder_path(), 0, key, &linear, &spec, &found, &err);
    if (code == QD_OK) {
        assert(found.record != NULL && found.codes != NULL);
        for (size_t i = 0; i < OUT * IN; i++)
            assert(found.codes[i] <= found.grid.high - found.grid.low);
        qd_checkpoint_fini(&found);
    } else
        assert((code == QD_ENOTFOUND || code == QD_ENOMEM) && err.text[0] != '\0');
    return 0;
}
