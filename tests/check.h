/* check.h: cmocka and the assertions it lacks. Every test file includes this one header. */
#ifndef QD_TESTS_CHECK_H
#define QD_TESTS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

/* |got - want| <= relative * max(|want|, 1e-300) + absolute; prints both with 17 digits. (cmocka's assert_float_equal
 * takes floats: doubles are silently cut to 24 bits.) */
#define check_close(got, want, relative) check_close_at((got), (want), (relative), 0.0, __FILE__, __LINE__)
#define check_near(got, want, absolute) check_close_at((got), (want), 0.0, (absolute), __FILE__, __LINE__)

static inline void check_close_at(double got, double want, double relative, double absolute, const char *file, int line)
{
    if (fabs(got - want) <= relative * fabs(want) + absolute)
        return;
    print_error("%s:%d: got %.17g, want %.17g (difference %.3g, allowed %.3g)\n", file, line, got, want,
                fabs(got - want), relative * fabs(want) + absolute);
    _fail(file, line);
}

/* The call succeeds; prints its error text otherwise. `err` is a qd_error in scope. */
#define check_ok(call) check_code_at((call), QD_OK, &err, __FILE__, __LINE__)
/* The call fails with this code. */
#define check_fails(call, wanted) check_code_at((call), (wanted), &err, __FILE__, __LINE__)

static inline void check_code_at(qd_code got, qd_code want, const qd_error *err, const char *file, int line)
{
    if (got == want)
        return;
    print_error("%s:%d: got '%s' (%s), want '%s'\n", file, line, qd_code_name(got), got == QD_OK ? "" : err->text,
                qd_code_name(want));
    _fail(file, line);
}

/* `text` contains `part`. */
#define check_contains(text, part) check_contains_at((text), (part), __FILE__, __LINE__)

static inline void check_contains_at(const char *text, const char *part, const char *file, int line)
{
    if (text != NULL && strstr(text, part) != NULL)
        return;
    print_error("%s:%d: '%s' does not contain '%s'\n", file, line, text == NULL ? "(null)" : text, part);
    _fail(file, line);
}

/* Root of the source tree, for fixtures: $QUANTD_SOURCE, or the folder the test runs in. */
static inline const char *source_folder(void)
{
    const char *folder = getenv("QUANTD_SOURCE");
    return folder == NULL ? "." : folder;
}

/* A path below the source tree in a static buffer of the calling test. */
#define SOURCE_PATH(buffer, relative) \
    (snprintf((buffer), sizeof(buffer), "%s/%s", source_folder(), (relative)), (buffer))

/* The optional folder of larger models and texts; NULL where it is absent. */
static inline const char *shared_folder(void)
{
    const char *folder = getenv("QUANTD_SHARED");
    return folder == NULL || folder[0] == '\0' ? NULL : folder;
}

static inline void shared_is_absent(void **state)
{
    (void)state;
}
/* A test that wants $QUANTD_SHARED. Without it the line reads "ok ... # SKIP reason": cmocka's own skip() prints "not
 * ok", which the TAP driver counts as a failure. Only inside a function's initializer. */
#define SHARED_TEST(name, function, state) \
    { \
        shared_folder() == NULL ? name " # SKIP QUANTD_SHARED is not set" : name, \
            shared_folder() == NULL ? shared_is_absent : function, NULL, NULL, state \
    }

/* How many times longer than on an idle machine a wait may take here: QUANTD_TEST_SLOW (sanitizer builds are several times
 * slower), times the processes that want a core. Bounds on wall time are multiplied by it. */
static inline double check_patience(void)
{
    const char *slow = getenv("QUANTD_TEST_SLOW");
    double patience = slow == NULL ? 1 : fmax(1, atof(slow)), load = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return getloadavg(&load, 1) == 1 && cores > 0 ? patience * fmax(1, load / (double)cores) : patience;
}

#endif
