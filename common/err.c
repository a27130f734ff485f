/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mu_err_set(struct mu_err *err, enum mu_err_code code, int sys, const char *fmt, ...)
{
    if (err == NULL) {
        return -1;
    }
    char text[sizeof(err->text)]; /* an argument may point into err->text */
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (sys != 0 && n >= 0 && (size_t)n < sizeof(text)) {
        snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(sys));
    }
    err->code = code;
    err->sys = sys;
    memcpy(err->text, text, sizeof(text));
    return -1;
}

int mu_err_wrap(struct mu_err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return -1;
    }
    char text[sizeof(err->text)];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(text)) {
        snprintf(text + n, sizeof(text) - (size_t)n, ": %s", err->text);
    }
    memcpy(err->text, text, sizeof(text));
    return -1;
}

int mu_err_exit_status(const struct mu_err *err)
{
    switch (err->code) {
    case MU_E_NONE:
        return 0;
#define X(name, exit_status, text) \
    case MU_E_##name:              \
        return exit_status;
        MU_ERR_CODES(X)
#undef X
    }
    return 1;
}
