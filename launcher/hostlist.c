/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/hostlist.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hostlist_add(struct hostlist *list, const char *name, size_t len)
{
    if (list->count == list->cap) {
        list->cap = list->cap > 0 ? 2 * list->cap : 16;
        list->names = mu_realloc(list->names, list->cap * sizeof(*list->names));
    }
    char *copy = mu_alloc(len + 1);
    memcpy(copy, name, len);
    copy[len] = '\0';
    list->names[list->count++] = copy;
}

long hostlist_find(const struct hostlist *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return (long)i;
        }
    }
    return -1;
}

void hostlist_fini(struct hostlist *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->names[i]);
    }
    free(list->names);
    *list = (struct hostlist){0};
}

/* ---- one word of the list, with any number of brackets ---- */

/* Up to here a name is written; what comes next is appended at `len`. */
struct word {
    struct hostlist *list;
    char name[MU_MAX_NAME + 1];
    const char *text; /* the whole list, for messages */
};

static int fail(const struct word *w, const char *at, const char *what, struct mu_err *err)
{
    return mu_err_set(err, MU_E_USAGE, 0, "%s at character %ld of '%.64s'", what,
                      (long)(at - w->text) + 1, w->text);
}

static int expand(struct word *w, size_t len, const char *at, const char *end, struct mu_err *err);

static int put_number(struct word *w, size_t len, uint64_t value, size_t width, const char *at,
                      const char *end, struct mu_err *err)
{
    char digits[32];
    int count = snprintf(digits, sizeof(digits), "%0*llu", (int)width, (unsigned long long)value);
    if (len + (size_t)count > MU_MAX_NAME) {
        return fail(w, at, "a name too long", err);
    }
    memcpy(w->name + len, digits, (size_t)count);
    return expand(w, len + (size_t)count, at, end, err);
}

/* "001-004" or "7", up to a ',' or the ']' at `close`. */
static int expand_range(struct word *w, size_t len, const char *at, const char *stop,
                        const char *rest, const char *end, struct mu_err *err)
{
    enum { MAX_DIGITS = 18 };
    size_t width = strspn(at, "0123456789");
    const char *second = at + width;
    if (width == 0 || width > MAX_DIGITS || second > stop) {
        return fail(w, at, "no number", err);
    }
    uint64_t first = strtoull(at, NULL, 10);
    uint64_t last = first;
    if (second < stop) {
        size_t digits = *second == '-' ? strspn(second + 1, "0123456789") : 0;
        if (digits == 0 || digits > MAX_DIGITS || second + 1 + digits != stop) {
            return fail(w, second, "no range", err);
        }
        last = strtoull(second + 1, NULL, 10);
        if (last < first) {
            return fail(w, at, "a range that runs backwards", err);
        }
        if (last - first >= MU_MAX_NODES) {
            return fail(w, at, "a range too long", err);
        }
    }
    for (uint64_t value = first; value <= last; value++) {
        if (put_number(w, len, value, width, rest, end, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Append what is left of the word, from `at` to `end`, to the name so far, in every way it says. */
static int expand(struct word *w, size_t len, const char *at, const char *end, struct mu_err *err)
{
    while (at < end && *at != '[') {
        if (*at == ']') {
            return fail(w, at, "a ']' without '['", err);
        }
        if (len == MU_MAX_NAME) {
            return fail(w, at, "a name too long", err);
        }
        w->name[len++] = *at++;
    }
    if (at == end) {
        if (len == 0) {
            return fail(w, at, "an empty name", err);
        }
        if (w->list->count == MU_MAX_NODES) {
            return fail(w, at, "more names than a job may have nodes", err);
        }
        hostlist_add(w->list, w->name, len);
        return 0;
    }
    const char *close = memchr(at, ']', (size_t)(end - at));
    if (close == NULL) {
        return fail(w, at, "a '[' without ']'", err);
    }
    for (const char *item = at + 1; item <= close;) {
        const char *comma = memchr(item, ',', (size_t)(close - item));
        const char *stop = comma != NULL ? comma : close;
        if (expand_range(w, len, item, stop, close + 1, end, err) != 0) {
            return -1;
        }
        item = stop + 1;
    }
    return 0;
}

/* The end of the word at `at`: a comma outside brackets, or the end of the text. */
static const char *end_of_word(const char *at)
{
    bool is_inside = false;
    for (; *at != '\0' && (is_inside || *at != ','); at++) {
        is_inside = *at == '[' || (is_inside && *at != ']');
    }
    return at;
}

int hostlist_parse(const char *text, struct hostlist *ret_list, struct mu_err *err)
{
    struct hostlist list = {0};
    struct word word = {.list = &list, .text = text};
    for (const char *at = text; *at != '\0';) {
        const char *end = end_of_word(at);
        if (expand(&word, 0, at, end, err) != 0) {
            hostlist_fini(&list);
            return -1;
        }
        at = end + (*end == ',');
    }
    *ret_list = list;
    return 0;
}
