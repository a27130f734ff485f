/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: one value, filled in where the failure is found, wrapped on the way up, printed once.
 *
 * A function that can fail takes `struct mu_err *err` as its last parameter and returns 0 or -1
 * (or NULL). On success `err` is untouched; on failure it holds a stable code and a sentence
 * without a trailing full stop. Out-parameters (`ret_*`) are written on success only.
 *
 * Threading: any; nothing here is shared.
 */
#pragma once

/*
 * code, exit status of a command that ends with it, description.
 * The exit status 2 is for what the user can mend on the command line.
 */
#define MU_ERR_CODES(X)                                                 \
    X(USAGE, 2, "the command line or a configured value is wrong")      \
    X(SYSTEM, 1, "a system call failed")                                \
    X(CONNECT, 1, "a connection could not be made")                     \
    X(TIMEOUT, 1, "a deadline passed")                                  \
    X(PROTOCOL, 1, "a peer sent something the protocol does not allow") \
    X(LIMIT, 1, "a limit was reached")                                  \
    X(REFUSED, 1, "the coordinator refused a request")                  \
    X(LOST, 1, "a peer went away")                                      \
    X(CANCELED, 1, "the operation was cancelled")

enum mu_err_code {
    MU_E_NONE = 0,
#define X(name, exit_status, text) MU_E_##name,
    MU_ERR_CODES(X)
#undef X
};

struct mu_err {
    enum mu_err_code code;
    int sys; /* errno value, or 0 */
    char text[512];
};

#define MU_ERR_INIT \
    {               \
        0           \
    }

/* The same for a variable that is needed often: costs nothing like the size of the text. */
static inline void mu_err_clear(struct mu_err *err)
{
    err->code = MU_E_NONE;
    err->sys = 0;
    err->text[0] = '\0';
}

/*
 * Fill in `err` (which may be NULL) and return -1, so that failing is one line:
 *     return mu_err_set(err, MU_E_SYSTEM, errno, "open %s", path);
 * A non-zero `sys` is stored and its text appended as ": No such file or directory".
 */
int mu_err_set(struct mu_err *err, enum mu_err_code code, int sys, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the text already in `err`. Returns -1. */
int mu_err_wrap(struct mu_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The exit status for a command that ends with `err`: 1 or 2, from the table above. */
int mu_err_exit_status(const struct mu_err *err);
