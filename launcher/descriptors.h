/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: the three standard ones, how many there may be, pipes from children. Process-wide.
 * Threading: one thread; descriptors_restore_limit() also after a fork.
 */
#pragma once

#include "muster/err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Put /dev/null wherever a standard descriptor is closed. Else the next file that is opened takes
 * its number: messages would go to a socket, and a worker would inherit it as its standard input.
 */
void descriptors_fill_standard(void);

/* MU_E_SYSTEM if one of them is closed nevertheless: nothing for workers may be opened then. */
int descriptors_check_standard(struct mu_err *err);

/*
 * A terminal, a pipe for both? Then one sink must serve them, so that lines of one do not break
 * those of the other.
 */
bool descriptors_are_one_file(int a, int b);

/*
 * A pipe, close-on-exec: the end to read from, which does not block, and the other one, which does:
 * that is for a child. Returns 0, or -1 and errno.
 */
int descriptors_open_pipe(int *ret_here, int *ret_there);

/*
 * Allow as many descriptors as the hard limit does: a coordinator has one for each worker of the
 * job. Programs that use select(2) rely on the soft limit, so workers get it back as it was.
 */
void descriptors_raise_limit(void);

/* In a child: the soft limit as it was before descriptors_raise_limit(). A system call only. */
void descriptors_restore_limit(void);

/* Was it raised? Then *soft is what it was before, and what workers get; -1: unlimited. */
void descriptors_workers_limit(int64_t *soft);
