/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/hostfile.h"

#include "muster/buf.h"
#include "muster/file.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line that is being read. */
struct place {
    const char *path;
    size_t line;
};

static int fail(const struct place *at, struct mu_slice what, const char *expected,
                struct mu_err *err)
{
    char text[48];
    snprintf(text, sizeof(text), MU_SLICE_FMT, MU_SLICE_ARG(what));
    lines_flatten(text);
    return mu_err_set(err, MU_E_USAGE, 0, "%s:%zu: '%s'%s %s", at->path, at->line, text,
                      what.len >= sizeof(text) ? "..." : "", expected);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct mu_slice *rest)
{
    while (rest->len > 0 && is_blank(rest->ptr[0])) {
        rest->ptr++;
        rest->len--;
    }
}

/* Up to white space or the '=' behind a key. */
static struct mu_slice take_word(struct mu_slice *rest, bool ends_at_equals)
{
    struct mu_slice word = {.ptr = rest->ptr};
    while (rest->len > 0 && !is_blank(rest->ptr[0]) && !(ends_at_equals && rest->ptr[0] == '=')) {
        rest->ptr++;
        rest->len--;
        word.len++;
    }
    skip_blanks(rest);
    return word;
}

static int read_number(const struct place *at, struct mu_slice text, uint32_t *ret_number,
                       struct mu_err *err)
{
    char digits[16] = "";
    int64_t number = 0;
    if (text.len < sizeof(digits)) {
        memcpy(digits, text.ptr, text.len);
    }
    if (memchr(text.ptr, '\0', text.len) != NULL ||
        mu_parse_int(digits, 1, MU_MAX_LOCAL_WORLD, &number, NULL) != 0) {
        char expected[64];
        snprintf(expected, sizeof(expected), "is no number of slots from 1 to %d",
                 MU_MAX_LOCAL_WORLD);
        return fail(at, text, expected, err);
    }
    *ret_number = (uint32_t)number;
    return 0;
}

/*
 * Letters, digits and a few signs. No '-' at the beginning: programs that get the name, ssh, would
 * take it for an option.
 */
static bool is_name(struct mu_slice s, const char *signs)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && (c == '\0' || strchr(signs, c) == NULL)) {
            return false;
        }
    }
    return s.len > 0 && s.ptr[0] != '-';
}

/* "host", "host:8", "user@host", "[v6]", "[v6]:8", "v6". */
static int read_host(const struct place *at, struct mu_slice word, struct hostfile_host *h,
                     struct mu_err *err)
{
    static const char expected[] = "is no host: expected `HOST slots=8`, `HOST:8` or `USER@HOST`";
    struct mu_slice name = word;
    const char *sign = memchr(name.ptr, '@', name.len);
    if (sign != NULL) {
        struct mu_slice user = {.ptr = name.ptr, .len = (size_t)(sign - name.ptr)};
        if (!is_name(user, "-_.+$") || user.len > HOSTFILE_MAX_NAME) {
            return fail(at, word, expected, err);
        }
        memcpy(h->user, user.ptr, user.len);
        name.len -= user.len + 1;
        name.ptr = sign + 1;
    }
    struct mu_slice number = {.len = 0};
    const char *first = memchr(name.ptr, ':', name.len);
    const char *close = memchr(name.ptr, ']', name.len);
    if (name.len > 0 && name.ptr[0] == '[' && close != NULL) {
        size_t behind = (size_t)(name.ptr + name.len - close - 1);
        if (behind > 0 && close[1] != ':') {
            return fail(at, word, expected, err);
        }
        number = behind > 0 ? (struct mu_slice){.ptr = close + 2, .len = behind - 1} : number;
        name = (struct mu_slice){.ptr = name.ptr + 1, .len = (size_t)(close - name.ptr) - 1};
        first = behind > 0 ? first : NULL;
    } else if (first != NULL && memchr(first + 1, ':', name.len - (size_t)(first - name.ptr) - 1)) {
        first = NULL; /* a v6 address */
    } else if (first != NULL) {
        number.ptr = first + 1;
        number.len = name.len - (size_t)(first - name.ptr) - 1;
        name.len = (size_t)(first - name.ptr);
    }
    if (!is_name(name, "-_.:%") || name.len > MU_MAX_NAME) {
        return fail(at, word, expected, err);
    }
    memcpy(h->name, name.ptr, name.len);
    return first != NULL ? read_number(at, number, &h->slots, err) : 0;
}

/* What follows the host: "slots=8", "max_slots = 8". */
static int read_setting(const struct place *at, struct mu_slice *rest, struct hostfile_host *h,
                        struct mu_err *err)
{
    struct mu_slice key = take_word(rest, true);
    bool is_slots = mu_slice_eq(key, mu_slice_of("slots"));
    bool is_max =
        mu_slice_eq(key, mu_slice_of("max_slots")) || mu_slice_eq(key, mu_slice_of("max-slots"));
    if (rest->len == 0 || rest->ptr[0] != '=' || (!is_slots && !is_max)) {
        return fail(at, key, "is not known here: expected `slots=8` behind the host", err);
    }
    rest->ptr++;
    rest->len--;
    skip_blanks(rest);
    uint32_t number = 0;
    if (read_number(at, take_word(rest, false), &number, err) != 0) {
        return -1;
    }
    if (is_slots && h->slots != 0) {
        return fail(at, key, "gives the slots of this host a second time", err);
    }
    h->slots = is_slots ? number : h->slots;
    return 0;
}

static int read_line(const struct place *at, struct mu_slice line, struct hostfile_host *h,
                     struct mu_err *err)
{
    if (read_host(at, take_word(&line, false), h, err) != 0) {
        return -1;
    }
    h->line = at->line;
    while (line.len > 0) {
        if (read_setting(at, &line, h, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct hostfile_host *x = a;
    const struct hostfile_host *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static int by_line(const void *a, const void *b)
{
    const struct hostfile_host *x = a;
    const struct hostfile_host *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

/* Lines that name one host become one; there must be one at all. */
static int merge(const char *path, struct hostfile *f, struct mu_err *err)
{
    if (f->hosts == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "%s: no host in it; expected lines like `node1 slots=8`", path);
    }
    qsort(f->hosts, f->count, sizeof(*f->hosts), by_name);
    size_t used = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct hostfile_host *h = &f->hosts[i];
        struct hostfile_host *first = used > 0 ? &f->hosts[used - 1] : NULL;
        if (first == NULL || strcmp(first->name, h->name) != 0) {
            f->hosts[used++] = *h;
            continue;
        }
        struct place at = {.path = path, .line = h->line};
        if (strcmp(first->user, h->user) != 0) {
            return fail(&at, mu_slice_of(h->name), "is named with two users", err);
        }
        first->slots = (first->slots > 0 ? first->slots : 1) + (h->slots > 0 ? h->slots : 1);
        if (first->slots > MU_MAX_LOCAL_WORLD) {
            return fail(&at, mu_slice_of(h->name), "has too many slots in all", err);
        }
    }
    f->count = used;
    qsort(f->hosts, f->count, sizeof(*f->hosts), by_line);
    return 0;
}

int hostfile_parse(const char *path, const char *text, size_t len, struct hostfile *ret_file,
                   struct mu_err *err)
{
    struct hostfile f = {0};
    struct place at = {.path = path};
    size_t cap = 0;
    struct mu_slice rest = {.ptr = text, .len = len};
    struct mu_slice line;
    int rc = 0;
    while (rc == 0 && lines_next(&rest, &line)) {
        at.line++;
        const char *comment = memchr(line.ptr, '#', line.len);
        line.len = comment != NULL ? (size_t)(comment - line.ptr) : line.len;
        skip_blanks(&line);
        if (line.len == 0) {
            continue;
        }
        if (f.count == MU_MAX_NODES) {
            rc = fail(&at, line, "is one host more than a job may have", err);
            break;
        }
        if (f.count == cap) {
            cap = cap > 0 ? 2 * cap : 16;
            f.hosts = mu_realloc(f.hosts, cap * sizeof(*f.hosts));
        }
        struct hostfile_host *h = &f.hosts[f.count++];
        *h = (struct hostfile_host){.slots = 0};
        rc = read_line(&at, line, h, err);
    }
    if (rc != 0 || merge(path, &f, err) != 0) {
        hostfile_fini(&f);
        return -1;
    }
    *ret_file = f;
    return 0;
}

int hostfile_read(const char *path, struct hostfile *ret_file, struct mu_err *err)
{
    size_t len = 0;
    mu_autofree char *text = mu_file_text(path, HOSTFILE_MAX_BYTES, &len);
    if (text == NULL) {
        return mu_err_set(err, MU_E_USAGE, errno, "--hostfile %s", path);
    }
    return hostfile_parse(path, text, len, ret_file, err);
}

void hostfile_fini(struct hostfile *file)
{
    free(file->hosts);
    *file = (struct hostfile){0};
}
