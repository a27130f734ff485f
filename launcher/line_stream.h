/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker's stream on its way to a console that it shares with others: a prefix before every
 * line, and no line inside another. Pure: bytes go in, what is to be written now comes out.
 * Threading: any.
 *
 * A line ends with a newline or, so that progress bars redraw in place, with a carriage return; the
 * two together are one end. Lines go out whole. The beginning of one whose end has not come is held
 * until line_stream_flush() gives it out, or until it is LINE_STREAM_MAX bytes long; then it stands
 * open on the console and the stream continues it. If somebody else writes there meanwhile, the
 * open line is ended with a newline first, and its rest gets a line and a prefix of its own. So a
 * prefix is only ever at the beginning of a line (after a newline or a carriage return), bytes stay
 * as they are and in their order, and the only ones added are prefixes and such newlines. (A
 * newline that comes after all for a line that was ended so is left out, and so is a carriage
 * return where a line has nothing yet.)
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINE_STREAM_MAX = 64 * 1024 };

/* Zero-initialised but for the prefix. */
struct line_stream {
    struct mu_slice prefix; /* borrowed */
    struct mu_buf held;     /* of the current line, not given out yet */
    bool is_begun;          /* the current line's beginning was given out */
    bool is_after_cr;       /* the line before it ended with a carriage return */
};

/* How the console was left. */
struct line_place {
    bool is_own;   /* nobody has written there since this stream did */
    bool is_fresh; /* at the beginning, or after a newline */
};

/* Bytes of the worker. What is to be written to the console now is appended to `out`. */
void line_stream_add(struct line_stream *s, struct line_place place, const char *data, size_t len,
                     struct mu_buf *out);

/* Give out what is held: it has been held for long enough, or nothing will follow. */
void line_stream_flush(struct line_stream *s, struct line_place place, struct mu_buf *out);

static inline bool line_stream_is_holding(const struct line_stream *s)
{
    return s->held.len > 0;
}

void line_stream_fini(struct line_stream *s);
