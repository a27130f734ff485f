/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's children: the shepherds it forked, and, when a shepherd was killed, the orphans of
 * its tree, which the kernel hands to the agent as the next subreaper up.
 *
 * waitpid(-1) is process-wide, so this module is too: whoever has children here is registered, and
 * one loop reaps for all.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/proc_tree.h"

#include <stdbool.h>
#include <sys/types.h>

/* Called for every child reaped, also those of others. Must not call back into this module. */
typedef void (*reaper_fn)(void *arg, pid_t pid, int status);

/* Embedded in its owner. */
struct reaper_client {
    pid_t shepherd; /* alive and not to be taken for an orphan; 0 once it is reaped */
    reaper_fn fn;
    void *arg;                  /* borrowed */
    struct reaper_client *next; /* private */
};

/* Make this process a subreaper; before its first fork, so that every descendant knows. */
void reaper_adopt_orphans(void);

void reaper_add(struct reaper_client *c);
void reaper_remove(struct reaper_client *c);

/*
 * Remove a client whose processes may live. A shepherd clears up alone, but a dead one has left its
 * orphans to this process, and nobody will look after them any more: they are killed here and now,
 * which may take some milliseconds (ABANDON_MS at most, if the kernel does not let go of them).
 */
void reaper_abandon(struct reaper_client *c);

/* Reap every child that has ended and tell all clients; wake shepherds that were stopped. */
void reaper_reap(void);

/*
 * SIGKILL to all orphans and their descendants: every child of this process that is no client's
 * shepherd and is younger than the first of them (a process that becomes muster by exec may have
 * children already, which are not ours). Returns how many are left, zombies included; the first of
 * them in `ret_first`. Once is not enough: reap, and look again until it returns 0.
 */
size_t reaper_kill_orphans(struct proc_stat *ret_first);
