/* fuzz_config.c: any bytes as config.json through every architecture's row: refused, or numbers that make a
 * rotation. */
#include <assert.h>
#include <math.h>

#include "base/json.h"
#include "model/arch_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decoder(const qd_decoder *d)
{
    assert(d->hidden > 0 && d->intermediate > 0 && d->heads > 0 && d->kv_heads > 0 && d->head_dim > 0);
    assert(d->heads % d->kv_heads == 0);
    assert(d->rope.dimensions % 2 == 0 && d->rope.dimensions > 0 && d->rope.dimensions <= d->head_dim);
    assert(d->eps >= 0 && isfinite(d->eps));
    enum { POSITIONS = 3, MOST = 64 };
    float cosine[POSITIONS * MOST], sine[POSITIONS * MOST];
    size_t half = d->rope.dimensions / 2;
    if (half > MOST)
        return;
    qd_rope_tables(&d->rope, qd_matf_view(cosine, POSITIONS, half), qd_matf_view(sine, POSITIONS, half));
    for (size_t i = 0; i < POSITIONS * half; i++)
        assert(isfinite(cosine[i]) && isfinite(sine[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config = NULL;
    qd_error err = { 0 };
    if (qd_json_parse_object((const char *)data, size, 32, &config, &err) != QD_OK)
        return 0;
    for (size_t i = 0; qd_arch_at(i) != NULL; i++) {
        qd_decoder decoder;
        if (qd_arch_at(i)->ops->configure(config, &decoder, &err) == QD_OK)
            check_decoder(&decoder);
        else
            assert(err.text[0] != '\0');
    }
    json_decref(config);
    return 0;
}
