/* shut_in.c: see shut_in.h. */
#include "cli/shut_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "confine/cage.h"

enum { COMMAND_MAX = 1 << 20, WORDS_MAX = 256 };
static const char mark[] = "QUANTD_CONFINED";

typedef enum demand { DEMAND_OFF, DEMAND_AUTO, DEMAND_REQUIRE } demand;

static qd_code read_demand(const char *how, demand *out, qd_error *err)
{
    static const char *const words[] = { [DEMAND_OFF] = "off", [DEMAND_AUTO] = "auto", [DEMAND_REQUIRE] = "require" };
    *out = DEMAND_OFF;
    if (how == NULL)
        return QD_OK;
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        if (strcmp(how, words[i]) == 0) {
            *out = (demand)i;
            return QD_OK;
        }
    return qd_fail(err, QD_EINVAL, "--confine: '%s' is not auto, require or off", how);
}

/* The same command line, from inside. Returns when it could not be done. */
static qd_code start_anew(qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    char *words[WORDS_MAX + 1] = { NULL };
    size_t count = 0;
    qd_code code = qd_file_read("/proc/self/cmdline", COMMAND_MAX, &text, err);
    for (char *word = text.data; code == QD_OK && word < text.data + text.length; word += strlen(word) + 1) {
        if (count == WORDS_MAX)
            return qd_fail(err, QD_EINVAL, "the command line has more than %d words", (int)WORDS_MAX);
        words[count++] = word;
    }
    if (code != QD_OK)
        return code;
    execv("/proc/self/exe", words);
    return qd_fail_errno(err, "start anew, confined");
}

static qd_code close_cage(const qd_shut_in *places, const qd_confine_means *means, qd_error *err)
{
    QD_AUTO(qd_cage_fini) qd_cage cage = { .ruleset_fd = -1 };
    const qd_cage_spec spec = {
        .means = *means, .program = "/proc/self/exe", .readable = places->readable, .writable = places->writable
    };
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && places->writable[i] != NULL; i++)
        code = qd_dir_make(places->writable[i], err);
    if (code == QD_OK)
        code = qd_cage_make(&spec, &cage, err);
    if (code != QD_OK)
        return code;
    const char *failed = qd_cage_enter(&cage);
    return failed == NULL ? QD_OK : qd_fail_errno(err, "confine: %s", failed);
}

static qd_code enter(const qd_shut_in *places, demand wanted, qd_error *err)
{
    const qd_confine_means means = qd_confine_probe();
    char applied[QD_MEANS_TEXT], missing[QD_MEANS_TEXT];
    qd_confine_describe(&means, applied);
    qd_confine_missing(&means, missing);
    if (missing[0] != '\0' && wanted == DEMAND_REQUIRE)
        return qd_fail(err, QD_EUNSUPPORTED, "--confine require: there is no %s here", missing);
    fprintf(stderr, "confined: %s%s%s\n", applied, missing[0] == '\0' ? "" : "; not by ", missing);
    qd_code code = close_cage(places, &means, err);
    if (code == QD_OK && setenv(mark, applied, 1) != 0)
        code = qd_fail_errno(err, "confine");
    return code == QD_OK ? start_anew(err) : code;
}

qd_code qd_shut_in_enter(const qd_shut_in *places, qd_error *err)
{
    demand wanted;
    qd_code code = read_demand(places->how, &wanted, err);
    if (code != QD_OK)
        return code;
    if (getenv(mark) != NULL)
        return qd_cage_bolt(err);
    return wanted == DEMAND_OFF ? QD_OK : enter(places, wanted, err);
}
