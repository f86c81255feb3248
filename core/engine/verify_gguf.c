/* verify_gguf.c: a GGUF in an artifact stands alone for its readers: what its metadata says must be what config.json says. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "engine/verify.h"
#include "model/gguf_config.h"

/* A number of a config; what is left out is what every reader takes instead. */
static double number_of(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    double heads = json_number_value(json_object_get(config, "num_attention_heads"));
    if (json_is_number(value))
        return json_number_value(value);
    if (strcmp(key, "num_key_value_heads") == 0)
        return heads;
    if (strcmp(key, "head_dim") == 0)
        return heads > 0 ? json_number_value(json_object_get(config, "hidden_size")) / heads : 0;
    if (strcmp(key, "rms_norm_eps") == 0)
        return 1e-6;
    return NAN;
}

static void compare(const json_t *made, const json_t *said, const char *file, qd_findings *findings)
{
    static const char *const keys[] = { "hidden_size",         "intermediate_size",   "num_hidden_layers",
                                        "num_attention_heads", "num_key_value_heads", "head_dim",
                                        "vocab_size",          "rms_norm_eps" };
    for (size_t i = 0; i < QD_LENGTH(keys); i++) {
        double a = number_of(made, keys[i]), b = number_of(said, keys[i]);
        if (!(fabs(a - b) <= 1e-6 * fabs(b))) /* stored as float32 there */
            qd_findings_add(findings, file, "its metadata say %s %.9g, config.json says %.9g", keys[i], a, b);
    }
}

void qd_verify_gguf(const qd_model *model, qd_findings *findings)
{
    QD_AUTO(qd_gguf_set_fini) qd_gguf_set set = { 0 };
    QD_AUTO(qd_json_fini) json_t *made = NULL, *said = NULL;
    qd_error why = { 0 };
    qd_code code = qd_gguf_set_open(qd_model_borrow_path(model), &set, &why);
    if (code == QD_ENOTFOUND)
        return;
    if (code == QD_OK)
        code = qd_gguf_config_beside(qd_model_borrow_path(model), &said, &why);
    if (code == QD_OK)
        code = qd_gguf_set_config(&set, &made, &why);
    if (code != QD_OK)
        qd_findings_add(findings, "GGUF", "%s", why.text);
    else if (said != NULL)
        compare(made, said, set.names[0], findings);
}
