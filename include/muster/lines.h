/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that somebody else wrote, seen as lines. Nothing is copied. Threading: any.
 */
#pragma once

#include "muster/buf.h"

/*
 * Take the first line off `rest`, without its end; a progress bar's \r ends one too. Returns false
 * at the end. Empty lines count.
 */
bool lines_next(struct mu_slice *rest, struct mu_slice *ret_line);

bool lines_starts_with(struct mu_slice text, const char *with);

/* Where `what` is in the text; NULL: nowhere. */
const char *lines_find(struct mu_slice text, const char *what);

/* The line of `text` that `at`, a place in it, is in. */
struct mu_slice lines_around(struct mu_slice text, const char *at);

/* The last `count` lines of a text, of at most `size` bytes: whole lines if one fits. */
struct mu_slice lines_last(struct mu_slice text, size_t count, size_t size);

/* The first ones. */
struct mu_slice lines_first(struct mu_slice text, size_t count, size_t size);

/*
 * Take the escape sequences of terminals (colours, titles) out of a text, in place, and NULs, which
 * torch's signal handlers write after each of their lines. Returns the text's new length.
 */
size_t lines_strip_escapes(char *text, size_t len);

/* Make it one line: control bytes of the text become spaces. */
void lines_flatten(char *text);

/* From the beginning of `a` to the end of `b`, which lies behind it in the same text. */
struct mu_slice lines_span(struct mu_slice a, struct mu_slice b);
