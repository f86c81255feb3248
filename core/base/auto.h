/* auto.h: the one cleanup-attribute macro.
 * Room: core/base. May use: libc. Everyone may include it.
 * Threads: nothing here is shared. */
#ifndef QD_BASE_AUTO_H
#define QD_BASE_AUTO_H

/* QD_AUTO(fini) T x = { 0 };  runs fini(&x) when x leaves scope. Zero-initialize at the declaration,
 * so that every exit is safe. */
#define QD_AUTO(fini) __attribute__((cleanup(fini)))

/* Number of elements of an array (not of a pointer). */
#define QD_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* printf-style checking of a function's format argument. */
#define QD_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

/* free() for a char *, void * or any other heap pointer, through QD_AUTO. */
void qd_free_pointer(void *pointer_to_pointer);
/* close() of a file descriptor >= 0; leaves negative ones alone. */
void qd_close_fd(int *fd);

#endif
