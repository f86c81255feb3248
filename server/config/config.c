/* config.c: where values come from: table, file, environment, flags; see config.h. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/pool.h"
#include "config/option.h"
#include "config/value.h"

/* Flags of `quantd serve` that are no option of the table. */
static const struct {
    const char *name;
    enum { TAKES_VALUE, TAKES_NONE } argument;
} verb_flags[] = { { "config", TAKES_VALUE }, { QD_CONFIG_CHECK_FLAG, TAKES_NONE } };

static size_t index_of(const qd_option *option)
{
    size_t i = 0;
    while (qd_option_at(i) != option)
        i++;
    return i;
}

static void note_source(qd_config *config, const qd_option *option, qd_config_source source)
{
    unsigned char *noted = &config->sources[index_of(option)];
    bool adds_up = option->kind == QD_OPTION_LIST;
    *noted = (unsigned char)(adds_up ? *noted | source : source);
}

static qd_code unknown_option(const char *where, const char *dashes, const char *name, size_t length, qd_error *err)
{
    const qd_option *near = qd_option_nearest(name, length);
    if (near != NULL)
        return qd_fail(err, QD_EINVAL, "%s: unknown option '%s%.*s'; did you mean '%s%s'?", where, dashes, (int)length,
                       name, dashes, near->name);
    return qd_fail(err, QD_EINVAL, "%s: unknown option '%s%.*s'; `quantd serve --help` lists them", where, dashes,
                   (int)length, name);
}

/* A file on its way; lines[i] is where option i stood, 0 = not yet. */
typedef struct reading {
    qd_config *config;
    const char *path;
    size_t lines[QD_OPTIONS_MAX];
} reading;

static qd_code read_line(reading *r, size_t number, char *line, qd_error *err)
{
    char where[300];
    line = qd_trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return QD_OK;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return qd_fail(err, QD_EINVAL, "%s:%zu: 'name = value' is wanted, found '%s'", r->path, number, line);
    *equals = '\0';
    const char *name = qd_trim(line);
    const qd_option *o = qd_option_find(name, strlen(name));
    snprintf(where, sizeof where, "%s:%zu", r->path, number);
    if (o == NULL)
        return unknown_option(where, "", name, strlen(name), err);
    snprintf(where, sizeof where, "%s:%zu: %s", r->path, number, name);
    size_t *first = &r->lines[index_of(o)];
    if (*first > 0 && o->kind != QD_OPTION_LIST)
        return qd_fail(err, QD_EINVAL, "%s: it was given in line %zu already", where, *first);
    *first = number;
    note_source(r->config, o, QD_FROM_FILE);
    return qd_value_set(r->config, o, where, qd_trim(equals + 1), err);
}

static qd_code read_file(qd_config *config, const char *path, qd_error *err)
{
    QD_AUTO(qd_str_fini) qd_str text = { 0 };
    reading r = { .config = config, .path = path };
    qd_code code = qd_file_read(path, 1 << 20, &text, err);
    if (code == QD_OK && memchr(qd_str_borrow(&text), '\0', text.length) != NULL)
        return qd_fail(err, QD_EINVAL, "%s: holds a NUL byte; it is no configuration", path);
    char *rest = text.data;
    for (size_t number = 1; code == QD_OK && rest != NULL; number++) {
        char *line = strsep(&rest, "\n");
        code = read_line(&r, number, line, err);
    }
    return code;
}

static const char *environment_value(const char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
        if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')
            return environment[i] + length + 1;
    return NULL;
}

static qd_code read_environment(qd_config *config, const char *const *environment, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && qd_option_at(i) != NULL; i++) {
        char name[QD_OPTION_ENVIRONMENT];
        qd_option_environment(qd_option_at(i), name);
        const char *value = environment_value(environment, name);
        if (value == NULL)
            continue;
        note_source(config, qd_option_at(i), QD_FROM_ENVIRONMENT);
        code = qd_value_set_all(config, qd_option_at(i), name, value, err);
    }
    return code;
}

/* QD_LENGTH(verb_flags) when it is none. */
static size_t find_verb_flag(const char *name, size_t length)
{
    size_t i = 0;
    while (i < QD_LENGTH(verb_flags) &&
           (strlen(verb_flags[i].name) != length || strncmp(verb_flags[i].name, name, length) != 0))
        i++;
    return i;
}

/* One flag at argv[*at]; --config is skipped here (it was read first). */
static qd_code read_flag(qd_config *config, int argc, char **argv, int *at, qd_error *err)
{
    const char *flag = argv[(*at)++];
    if (strncmp(flag, "--", 2) != 0)
        return qd_fail(err, QD_EINVAL, "'%s': an option --name is wanted", flag);
    const char *name = flag + 2, *value = strchr(name, '=');
    size_t length = value == NULL ? strlen(name) : (size_t)(value - name), verb_flag = find_verb_flag(name, length);
    bool is_option = verb_flag == QD_LENGTH(verb_flags);
    const qd_option *o = is_option ? qd_option_find(name, length) : NULL;
    if (o == NULL && is_option)
        return unknown_option("command line", "--", name, length, err);
    if (!is_option && verb_flags[verb_flag].argument == TAKES_NONE)
        return value == NULL ? QD_OK : qd_fail(err, QD_EINVAL, "%s: no value belongs to it", flag);
    if (value != NULL)
        value++;
    else if (o != NULL && o->kind == QD_OPTION_SWITCH)
        value = "yes";
    else if (*at < argc)
        value = argv[(*at)++];
    else
        return qd_fail(err, QD_EINVAL, "%s: a value is wanted", flag);
    if (o == NULL)
        return QD_OK;
    char where[80];
    snprintf(where, sizeof where, "--%.*s", (int)length, name);
    note_source(config, o, QD_FROM_FLAGS);
    return qd_value_set(config, o, where, value, err);
}

/* The value of --config, wherever it stands. */
static const char *config_path(int argc, char **argv, const char *const *environment)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return environment_value(environment, "QUANTD_CONFIG");
}

static qd_code set_defaults(qd_config *config, qd_error *err)
{
    qd_code code = QD_OK;
    for (size_t i = 0; code == QD_OK && qd_option_at(i) != NULL; i++)
        if (qd_option_at(i)->fallback != NULL)
            code = qd_value_set(config, qd_option_at(i), qd_option_at(i)->name, qd_option_at(i)->fallback, err);
    return code;
}

static void resolve(qd_config *config)
{
    if (config->threads == 0)
        config->threads = qd_pool_processors();
}

qd_code qd_config_read(int argc, char **argv, const char *const *environment, qd_config *out, qd_error *err)
{
    qd_config config = { 0 };
    qd_code code = set_defaults(&config, err);
    const char *path = config_path(argc, argv, environment);
    if (code == QD_OK && path != NULL)
        code = read_file(&config, path, err);
    if (code == QD_OK)
        code = read_environment(&config, environment, err);
    for (int at = 1; code == QD_OK && at < argc;)
        code = read_flag(&config, argc, argv, &at, err);
    if (code != QD_OK) {
        qd_config_fini(&config);
        return code;
    }
    resolve(&config);
    *out = config;
    return QD_OK;
}

void qd_config_fini(qd_config *config)
{
    for (size_t i = 0; qd_option_at(i) != NULL; i++)
        qd_value_fini(config, qd_option_at(i));
    *config = (qd_config){ 0 };
}

unsigned qd_config_choice(const char *name, const char *value)
{
    const qd_option *o = qd_option_find(name, strlen(name));
    unsigned i = 0;
    while (o->choices[i + 1] != NULL && strcmp(o->choices[i], value) != 0)
        i++;
    return i;
}

static void add_name(qd_str *names, const char *name)
{
    qd_str_addf(names, "%s%s", names->length == 0 ? "" : ",", name);
}

void qd_config_adopt(qd_config *config, qd_config *fresh, qd_str *out_applied, qd_str *out_waiting)
{
    for (size_t i = 0; qd_option_at(i) != NULL; i++) {
        const qd_option *o = qd_option_at(i);
        if (qd_value_equal(config, fresh, o))
            continue;
        if (o->when == QD_AT_RELOAD) {
            qd_value_swap(config, fresh, o);
            config->sources[i] = fresh->sources[i];
        }
        add_name(o->when == QD_AT_RELOAD ? out_applied : out_waiting, o->name);
    }
}
