/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: small allocations do not fail (the process aborts with a message), so callers need no
 * error path for them. A size that comes from a peer, a file or the command line is compared with
 * a limit of muster/limits.h before it is passed here.
 *
 * Threading: any.
 */
#pragma once

#include <stddef.h>

/* `size` zeroed bytes, owned by the caller, released with free(). */
void *mu_alloc(size_t size) __attribute__((malloc, returns_nonnull));

/* `count` * `size` zeroed bytes; aborts on overflow of the product. */
void *mu_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* As realloc(); new bytes are not cleared. */
void *mu_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));

/* Copies, owned by the caller. */
char *mu_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *mu_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

/* printf into a new string, owned by the caller. */
char *mu_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/*
 * A contract between our own functions, kept in release builds. Nothing that comes from the wire,
 * a file, the environment or the command line may reach one.
 */
#define MU_REQUIRE(condition) \
    ((condition) ? (void)0 : mu_require_failed(#condition, __FILE__, __LINE__))
void mu_require_failed(const char *condition, const char *file, int line)
    __attribute__((noreturn, cold));

#define MU_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that holds `member` at `ptr`. */
#define mu_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Cleanup attributes for straight-line code; never for anything that holds a loop handle. */
void mu_cleanup_free(void *ptr);
void mu_cleanup_close(int *fd);
#define mu_autofree  __attribute__((cleanup(mu_cleanup_free)))
#define mu_autoclose __attribute__((cleanup(mu_cleanup_close)))
