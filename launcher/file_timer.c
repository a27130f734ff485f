/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/file_timer.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIGNAL = 64 };

struct timer {
    char *scope; /* owned */
    pid_t pid;
    int signo;
    int64_t set_ms;
    int64_t expires_ms;
};

struct file_timer {
    struct timer *timers; /* owned; in no order */
    size_t count;
    size_t cap;
    struct mu_buf line; /* whose end is not here yet */
    bool is_skipping;   /* it is too long */
    uint64_t rejected;
    char *expired_scope; /* owned */
};

struct file_timer *file_timer_new(void)
{
    return mu_alloc(sizeof(struct file_timer));
}

void file_timer_free(struct file_timer *ft)
{
    if (ft == NULL) {
        return;
    }
    file_timer_clear(ft);
    free(ft->timers);
    free(ft->expired_scope);
    mu_buf_fini(&ft->line);
    free(ft);
}

static void drop(struct file_timer *ft, size_t i)
{
    free(ft->timers[i].scope);
    ft->timers[i] = ft->timers[--ft->count];
}

static struct timer *find(const struct file_timer *ft, pid_t pid, const char *scope)
{
    for (size_t i = 0; i < ft->count; i++) {
        if (ft->timers[i].pid == pid && strcmp(ft->timers[i].scope, scope) == 0) {
            return &ft->timers[i];
        }
    }
    return NULL;
}

/* ---- requests ---- */

/* Unix seconds as milliseconds; -1 for a release. False if it is no time. */
static bool read_time(const json_t *value, int64_t *ret_ms)
{
    if (!json_is_number(value)) {
        return false;
    }
    double ms = json_number_value(value) * 1e3;
    const int64_t never = INT64_C(1000000000000000);
    if (ms < 0) {
        *ret_ms = -1;
    } else if (ms < (double)never) {
        int64_t whole = (int64_t)ms;
        *ret_ms = whole + ((double)whole < ms ? 1 : 0);
    } else {
        *ret_ms = never;
    }
    return true;
}

static bool set(struct file_timer *ft, pid_t pid, const char *scope, int64_t expires_ms, int signo,
                int64_t now_ms)
{
    struct timer *t = find(ft, pid, scope);
    if (expires_ms < 0) {
        if (t != NULL) {
            drop(ft, (size_t)(t - ft->timers));
        }
        return true;
    }
    if (t == NULL) {
        if (ft->count == FILE_TIMER_MAX) {
            return false;
        }
        if (ft->count == ft->cap) {
            ft->cap = ft->cap > 0 ? 2 * ft->cap : 16;
            ft->timers = mu_realloc(ft->timers, ft->cap * sizeof(*ft->timers));
        }
        t = &ft->timers[ft->count++];
        *t = (struct timer){.scope = mu_strdup(scope), .pid = pid};
    }
    t->signo = signo;
    t->set_ms = now_ms;
    t->expires_ms = expires_ms;
    return true;
}

static bool take_request(struct file_timer *ft, const json_t *request, int64_t now_ms)
{
    const json_t *pid = json_object_get(request, "pid");
    const char *scope = json_string_value(json_object_get(request, "scope_id"));
    const json_t *signo = json_object_get(request, "signal");
    int64_t expires_ms = 0;
    if (!json_is_integer(pid) || json_integer_value(pid) < 1 ||
        json_integer_value(pid) > INT32_MAX || scope == NULL ||
        strlen(scope) > FILE_TIMER_MAX_SCOPE || !json_is_integer(signo) ||
        json_integer_value(signo) > MAX_SIGNAL ||
        !read_time(json_object_get(request, "expiration_time"), &expires_ms)) {
        return false;
    }
    int64_t wanted = json_integer_value(signo);
    return set(ft, (pid_t)json_integer_value(pid), scope, expires_ms, wanted > 0 ? (int)wanted : 0,
               now_ms);
}

static void take_line(struct file_timer *ft, const char *line, size_t len, int64_t now_ms)
{
    json_t *request = json_loadb(line, len, 0, NULL);
    if (request == NULL || !take_request(ft, request, now_ms)) {
        ft->rejected++;
    }
    json_decref(request);
}

void file_timer_feed(struct file_timer *ft, const char *data, size_t len, int64_t now_ms)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end != NULL ? (size_t)(end - data) : len;
        if (!ft->is_skipping && ft->line.len + part > FILE_TIMER_MAX_LINE) {
            ft->is_skipping = true;
            ft->rejected++;
            ft->line.len = 0;
        }
        if (!ft->is_skipping) {
            mu_buf_append(&ft->line, data, part);
        }
        if (end == NULL) {
            return;
        }
        if (!ft->is_skipping) {
            take_line(ft, (const char *)ft->line.data, ft->line.len, now_ms);
        }
        ft->is_skipping = false;
        ft->line.len = 0;
        data += part + 1;
        len -= part + 1;
    }
}

/* ---- expiries ---- */

int64_t file_timer_deadline(const struct file_timer *ft)
{
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < ft->count; i++) {
        at = ft->timers[i].expires_ms < at ? ft->timers[i].expires_ms : at;
    }
    return at;
}

/* The first timer that has expired: of one process, if `pid` is not 0; that asks for a signal. */
static const struct timer *first_expired(const struct file_timer *ft, int64_t now_ms, pid_t pid,
                                         bool has_signal)
{
    const struct timer *first = NULL;
    for (size_t i = 0; i < ft->count; i++) {
        const struct timer *t = &ft->timers[i];
        if (t->expires_ms <= now_ms && (pid == 0 || t->pid == pid) &&
            (!has_signal || t->signo > 0) && (first == NULL || t->expires_ms < first->expires_ms)) {
            first = t;
        }
    }
    return first;
}

bool file_timer_expire(struct file_timer *ft, int64_t now_ms, struct file_timer_expiry *ret_expiry)
{
    const struct timer *first = first_expired(ft, now_ms, 0, false);
    if (first == NULL) {
        return false;
    }
    const struct timer *killer = first_expired(ft, now_ms, first->pid, true);
    const struct timer *t = killer != NULL ? killer : first;
    free(ft->expired_scope);
    ft->expired_scope = mu_strdup(t->scope);
    for (char *c = ft->expired_scope; *c != '\0'; c++) {
        bool is_control = (unsigned char)*c < ' ' || *c == 0x7f;
        *c = is_control ? '?' : *c;
    }
    int64_t after_ms = t->expires_ms - t->set_ms; /* its time may be over when it comes */
    *ret_expiry = (struct file_timer_expiry){.pid = t->pid,
                                             .signo = t->signo,
                                             .after_ms = after_ms > 0 ? after_ms : 0,
                                             .scope = ft->expired_scope};
    file_timer_forget(ft, t->pid);
    return true;
}

void file_timer_forget(struct file_timer *ft, pid_t pid)
{
    for (size_t i = ft->count; i-- > 0;) {
        if (ft->timers[i].pid == pid) {
            drop(ft, i);
        }
    }
}

void file_timer_clear(struct file_timer *ft)
{
    while (ft->count > 0) {
        drop(ft, ft->count - 1);
    }
    ft->line.len = 0;
    ft->is_skipping = false;
}

void file_timer_delay(struct file_timer *ft, int64_t span_ms)
{
    for (size_t i = 0; i < ft->count; i++) {
        ft->timers[i].expires_ms += span_ms;
    }
}

size_t file_timer_count(const struct file_timer *ft)
{
    return ft->count;
}

uint64_t file_timer_rejected(const struct file_timer *ft)
{
    return ft->rejected;
}
