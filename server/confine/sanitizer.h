/* sanitizer.h: whether this build is watched by a sanitizer, which needs what a release build must not have.
 * Room: server/confine, private to it. May use: libc.
 * Threads: nothing here is shared. */
#ifndef QD_CONFINE_SANITIZER_H
#define QD_CONFINE_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { QD_SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
enum { QD_SANITIZED = 1 };
#else
enum { QD_SANITIZED = 0 };
#endif
#else
enum { QD_SANITIZED = 0 };
#endif

#endif
