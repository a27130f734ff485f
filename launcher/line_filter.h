/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of a stream that contain one of several texts: --duplicate-stdout-filters and
 * --duplicate-stderr-filters. Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* What is looked for; shared by all streams. */
struct line_filter {
    struct mu_slice *texts; /* owned, as are their bytes */
    size_t count;           /* 0: nothing matches */
};

/*
 * TEXT[,TEXT...], where ",," is a comma inside a text. Empty texts are ignored. NULL is an empty
 * list. Release with line_filter_fini().
 */
void line_filter_init(struct line_filter *f, const char *list);
void line_filter_fini(struct line_filter *f);

/* One stream on its way through a filter. Zero-initialised. */
struct line_filter_stream {
    struct mu_buf held; /* the beginning of a line */
    bool is_after_cr;
};

/*
 * Whole lines of data[0..len) and of what was held before that match are appended to `out`, each
 * behind `prefix` and ended with one newline. A line ends as for a line_stream. One longer than
 * LINE_STREAM_MAX is judged in pieces, as if each were a line.
 */
void line_filter_add(struct line_filter_stream *s, const struct line_filter *f, const char *prefix,
                     const char *data, size_t len, struct mu_buf *out);

/* Nothing will follow: what is held is a line. */
void line_filter_end(struct line_filter_stream *s, const struct line_filter *f, const char *prefix,
                     struct mu_buf *out);

void line_filter_stream_fini(struct line_filter_stream *s);
