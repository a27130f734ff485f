/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void) __attribute__((noreturn, cold));
static void out_of_memory(void)
{
    static const char text[] = "muster: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    abort();
}

void *mu_alloc(size_t size)
{
    return mu_calloc(1, size);
}

void *mu_calloc(size_t count, size_t size)
{
    void *p = calloc(count, size > 0 ? size : 1);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

void *mu_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size > 0 ? size : 1);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

char *mu_strdup(const char *s)
{
    return mu_strndup(s, strlen(s));
}

char *mu_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = mu_alloc(len + 1);
    memcpy(copy, s, len);
    return copy;
}

char *mu_asprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) {
        out_of_memory();
    }
    return text;
}

void mu_require_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "muster: internal error: %s:%d: %s does not hold\n", file, line, condition);
    abort();
}

void mu_cleanup_free(void *ptr)
{
    void *p; /* the variable may be a pointer of any type: copy it, do not alias it */
    memcpy(&p, ptr, sizeof(p));
    free(p);
}

void mu_cleanup_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}
