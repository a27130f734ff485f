/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/line_stream.h"

#include <string.h>

enum { KEPT_CAP = 4096 }; /* a larger buffer is given back when a line is over */

/* After this the console stands where the stream's current line continues. */
static void begin(struct line_stream *s, struct line_place *place, struct mu_buf *out)
{
    bool is_open = place->is_own && (s->is_begun || s->is_after_cr);
    if (!place->is_fresh && !is_open) {
        mu_buf_append_u8(out, '\n');
    }
    if (!s->is_begun || !place->is_own) {
        mu_buf_append(out, s->prefix.ptr, s->prefix.len);
    }
    s->is_begun = true;
    *place = (struct line_place){.is_own = true};
}

static void give_out_held(struct line_stream *s, struct mu_buf *out)
{
    mu_buf_append(out, s->held.data, s->held.len);
    s->held.len = 0;
    if (s->held.cap > KEPT_CAP) {
        mu_buf_fini(&s->held);
    }
}

/* Whole lines at the beginning of one, the common case: as fast as can be. */
static void add_fresh_line(struct line_stream *s, const char *data, size_t len, struct mu_buf *out)
{
    uint8_t *to = mu_buf_reserve(out, s->prefix.len + len);
    memcpy(to, s->prefix.ptr, s->prefix.len);
    memcpy(to + s->prefix.len, data, len);
    out->len += s->prefix.len + len;
}

/* A line's last bytes, its end included. */
static void end_line(struct line_stream *s, struct line_place *place, const char *data, size_t len,
                     struct mu_buf *out)
{
    bool is_newline = data[len - 1] == '\n';
    bool is_end_only = len == 1 && s->held.len == 0;
    bool is_over = is_end_only && s->is_begun && !place->is_own;
    if (is_end_only && !is_newline && !s->is_begun) {
        return; /* it is at the beginning of a line already; progress bars begin so */
    }
    if (is_end_only && is_newline && s->is_after_cr && !s->is_begun) {
        /* The second half of "\r\n"; the first may have been ended for us. */
        if (place->is_own) {
            mu_buf_append_u8(out, '\n');
            place->is_fresh = true;
        }
    } else if (!is_over) {
        begin(s, place, out);
        give_out_held(s, out);
        mu_buf_append(out, data, len);
        place->is_fresh = is_newline;
    }
    s->is_begun = false;
    s->is_after_cr = !is_newline;
}

/* The beginning, or more, of a line whose end has not come. */
static void add_open(struct line_stream *s, struct line_place *place, const char *data, size_t len,
                     struct mu_buf *out)
{
    if (len == 0) {
        return;
    }
    bool is_continued = s->is_begun && place->is_own && s->held.len == 0;
    if (is_continued || s->held.len + len >= LINE_STREAM_MAX) {
        begin(s, place, out);
        give_out_held(s, out);
        mu_buf_append(out, data, len);
        return;
    }
    mu_buf_append(&s->held, data, len);
}

void line_stream_add(struct line_stream *s, struct line_place place, const char *data, size_t len,
                     struct mu_buf *out)
{
    const char *end = data + len;
    const char *cr = memchr(data, '\r', len);
    const char *nl = memchr(data, '\n', len);
    while (cr != NULL || nl != NULL) {
        const char *last = nl;
        if (cr != NULL && (nl == NULL || cr < nl)) {
            last = nl == cr + 1 ? nl : cr;
        }
        size_t line_len = (size_t)(last + 1 - data);
        bool is_plain = place.is_fresh && !s->is_begun && s->held.len == 0;
        if (is_plain && *last == '\n' && (line_len > 1 || !s->is_after_cr)) {
            add_fresh_line(s, data, line_len, out);
            place.is_own = true;
            s->is_after_cr = false;
        } else {
            end_line(s, &place, data, line_len, out);
        }
        data = last + 1;
        size_t left = (size_t)(end - data);
        cr = cr != NULL && cr < data ? memchr(data, '\r', left) : cr;
        nl = nl != NULL && nl < data ? memchr(data, '\n', left) : nl;
    }
    add_open(s, &place, data, (size_t)(end - data), out);
}

void line_stream_flush(struct line_stream *s, struct line_place place, struct mu_buf *out)
{
    if (s->held.len > 0) {
        begin(s, &place, out);
        give_out_held(s, out);
    }
}

void line_stream_fini(struct line_stream *s)
{
    mu_buf_fini(&s->held);
}
