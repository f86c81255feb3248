/* help.c: options in words: --help, the manual page, --check-config; see config.h. */
#include "config/config.h"

#include "config/option.h"
#include "config/value.h"

const char qd_config_sources[] =
    "Every option is also a key of the configuration file and, upper-cased with _ for -, an environment variable:\n"
    "--allow-net is allow-net and QUANTD_ALLOW_NET (values separated by commas). QUANTD_CONFIG names the file.\n"
    "A flag wins over the environment, the environment over the file; repeatable options add up.\n"
    "After SIGHUP all three are read again: options marked (reload) take effect at once, others at the next start.";

bool qd_config_option_at(size_t index, qd_option_help *out)
{
    const qd_option *o = qd_option_at(index);
    if (o == NULL)
        return false;
    *out = (qd_option_help){ .name = o->name,
                             .argument = o->argument,
                             .fallback = o->fallback,
                             .help = o->help,
                             .reload = o->when == QD_AT_RELOAD };
    qd_option_environment(o, out->environment);
    QD_AUTO(qd_str_fini) qd_str range = { 0 };
    qd_option_range(o, &range);
    snprintf(out->range, sizeof out->range, "%s", qd_str_borrow(&range));
    return true;
}

void qd_config_print_help(FILE *out)
{
    qd_option_help o;
    fprintf(out, "  --%-36s %s\n", "config FILE", "lines of `name = value`, # starts a comment");
    fprintf(out, "  --%-36s %s\n", QD_CONFIG_CHECK_FLAG,
            "print what every option is and where it was set, and end; wrong ones are named");
    for (size_t i = 0; qd_config_option_at(i, &o); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o.name, o.argument == NULL ? "" : " ",
                 o.argument == NULL ? "" : o.argument);
        fprintf(out, "  --%-36s %s%s%s%s%s\n", left, o.help, o.fallback == NULL ? "" : " [",
                o.fallback == NULL ? "" : o.fallback, o.fallback == NULL ? "" : "]", o.reload ? " (reload)" : "");
    }
    fprintf(out, "\n%s\n", qd_config_sources);
}

static void print_sources(unsigned sources, FILE *out)
{
    static const struct {
        qd_config_source bit;
        const char *word;
    } words[] = { { QD_FROM_FILE, "file" }, { QD_FROM_ENVIRONMENT, "environment" }, { QD_FROM_FLAGS, "flags" } };
    const char *between = "";
    for (size_t i = 0; i < QD_LENGTH(words); i++)
        if (sources & words[i].bit) {
            fprintf(out, "%s%s", between, words[i].word);
            between = " and ";
        }
    fputs(sources == 0 ? "default\n" : "\n", out);
}

void qd_config_print(const qd_config *config, FILE *out)
{
    for (size_t i = 0; qd_option_at(i) != NULL; i++) {
        QD_AUTO(qd_str_fini) qd_str value = { 0 };
        qd_value_print(config, qd_option_at(i), &value);
        fprintf(out, "%s = %s  # ", qd_option_at(i)->name, qd_str_borrow(&value));
        print_sources(config->sources[i], out);
    }
}
