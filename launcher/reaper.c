/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/reaper.h"

#include "muster/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>

enum {
    MAX_ORPHANS = 4096, /* of one pass */
    ABANDON_MS = 100,
};

static struct {
    struct reaper_client *clients;
    struct proc_stat eldest; /* the first shepherd; pid 0: none yet */
} reaper;

void reaper_adopt_orphans(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void reaper_add(struct reaper_client *c)
{
    if (reaper.eldest.pid == 0) {
        proc_tree_read_stat(c->shepherd, &reaper.eldest);
    }
    c->next = reaper.clients;
    reaper.clients = c;
}

void reaper_remove(struct reaper_client *c)
{
    for (struct reaper_client **i = &reaper.clients; *i != NULL; i = &(*i)->next) {
        if (*i == c) {
            *i = c->next;
            return;
        }
    }
}

/* Whoever stopped a shepherd must not hide the deaths of its workers, nor save them from ours. */
static void wake_shepherd(pid_t pid)
{
    for (const struct reaper_client *c = reaper.clients; c != NULL; c = c->next) {
        if (c->shepherd == pid) {
            kill(pid, SIGCONT);
        }
    }
}

void reaper_reap(void)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL);
        if (pid == 0 || (pid < 0 && errno != EINTR)) {
            return;
        }
        if (pid > 0 && WIFSTOPPED(status)) {
            wake_shepherd(pid);
            continue;
        }
        for (struct reaper_client *c = reaper.clients; pid > 0 && c != NULL; c = c->next) {
            c->fn(c->arg, pid, status);
        }
    }
}

static bool is_orphan(const struct proc_stat *st)
{
    for (const struct reaper_client *c = reaper.clients; c != NULL; c = c->next) {
        if (c->shepherd == st->pid) {
            return false;
        }
    }
    if (reaper.eldest.pid == 0) {
        return false;
    }
    /* Within one clock tick the pids tell. */
    return st->start_time > reaper.eldest.start_time ||
           (st->start_time == reaper.eldest.start_time && st->pid > reaper.eldest.pid);
}

static void kill_one(const struct proc_stat *st, pid_t own_session)
{
    if (st->pgrp > 1 && st->session != own_session) {
        kill(-st->pgrp, SIGKILL);
    }
    kill(st->pid, SIGKILL);
}

size_t reaper_kill_orphans(struct proc_stat *ret_first)
{
    struct proc_stat *list = mu_calloc(MAX_ORPHANS, sizeof(*list));
    struct proc_stat *tree = mu_calloc(MAX_ORPHANS, sizeof(*tree));
    pid_t own_session = getsid(0);
    size_t children = proc_tree_children(getpid(), PROC_TREE_AUTO, list, MAX_ORPHANS);
    size_t orphans = 0;
    for (size_t i = 0; i < children; i++) {
        if (!is_orphan(&list[i])) {
            continue;
        }
        if (orphans++ == 0) {
            *ret_first = list[i];
        }
        size_t count = proc_tree_descendants(list[i].pid, PROC_TREE_AUTO, tree, MAX_ORPHANS);
        kill_one(&list[i], own_session);
        for (size_t k = 0; k < count; k++) {
            kill_one(&tree[k], own_session);
        }
    }
    free(list);
    free(tree);
    return orphans;
}

void reaper_abandon(struct reaper_client *c)
{
    reaper_remove(c);
    if (c->shepherd != 0 && waitpid(c->shepherd, NULL, WNOHANG) == c->shepherd) {
        c->shepherd = 0;
    }
    struct proc_stat first;
    for (int ms = 0; c->shepherd == 0 && ms < ABANDON_MS && reaper_kill_orphans(&first) > 0; ms++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        reaper_reap();
    }
}
