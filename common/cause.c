/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/cause.h"

#include "muster/mem.h"

#include <signal.h>

static const struct {
    const char *name;
    const char *phrase;
} kinds[] = {
#define C(number, NAME, name, phrase) [number] = {name, phrase},
    CAUSE_KINDS(C)
#undef C
};

const char *cause_kind_name(enum cause_kind kind)
{
    return (size_t)kind < MU_COUNT(kinds) ? kinds[kind].name : kinds[CAUSE_UNKNOWN].name;
}

const char *cause_kind_phrase(enum cause_kind kind)
{
    return (size_t)kind < MU_COUNT(kinds) ? kinds[kind].phrase : kinds[CAUSE_UNKNOWN].phrase;
}

const char *cause_blame_name(enum cause_blame blame)
{
    switch (blame) {
    case CAUSE_OWN:
        return "own";
    case CAUSE_COLLATERAL:
        return "collateral";
    case CAUSE_ORDERED:
        break;
    }
    return "ordered";
}

bool cause_is_consequence(enum cause_kind kind)
{
    return kind == CAUSE_PEER_LOST || kind == CAUSE_STORE_LOST || kind == CAUSE_TIMEOUT;
}

/* Ended as the stop signal asks for: by it, or with the status that programs give after it. */
static bool is_obedient(struct outcome o, struct cause_stop stop)
{
    int signo = stop.signo != 0 ? stop.signo : SIGTERM;
    if (o.kind == OUTCOME_EXITED) {
        return o.code == 128 + signo || o.code == 128 + SIGTERM;
    }
    return o.kind == OUTCOME_SIGNALED &&
           (o.code == signo || o.code == SIGTERM || (o.code == SIGKILL && stop.is_killed));
}

/* No stop signal makes the kernel do this; SIGKILL that was not ours neither. */
static bool is_fault(struct outcome o)
{
    return o.kind == OUTCOME_EXEC_FAILED ||
           (o.kind == OUTCOME_SIGNALED &&
            (o.code == SIGSEGV || o.code == SIGBUS || o.code == SIGFPE || o.code == SIGILL ||
             o.code == SIGSYS || o.code == SIGKILL));
}

enum cause_blame cause_blame_of(enum cause_kind kind, struct outcome o, struct cause_stop stop)
{
    bool is_stopped = stop.signo != 0 || stop.is_killed;
    if (is_stopped && !stop.had_failed) {
        if (is_obedient(o, stop)) {
            return CAUSE_ORDERED;
        }
        if (!is_fault(o)) {
            return CAUSE_COLLATERAL;
        }
    }
    return cause_is_consequence(kind) ? CAUSE_COLLATERAL : CAUSE_OWN;
}
