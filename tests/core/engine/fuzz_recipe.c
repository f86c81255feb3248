/* fuzz_recipe.c: no text of a job breaks the parser; what it takes, it prints and takes again. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "engine/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *request = NULL;
    qd_recipe *recipe = NULL, *again = NULL;
    qd_issues issues;
    qd_error err;
    if (qd_json_parse_object((const char *)data, size, 16, &request, &err) != QD_OK)
        return 0;
    if (qd_recipe_parse(request, &recipe, &issues, &err) == QD_OK) {
        json_t *printed = qd_recipe_print(recipe);
        if (qd_recipe_parse(printed, &again, &issues, &err) != QD_OK)
            abort();
        json_t *twice = qd_recipe_print(again);
        if (!json_equal(printed, twice))
            abort();
        json_decref(twice);
        json_decref(printed);
    } else if (issues.count == 0 || issues.count > QD_ISSUES_MAX)
        abort();
    for (size_t i = 0; i < issues.count; i++) {
        json_t *text = json_string(issues.items[i].detail);
        if (text == NULL) /* a sentence that is no UTF-8 cannot be answered with */
            abort();
        json_decref(text);
    }
    json_decref(qd_recipe_redact(request));
    qd_recipe_destroy(recipe);
    qd_recipe_destroy(again);
    json_decref(request);
    return 0;
}
