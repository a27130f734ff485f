/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included by cppcheck before every file, by nothing else. It does not read system headers, and
 * without these would take what the loops of sys/queue.h assign for unassigned.
 */
#pragma once

#define TAILQ_HEAD(name, type) \
    struct name {              \
        struct type *first;    \
    }
#define TAILQ_ENTRY(type)  \
    struct {               \
        struct type *next; \
    }
#define TAILQ_FIRST(head)             ((head)->first)
#define TAILQ_NEXT(el, link)          ((el)->link.next)
#define TAILQ_FOREACH(el, head, link) for (el = (head)->first; el; el = el->link.next)
