/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last words of a process that its own runtime ends: Python's fault handler, the C++ runtime,
 * the C library, a sanitizer. Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>

/* Slices lie in the text that was searched. */
struct fatal_text {
    struct mu_slice what;  /* "Fatal Python error: Segmentation fault", an exception's what() */
    struct mu_slice where; /* `File "train.py", line 3 in main`; else empty */
    struct mu_slice quote; /* from the first line of it on */
    bool is_stack_overflow;
};

/* The last of them. */
bool fatal_text_find(struct mu_slice text, struct fatal_text *ret);
