/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions that may never be answered, put by child processes: a function of ours that may hang in
 * a driver, a file system or a resolver, or a program. Each has a deadline, at which it is killed
 * with all its process group, and all of them run at once.
 *
 * Nothing of this outlives the calling thread: the children are killed with it. Threading: any;
 * other threads may run meanwhile.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CHECK_CHILD_MAX_OUT = 256 * 1024, /* of standard output; who writes more is killed */
    CHECK_CHILD_MAX_ERR = 4 * 1024,   /* of standard error; what is beyond is dropped */
};

/* Writes its answer to `out`. In the child: no loop, no other thread, no descriptor of muster's. */
typedef void (*check_child_fn)(const void *arg, struct mu_buf *out);

struct check_child;

/* What became of it. */
struct check_answer {
    bool is_done;      /* it ended by itself and said all it had to say */
    bool is_late;      /* it was killed at its deadline */
    int status;        /* a wait status, if is_done */
    struct mu_buf out; /* what it wrote to standard output */
    struct mu_buf err; /* to standard error */
};

/* Call `fn` in a child that may take `ms` milliseconds. Always a child; it fails in its answer. */
struct check_child *check_child_call(check_child_fn fn, const void *arg, int64_t ms);

/* The same for a program, argv[0] being its path, with /dev/null as standard input. */
struct check_child *check_child_exec(const char *const *argv, char *const *envp, int64_t ms);

/* Wait until all have answered or are late. */
void check_child_wait(struct check_child *const *children, size_t count);

/* After check_child_wait(): the answer, borrowed. */
const struct check_answer *check_child_answer(const struct check_child *c);

/* NULL-safe. A child that was not waited for is killed. */
void check_child_free(struct check_child *c);
