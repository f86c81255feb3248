/* convert_fit.h: a grid that another format takes and that has exactly the values of a stored solution.
 * Room: core/export, private to it. May use: base, quant, model.
 * Threads: called from one thread.
 * Source: formats.md §6.6. The same values have several grids: a scale repeated for smaller groups, whole steps from zero as signed codes of
 * as many bits as they need, a scale type that holds every one of the scales. */
#ifndef QD_EXPORT_CONVERT_FIT_H
#define QD_EXPORT_CONVERT_FIT_H

#include "export/artifact.h"

enum { QD_SCALE_TYPES_MAX = 32 };

/* What all layers of a folder hold. */
typedef struct qd_survey {
    qd_grid_spec spec;                           /* as its files tell it */
    bool integers;                               /* values are whole steps of a scale */
    bool integer_zero;                           /* some layer has zero points */
    double lowest, highest;                      /* steps from zero */
    size_t scales;                               /* in all layers */
    size_t lost[QD_SCALE_TYPES_MAX];             /* of these, not exact in scale type i */
    const char *lossy_layer[QD_SCALE_TYPES_MAX]; /* where the first of them is */
} qd_survey;
qd_code qd_survey_take(const qd_artifact *artifact, qd_survey *out, qd_error *err);

/* With codes as they are, or as signed steps from zero, of as many bits as the container takes: those may be more. */
typedef enum qd_fit_codes { QD_FIT_SAME, QD_FIT_STEPS, QD_FIT_WAYS } qd_fit_codes;
/* A grid of the variant with the values of the survey's. QD_EINVAL says what is in the way: the format's own reason, or how many scales would be
 * rounded. */
qd_code qd_fit_find(const qd_artifact *artifact, const qd_survey *survey, const qd_format *format, size_t variant,
                    qd_fit_codes codes, qd_grid_spec *out, qd_error *err);
/* A layer on that grid (new grid and codes). */
qd_code qd_fit_layer(const qd_artifact *artifact, const qd_linear *linear, const qd_grid_spec *spec, qd_grid *grid,
                     uint8_t **out_codes, qd_error *err);

#endif
