/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What muster says on standard error: one line per event, "muster: text", or "muster node2: text"
 * once the node's name has been set. Only the command layer and the services that own a socket or
 * a process log; everything below returns errors.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum mu_log_level {
    MU_LOG_ERROR,  /* the job or the command fails because of this */
    MU_LOG_WARN,   /* something the user should look at */
    MU_LOG_NOTICE, /* what a user wants to see of a normal run; the default */
    MU_LOG_INFO,   /* the course of events: joins, rounds, stops */
    MU_LOG_DEBUG,  /* every message and state change */
};

/* Level by its lower-case name; -1 if there is none such. */
int mu_log_level_of(const char *name);

void mu_log_set_level(enum mu_log_level level);
bool mu_log_enabled(enum mu_log_level level);

/* `name` is copied and shown in every line; NULL or "" for none. */
void mu_log_set_node(const char *name);

/*
 * Where lines go: `fn` gets each complete line with its newline. NULL restores the default,
 * write(2) to standard error.
 */
typedef void (*mu_log_sink_fn)(void *arg, const char *line, size_t len);
void mu_log_set_sink(mu_log_sink_fn fn, void *arg);

void mu_log(enum mu_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text of several lines that is shown as it is, without "muster:" in front (a failure report). */
void mu_log_raw(const char *text, size_t len);
