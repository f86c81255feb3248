/* forecast_memory.h: the bytes of a forecast: memory by phase, disk.
 * Room: core/engine, private to it. May use: core.
 * Threads: pure functions. */
#ifndef QD_ENGINE_FORECAST_MEMORY_H
#define QD_ENGINE_FORECAST_MEMORY_H

#include "engine/forecast.h"

/* Fills artifact, checkpoints, scratch and disk; volume is there already. */
qd_code qd_forecast_disk(const qd_recipe *recipe, const qd_model *model, size_t threads, qd_forecast *forecast,
                         qd_error *err);
/* Bytes of hidden states and kept inputs where they are in memory: there they are few (QD_HELD_MOST) and within limits.memory beside all else. 0: they
 * are on disk. */
uint64_t qd_memory_held(const qd_recipe *recipe, const qd_model *model, size_t threads, const qd_volume *volume);
/* The same choice for the quantizing phase of a run, whose volume is known by now. */
qd_matrices qd_memory_matrices(const qd_recipe *recipe, const qd_model *model, size_t threads, const qd_volume *volume);
/* Fills peak and least memory; what qd_forecast_disk fills is there already. */
void qd_forecast_memory(const qd_recipe *recipe, const qd_model *model, const qd_machine *machine,
                        qd_forecast *forecast);

#endif
