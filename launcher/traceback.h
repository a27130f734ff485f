/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python tracebacks in what a worker wrote to its standard error, amid whatever else is there:
 * other processes' lines, C++ logs after it, torch's "[rank3]: " before each line.
 *
 * Pure; bounded by the text. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>

/* All slices lie in the text that was searched. */
struct traceback {
    struct mu_slice error;  /* "ValueError: bad": the last line, without a prefix */
    struct mu_slice text;   /* the same with the rest of a message of several lines */
    struct mu_slice quote;  /* from "Traceback" to the end of the message */
    struct mu_slice origin; /* the error before it in a chain, or the first of a group; or empty */
    bool is_raised_from;    /* `origin` is said to be its cause: "raise ... from ..." */
    bool is_group;          /* `origin` is one of its exceptions */
    bool is_caught;         /* it does not begin where programs do: somebody caught and showed it */
    struct mu_slice where;  /* `File "train.py", line 3, in main`: the last frame; else empty */
    struct mu_slice thread; /* "Thread-1 (work)", if it ended that thread alone; else empty */
};

/*
 * The last traceback that nobody has caught, as far as the text tells: those that Python ignores
 * ("Exception ignored in") do not count. `ret_thread` is the last one that ended a thread. Returns
 * what was found.
 */
enum traceback_found { TRACEBACK_NONE = 0, TRACEBACK_MAIN = 1, TRACEBACK_THREAD = 2 };

unsigned traceback_find(struct mu_slice text, struct traceback *ret_main,
                        struct traceback *ret_thread);
