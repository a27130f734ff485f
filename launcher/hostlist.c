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

enum {
    MAX_BRACKETS = 8, /* in one word; Slurm itself writes one */
    MAX_DIGITS = 18,
};

/* "001-004" or "7": numbers with at least as many digits as the first has. */
struct range {
    uint64_t first;
    uint64_t last;
    int width;
    const char *end; /* behind it: a ',' or the ']' */
};

struct bracket {
    const char *open;
    const char *close;
    struct range range; /* the number it stands at is one of these */
    uint64_t value;
};

struct word {
    const char *text; /* the whole list, for messages */
    const char *begin;
    const char *end;
    struct bracket brackets[MAX_BRACKETS];
    size_t count;
};

static int fail(const struct word *w, const char *at, const char *what, struct mu_err *err)
{
    mu_err_set(err, MU_E_USAGE, 0, "%s at character %ld of '%.64s'", what, (long)(at - w->text) + 1,
               w->text);
    return -1;
}

static int read_range(const struct word *w, const char *at, struct range *ret_range,
                      struct mu_err *err)
{
    static const char digits[] = "0123456789";
    size_t width = strspn(at, digits);
    if (width == 0 || width > MAX_DIGITS) {
        return fail(w, at, "no number", err);
    }
    struct range range = {.first = strtoull(at, NULL, 10), .width = (int)width, .end = at + width};
    range.last = range.first;
    if (*range.end == '-') {
        const char *second = range.end + 1;
        size_t count = strspn(second, digits);
        if (count == 0 || count > MAX_DIGITS) {
            return fail(w, second, "no number", err);
        }
        range.last = strtoull(second, NULL, 10);
        range.end = second + count;
    }
    if (*range.end != ',' && *range.end != ']') {
        return fail(w, range.end, "neither ',' nor ']'", err);
    }
    if (range.last < range.first) {
        return fail(w, at, "a range that runs backwards", err);
    }
    if (range.last - range.first >= MU_MAX_NODES) {
        return fail(w, at, "a range too long", err);
    }
    *ret_range = range;
    return 0;
}

static void stand_at(struct bracket *b, const struct range *range)
{
    b->range = *range;
    b->value = range->first;
}

/* The bracket at `open`, every range of it looked at: reading them again cannot fail. */
static int read_bracket(struct word *w, const char *open, struct mu_err *err)
{
    if (w->count == MAX_BRACKETS) {
        return fail(w, open, "too many brackets", err);
    }
    struct range range;
    if (read_range(w, open + 1, &range, err) != 0) {
        return -1;
    }
    struct bracket b = {.open = open, .close = range.end};
    stand_at(&b, &range);
    while (*b.close == ',') {
        if (read_range(w, b.close + 1, &range, err) != 0) {
            return -1;
        }
        b.close = range.end;
    }
    w->brackets[w->count++] = b;
    return 0;
}

/* To the next number; false if that is the first one again. */
static bool step(const struct word *w, struct bracket *b)
{
    if (b->value < b->range.last) {
        b->value++;
        return true;
    }
    bool is_more = *b->range.end == ',';
    struct range range;
    MU_REQUIRE(read_range(w, (is_more ? b->range.end : b->open) + 1, &range, NULL) == 0);
    stand_at(b, &range);
    return is_more;
}

/*
 * Slurm's order: the last bracket runs fastest, then the first, the second, ... False behind the
 * last name.
 */
static bool step_word(struct word *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (step(w, &w->brackets[i == 0 ? w->count - 1 : i - 1])) {
            return true;
        }
    }
    return false;
}

/* The name at which the brackets stand. */
static int add_name(const struct word *w, struct hostlist *list, struct mu_err *err)
{
    char name[MU_MAX_NAME + 1];
    size_t len = 0;
    size_t bracket = 0;
    for (const char *at = w->begin; at < w->end && len <= MU_MAX_NAME; at++) {
        if (bracket < w->count && at == w->brackets[bracket].open) {
            const struct bracket *b = &w->brackets[bracket++];
            len += (size_t)snprintf(name + len, sizeof(name) - len, "%0*llu", b->range.width,
                                    (unsigned long long)b->value);
            at = b->close;
        } else if (len++ < MU_MAX_NAME) {
            name[len - 1] = *at;
        }
    }
    if (len > MU_MAX_NAME) {
        return fail(w, w->begin, "a name too long", err);
    }
    if (list->count == MU_MAX_NODES) {
        return fail(w, w->begin, "more names than a job may have nodes", err);
    }
    hostlist_add(list, name, len);
    return 0;
}

static bool is_separator(char c)
{
    return c != '\0' && strchr(", \t\n", c) != NULL;
}

/* The word at w->begin: its end and its brackets. */
static int read_word(struct word *w, struct mu_err *err)
{
    const char *at = w->begin;
    for (; *at != '\0' && !is_separator(*at); at++) {
        if (*at == '[') {
            if (read_bracket(w, at, err) != 0) {
                return -1;
            }
            at = w->brackets[w->count - 1].close;
        } else if (*at == ']') {
            return fail(w, at, "a ']' without '['", err);
        } else if (*at <= ' ' || *at > '~') {
            return fail(w, at, "a character that no name has", err);
        }
    }
    w->end = at;
    return 0;
}

static int expand_word(struct word *w, struct hostlist *list, struct mu_err *err)
{
    if (read_word(w, err) != 0) {
        return -1;
    }
    do {
        if (add_name(w, list, err) != 0) {
            return -1;
        }
    } while (step_word(w));
    return 0;
}

int hostlist_parse(const char *text, struct hostlist *ret_list, struct mu_err *err)
{
    struct hostlist list = {0};
    for (const char *at = text; *at != '\0';) {
        if (is_separator(*at)) {
            at++;
            continue;
        }
        struct word word = {.text = text, .begin = at};
        if (expand_word(&word, &list, err) != 0) {
            hostlist_fini(&list);
            return -1;
        }
        at = word.end;
    }
    *ret_list = list;
    return 0;
}
