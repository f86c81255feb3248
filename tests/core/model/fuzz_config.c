/* fuzz_config.c: any bytes as config.json through every architecture's row: refused, or numbers that make a
 * rotation. */
#include <assert.h>
#include <math.h>

#include "base/json.h"
#include "model/arch_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rope(const qd_rope *rope, size_t head_dim)
{
    enum { POSITIONS = 3, MOST = 64 };
    float cosine[POSITIONS * MOST], sine[POSITIONS * MOST];
    size_t half = rope->dimensions / 2;
    assert(rope->dimensions % 2 == 0 && rope->dimensions > 0 && rope->dimensions <= head_dim);
    for (size_t form = 0; half <= MOST && form < 2; form++) {
        size_t length = form == 0 ? POSITIONS : 1u << 20;
        qd_rope_tables(rope, length, qd_matf_view(cosine, POSITIONS, half), qd_matf_view(sine, POSITIONS, half));
        for (size_t i = 0; i < POSITIONS * half; i++)
            assert(isfinite(cosine[i]) && isfinite(sine[i]));
    }
}

static void check_decoder(const qd_decoder *d)
{
    assert(d->hidden > 0 && d->intermediate > 0 && d->heads > 0 && d->kv_heads > 0 && d->head_dim > 0);
    assert(d->heads % d->kv_heads == 0 && d->activation != NULL);
    assert(d->eps >= 0 && isfinite(d->eps));
    for (size_t i = 0; i < d->blocks; i++) {
        const qd_layer *layer = &d->layers[i];
        assert(isfinite(layer->score_scale) && (layer->rope == QD_NO_ROPE || layer->rope < QD_ROPES));
        assert(layer->experts == 0 || (d->experts_used > 0 && d->experts_used <= layer->experts));
        if (layer->rope != QD_NO_ROPE && (i == 0 || layer->rope != d->layers[i - 1].rope))
            check_rope(&d->ropes[layer->rope], d->head_dim);
    }
}

/* By every row, as a plain model and as the text model of a wrapper. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config = NULL;
    qd_error err = { 0 };
    if (qd_json_parse_object((const char *)data, size, 32, &config, &err) != QD_OK)
        return 0;
    const json_t *const texts[] = { config, json_object_get(config, "text_config") };
    for (size_t i = 0; qd_arch_at(i) != NULL; i++)
        for (size_t k = 0; k < QD_LENGTH(texts); k++) {
            qd_decoder decoder = { 0 };
            if (!json_is_object(texts[k]))
                continue;
            if (qd_decoder_read(qd_arch_at(i), config, texts[k], &decoder, &err) == QD_OK)
                check_decoder(&decoder);
            else
                assert(err.text[0] != '\0');
            qd_decoder_fini(&decoder);
        }
    json_decref(config);
    return 0;
}
