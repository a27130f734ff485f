/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/line_filter.h"

#include "launcher/line_stream.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

static void take_text(struct line_filter *f, struct mu_buf *text)
{
    if (text->len > 0) {
        f->texts = mu_realloc(f->texts, (f->count + 1) * sizeof(*f->texts));
        f->texts[f->count++] = (struct mu_slice){.ptr = (char *)text->data, .len = text->len};
        *text = (struct mu_buf){0};
    }
}

void line_filter_init(struct line_filter *f, const char *list)
{
    struct mu_buf text = {0};
    *f = (struct line_filter){0};
    for (const char *p = list; p != NULL && *p != '\0'; p++) {
        bool is_comma = *p == ',';
        if (is_comma && p[1] != ',') {
            take_text(f, &text);
            continue;
        }
        mu_buf_append_u8(&text, (uint8_t)*p);
        p += is_comma ? 1 : 0;
    }
    take_text(f, &text);
    mu_buf_fini(&text);
}

void line_filter_fini(struct line_filter *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free((void *)(uintptr_t)f->texts[i].ptr);
    }
    free(f->texts);
    *f = (struct line_filter){0};
}

static void judge(const struct line_filter *f, const char *prefix, const char *line, size_t len,
                  struct mu_buf *out)
{
    bool is_match = false;
    for (size_t i = 0; i < f->count && !is_match; i++) {
        is_match = memmem(line, len, f->texts[i].ptr, f->texts[i].len) != NULL;
    }
    if (is_match) {
        mu_buf_append(out, prefix, strlen(prefix));
        mu_buf_append(out, line, len);
        mu_buf_append_u8(out, '\n');
    }
}

static void judge_held(struct line_filter_stream *s, const struct line_filter *f,
                       const char *prefix, struct mu_buf *out)
{
    judge(f, prefix, (const char *)s->held.data, s->held.len, out);
    mu_buf_fini(&s->held);
}

void line_filter_add(struct line_filter_stream *s, const struct line_filter *f, const char *prefix,
                     const char *data, size_t len, struct mu_buf *out)
{
    const char *end = data + len;
    const char *start = data;
    for (const char *p = data; p < end; p++) {
        if (*p != '\n' && *p != '\r') {
            continue;
        }
        bool is_second_half = *p == '\n' && s->is_after_cr && p == start && s->held.len == 0;
        s->is_after_cr = *p == '\r';
        if (s->held.len > 0) {
            mu_buf_append(&s->held, start, (size_t)(p - start));
            judge_held(s, f, prefix, out);
        } else if (!is_second_half) {
            judge(f, prefix, start, (size_t)(p - start), out);
        }
        start = p + 1;
    }
    if (start < end) {
        mu_buf_append(&s->held, start, (size_t)(end - start));
        s->is_after_cr = false;
    }
    if (s->held.len >= LINE_STREAM_MAX) {
        judge_held(s, f, prefix, out);
    }
}

void line_filter_end(struct line_filter_stream *s, const struct line_filter *f, const char *prefix,
                     struct mu_buf *out)
{
    if (s->held.len > 0) {
        judge_held(s, f, prefix, out);
    }
}

void line_filter_stream_fini(struct line_filter_stream *s)
{
    mu_buf_fini(&s->held);
}
