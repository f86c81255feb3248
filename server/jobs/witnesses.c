/* witnesses.c: see witnesses.h. */
#include "jobs/witnesses.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/arithmetic.h"
#include "jobs/state.h"
#include "store/job_rows.h"

enum { MOST = 15 };

/* A ratio, and how much it counts. */
typedef struct word {
    double ratio, weight;
} word;

typedef struct panel {
    word words[MOST];
    size_t count;
} panel;

typedef struct hearing {
    panel jobs, legs[QD_ARITHMETICS][QD_LEGS];
} hearing;

static void say(panel *p, double ratio, double weight)
{
    if (p->count < MOST && ratio > 0 && weight > 0)
        p->words[p->count++] = (word){ ratio, weight };
}

static int compare(const void *a, const void *b)
{
    double x = ((const word *)a)->ratio, y = ((const word *)b)->ratio;
    return x < y ? -1 : x > y;
}

/* 0 where nobody said anything. */
static double median(panel *p)
{
    double all = 0, below = 0;
    qsort(p->words, p->count, sizeof *p->words, compare);
    for (size_t i = 0; i < p->count; i++)
        all += p->words[i].weight;
    for (size_t i = 0; i < p->count; i++) {
        below += p->words[i].weight;
        if (below * 2 >= all)
            return p->words[i].ratio;
    }
    return 0;
}

static void hear_legs(hearing *h, const char *pace)
{
    QD_AUTO(qd_json_fini) json_t *told = pace == NULL ? NULL : json_loads(pace, JSON_DECODE_ANY, NULL);
    const char *arithmetic = json_string_value(json_object_get(told, "arithmetic"));
    int which = arithmetic == NULL ? -1 : qd_arithmetic_find(arithmetic);
    if (which < 0)
        return;
    for (size_t leg = 0; leg < QD_LEGS; leg++) {
        const json_t *found = json_object_get(json_object_get(told, "legs"), qd_leg_name(leg));
        double expected = json_number_value(json_object_get(found, "expected"));
        double seconds = json_number_value(json_object_get(found, "seconds"));
        if (expected > 0)
            say(&h->legs[which][leg], seconds / expected, seconds);
    }
}

static void hear(void *ctx, double ratio, const char *pace)
{
    hearing *h = ctx;
    say(&h->jobs, ratio, 1);
    hear_legs(h, pace);
}

static void conclude(hearing *h, qd_machine *machine)
{
    for (size_t a = 0; a < QD_ARITHMETICS; a++)
        for (size_t leg = 0; leg < QD_LEGS; leg++)
            if (h->legs[a][leg].count > 0)
                machine->leg[a][leg] = median(&h->legs[a][leg]);
    if (h->jobs.count > 0)
        machine->factor = median(&h->jobs);
    machine->witnesses = h->jobs.count;
}

static qd_code read_rows(void *ctx, qd_tx *tx, qd_error *err)
{
    hearing *h = ctx;
    *h = (hearing){ .jobs = { .count = 0 } };
    return qd_job_row_forecasts(tx, qd_state_at(QD_STATE_SUCCEEDED)->name, MOST, hear, h, err);
}

qd_code qd_witnesses_hear(qd_store *store, qd_machine *machine, qd_error *err)
{
    hearing h;
    qd_code code = qd_store_read(store, read_rows, &h, err);
    if (code == QD_OK)
        conclude(&h, machine);
    return code;
}

void qd_witness_read(const char *pace, qd_machine *machine)
{
    hearing h = { .jobs = { .count = 0 } };
    hear_legs(&h, pace);
    conclude(&h, machine);
}
