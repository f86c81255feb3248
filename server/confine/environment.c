/* environment.c: see environment.h. */
#include "confine/environment.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"

typedef struct variable {
    const char *name; /* with a * at its end: all that begin so */
    qd_environment_for whom;
} variable;

static const variable variables[] = {
    { "PATH", QD_FOR_RUN },
    { "LANG", QD_FOR_RUN },
    { "LC_*", QD_FOR_RUN },
    { "TZ", QD_FOR_RUN },
    { "LD_LIBRARY_PATH", QD_FOR_RUN },
    { "LD_PRELOAD", QD_FOR_RUN },
    { "MALLOC_*", QD_FOR_RUN },
    { "GLIBC_TUNABLES", QD_FOR_RUN },
    { "OPENBLAS_*", QD_FOR_RUN },
    { "ASAN_OPTIONS", QD_FOR_RUN },
    { "LSAN_OPTIONS", QD_FOR_RUN },
    { "TSAN_OPTIONS", QD_FOR_RUN },
    { "UBSAN_OPTIONS", QD_FOR_RUN },
    { "HOME", QD_FOR_LAUNCHER },
    { "USER", QD_FOR_LAUNCHER },
    { "LOGNAME", QD_FOR_LAUNCHER },
    { "TMPDIR", QD_FOR_LAUNCHER },
    { "SLURM_*", QD_FOR_LAUNCHER },
    { "SRUN_*", QD_FOR_LAUNCHER },
    { "PMI_*", QD_FOR_LAUNCHER },
    { "PMIX_*", QD_FOR_LAUNCHER },
    { "OMPI_*", QD_FOR_LAUNCHER },
    { "UCX_*", QD_FOR_LAUNCHER },
};

/* Threads are the pool's: what a library would start besides, it may not. Nothing of OMP_* passes: OMP_PROC_BIND would put the whole pool on
 * one core. */
static const char *const fixed[] = { "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1" };

static bool has_name(const char *word, const char *name)
{
    size_t length = strlen(name);
    if (name[length - 1] == '*')
        return strncmp(word, name, length - 1) == 0;
    return strncmp(word, name, length) == 0 && word[length] == '=';
}

static bool is_fixed(const char *word)
{
    for (size_t i = 0; i < QD_LENGTH(fixed); i++)
        if (strncmp(word, fixed[i], (size_t)(strchr(fixed[i], '=') - fixed[i]) + 1) == 0)
            return true;
    return false;
}

static bool may_pass(const char *word, qd_environment_for whom)
{
    if (is_fixed(word))
        return false;
    for (size_t i = 0; i < QD_LENGTH(variables); i++)
        if (variables[i].whom <= whom && has_name(word, variables[i].name))
            return true;
    return QD_FAULT_VARIABLE(word);
}

qd_code qd_environment_make(char *const *from, qd_environment_for whom, const char *const *extra, char ***out,
                            qd_error *err)
{
    size_t count = 0, kept = 0;
    char **words = NULL;
    while (from[count] != NULL)
        count++;
    for (size_t i = 0; extra[i] != NULL; i++)
        count++;
    qd_code code = qd_alloc(count + QD_LENGTH(fixed) + 1, sizeof *words, (void **)&words, err);
    if (code != QD_OK)
        return code;
    for (size_t i = 0; from[i] != NULL; i++)
        if (may_pass(from[i], whom))
            words[kept++] = from[i];
    for (size_t i = 0; i < QD_LENGTH(fixed); i++)
        words[kept++] = (char *)(uintptr_t)fixed[i]; /* exec's prototype; nothing writes there */
    for (size_t i = 0; extra[i] != NULL; i++)
        words[kept++] = (char *)(uintptr_t)extra[i];
    *out = words;
    return QD_OK;
}
