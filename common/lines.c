/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/lines.h"

#include <string.h>

static bool is_end(char c)
{
    return c == '\n' || c == '\r';
}

bool lines_next(struct mu_slice *rest, struct mu_slice *ret_line)
{
    if (rest->len == 0) {
        return false;
    }
    size_t len = 0;
    while (len < rest->len && !is_end(rest->ptr[len])) {
        len++;
    }
    *ret_line = (struct mu_slice){.ptr = rest->ptr, .len = len};
    bool is_crlf = len + 1 < rest->len && rest->ptr[len] == '\r' && rest->ptr[len + 1] == '\n';
    size_t used = len + (is_crlf ? 2 : 1);
    used = used < rest->len ? used : rest->len;
    rest->ptr += used;
    rest->len -= used;
    return true;
}

bool lines_starts_with(struct mu_slice text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.ptr, with, len) == 0;
}

const char *lines_find(struct mu_slice text, const char *what)
{
    return text.len > 0 ? memmem(text.ptr, text.len, what, strlen(what)) : NULL;
}

struct mu_slice lines_around(struct mu_slice text, const char *at)
{
    const char *begin = at;
    const char *end = at;
    while (begin > text.ptr && !is_end(begin[-1])) {
        begin--;
    }
    while (end < text.ptr + text.len && !is_end(*end)) {
        end++;
    }
    return (struct mu_slice){.ptr = begin, .len = (size_t)(end - begin)};
}

struct mu_slice lines_last(struct mu_slice text, size_t count, size_t size)
{
    size_t end = text.len;
    while (end > 0 && is_end(text.ptr[end - 1])) {
        end--;
    }
    size_t first = end > size ? end - size : 0;
    size_t begin = first;
    for (size_t at = end; at > first && count > 0; at--) {
        if (at - 1 == 0 && !is_end(text.ptr[0])) {
            begin = 0;
        } else if (is_end(text.ptr[at - 1]) && at < end && !is_end(text.ptr[at])) {
            begin = at;
            count--;
        }
    }
    return (struct mu_slice){.ptr = text.ptr + begin, .len = end - begin};
}

struct mu_slice lines_first(struct mu_slice text, size_t count, size_t size)
{
    struct mu_slice rest = text;
    struct mu_slice line;
    size_t len = 0;
    while (count-- > 0 && lines_next(&rest, &line)) {
        size_t with = (size_t)(line.ptr + line.len - text.ptr);
        if (with > size) {
            break;
        }
        len = with;
    }
    size_t cut = text.len < size ? text.len : size;
    return (struct mu_slice){.ptr = text.ptr, .len = len > 0 ? len : cut};
}

struct mu_slice lines_span(struct mu_slice a, struct mu_slice b)
{
    return (struct mu_slice){.ptr = a.ptr, .len = (size_t)(b.ptr + b.len - a.ptr)};
}

/* Bytes of the escape sequence at the beginning of a text. */
static size_t escape_size(const char *text, size_t len)
{
    size_t at = 2;
    if (len >= 2 && text[1] == '[') {
        /* CSI: parameters, then one byte from @ to ~ */
        while (at < len && text[at] >= ' ' && text[at] < '@') {
            at++;
        }
        return at < len ? at + 1 : len;
    }
    if (len >= 2 && text[1] == ']') {
        /* OSC: to BEL, or to the ESC \ that ends it */
        while (at < len && text[at] != '\a' && text[at] != '\033' && !is_end(text[at])) {
            at++;
        }
        return at < len && text[at] == '\a' ? at + 1 : at;
    }
    return len < 2 ? len : 2;
}

size_t lines_strip_escapes(char *text, size_t len)
{
    size_t kept = 0;
    for (size_t at = 0; at < len;) {
        if (text[at] == '\0') {
            at++;
        } else if (text[at] == '\033') {
            at += escape_size(text + at, len - at);
        } else {
            text[kept++] = text[at++];
        }
    }
    return kept;
}

void lines_flatten(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c;
    }
}
