/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits until a sink has room again: readers of worker output that have paused.
 * Threading: the loop thread only.
 */
#pragma once

#include <stdbool.h>

/* Called once, from the loop, when there is room. */
typedef void (*uv_waiter_fn)(void *arg);

/* Embedded in its owner, zero-initialised; on one list at a time. */
struct uv_waiter {
    uv_waiter_fn fn;
    void *arg;                   /* borrowed */
    struct uv_waiter_list *list; /* private; NULL: waits for nothing */
    struct uv_waiter *next;      /* private */
};

struct uv_waiter_list {
    struct uv_waiter *first;
};

/* Wait here, unless it waits already. */
void uv_waiter_add(struct uv_waiter_list *list, struct uv_waiter *w);

/* Wait no more. Fine if it does not. */
void uv_waiter_cancel(struct uv_waiter *w);

/* Take the first off the list and call it. False if there is none. */
bool uv_waiter_call_first(struct uv_waiter_list *list);
