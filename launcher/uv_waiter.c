/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_waiter.h"

#include <stddef.h>

void uv_waiter_add(struct uv_waiter_list *list, struct uv_waiter *w)
{
    if (w->list == NULL) {
        struct uv_waiter **last = &list->first;
        while (*last != NULL) {
            last = &(*last)->next;
        }
        *last = w;
        w->list = list;
        w->next = NULL;
    }
}

void uv_waiter_cancel(struct uv_waiter *w)
{
    if (w->list == NULL) {
        return;
    }
    struct uv_waiter **i = &w->list->first;
    while (*i != w) {
        i = &(*i)->next;
    }
    *i = w->next;
    w->list = NULL;
    w->next = NULL;
}

bool uv_waiter_call_first(struct uv_waiter_list *list)
{
    struct uv_waiter *w = list->first;
    if (w == NULL) {
        return false;
    }
    uv_waiter_cancel(w);
    w->fn(w->arg);
    return true;
}
