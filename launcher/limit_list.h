/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits as users ask for them: --limit. Limits are named as by setrlimit(2), without
 * RLIMIT_, in lower case. Only soft limits are meant: they may be anything up to the hard ones,
 * which nobody but root can raise. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <sys/resource.h>

enum { LIMIT_LIST_MAX = 16 }; /* as many as Linux has */

struct limit_wish {
    int resource;  /* RLIMIT_MEMLOCK, ... */
    bool is_hard;  /* whatever the hard limit is */
    rlim_t wanted; /* in the units of setrlimit(2); RLIM_INFINITY is no limit */
};

struct limit_list {
    size_t count;
    struct limit_wish wishes[LIMIT_LIST_MAX];
};

/*
 * NAME=VALUE[,...]: a value is a number in the limit's unit (bytes, seconds, a count), one with the
 * unit K, M, G or T (of 1024), "unlimited" or "hard". NULL and the empty text are the empty list.
 * MU_E_USAGE, with what is allowed, if the text is something else or has a name twice.
 */
int limit_list_parse(const char *text, struct limit_list *ret_list, struct mu_err *err);

/* "memlock"; static. NULL if Linux has no such limit. */
const char *limit_list_name(int resource);

/* The soft limit that comes of a wish below a hard limit. A computation only. */
rlim_t limit_wish_soft(const struct limit_wish *wish, rlim_t hard);

/* Is the hard limit too low for the wish? */
bool limit_wish_is_short(const struct limit_wish *wish, rlim_t hard);

/*
 * One line, with its newline, for each wish that the hard limits of this process are too low for:
 * the limit, what is wanted, what is allowed, and who can raise it.
 */
void limit_list_say_short(const struct limit_list *list, struct mu_buf *warnings);

/*
 * Set the soft limits of this process; those that cannot be had go to the hard ones. System calls
 * only: it may be called between a fork and an exec. Returns 0, or the errno of one that could not
 * be set at all; the others are set nevertheless.
 */
int limit_list_apply(const struct limit_list *list);
