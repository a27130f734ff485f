/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torch's file timers: a process asks to be killed unless it takes the request back in time.
 *
 * Requests are lines of JSON of at most FILE_TIMER_MAX_LINE bytes (clients rely on writes of
 * PIPE_BUF being whole), as torch.distributed.elastic.timer.FileTimerClient writes them:
 *
 *     {"version": 1, "pid": 4711, "scope_id": "step", "expiration_time": 1795457744.5, "signal": 9}
 *
 * A negative expiration_time releases the timer of that pid and scope; the same pid and scope again
 * sets it anew; a signal of 0 or less asks for no signal. What is no request, or too much, is
 * dropped and counted: workers can write anything here.
 *
 * A pure engine: bytes and the time go in, expiries come out. Times are milliseconds of the wall
 * clock, because clients say when in that. Threading: the loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FILE_TIMER_MAX_LINE = 4096, FILE_TIMER_MAX_SCOPE = 1024, FILE_TIMER_MAX = 4096 };

struct file_timer;

struct file_timer_expiry {
    pid_t pid;
    int signo;         /* what to send it; 0: nothing was asked for */
    int64_t after_ms;  /* the time the request gave, from when it came */
    const char *scope; /* printable; valid until the next call */
};

struct file_timer *file_timer_new(void);
void file_timer_free(struct file_timer *ft); /* NULL is fine */

/* What was read of the pipe, in any pieces. */
void file_timer_feed(struct file_timer *ft, const char *data, size_t len, int64_t now_ms);

/* When the next timer expires; INT64_MAX: none is set. */
int64_t file_timer_deadline(const struct file_timer *ft);

/*
 * The next process that has let a timer expire; all its timers are gone then. Of several that have
 * expired the first that asked for a signal counts. False if there is none.
 */
bool file_timer_expire(struct file_timer *ft, int64_t now_ms, struct file_timer_expiry *ret_expiry);

/* The timers of a process that has ended; of all, with the beginning of a line not complete yet. */
void file_timer_forget(struct file_timer *ft, pid_t pid);
void file_timer_clear(struct file_timer *ft);

/* Every process stood still for so long. */
void file_timer_delay(struct file_timer *ft, int64_t span_ms);

size_t file_timer_count(const struct file_timer *ft);
uint64_t file_timer_rejected(const struct file_timer *ft); /* lines dropped since the beginning */
