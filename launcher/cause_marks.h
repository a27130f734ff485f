/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sentences of Python, PyTorch, CUDA, NCCL, gloo and the C library say about a failure.
 *
 * One table of the words they are known by, in the order in which they count. Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/cause.h"

struct cause_mark {
    const char *words; /* as they are written; case matters */
    const char *also;  /* must be there too; NULL: nothing */
    enum cause_kind kind;
    const char *hint; /* what to do; NULL: that depends */
};

/* The first mark in the table that is in the text, and where; NULL: none is. */
const struct cause_mark *cause_marks_find(struct mu_slice text, const char **ret_at);
