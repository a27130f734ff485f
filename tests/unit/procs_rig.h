/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One round of real workers on a real loop, with everything that was reported about it.
 * Tests wait for events; a watchdog ends those that never come.
 */
#pragma once

#include "launcher/proc_tree.h"
#include "launcher/uv_procs.h"
#include "muster/mem.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { RIG_MAX = 64, RIG_WATCHDOG_S = 60 };

struct rig {
    uv_loop_t *loop;
    struct uv_procs *procs;
    struct uv_out *out;
    size_t count;
    struct worker_command commands[RIG_MAX];
    char *argvs[RIG_MAX][4];
    char programs[RIG_MAX][PATH_MAX];
    pid_t pids[RIG_MAX];
    struct outcome outcomes[RIG_MAX];
    char tail[RIG_MAX][256]; /* as it was when `exited` came */
    size_t started;
    size_t exited;
    size_t running;
    size_t gone;
    size_t leftovers;
    struct uv_procs_leftover leftover; /* the last */
    unsigned close_at;                 /* close inside this callback, counted from 1; 0: never */
    unsigned callbacks;
};

/* At the end of every callback. */
static inline void rig_on_any(struct rig *r)
{
    r->callbacks++;
    assert_true(r->close_at == 0 || r->callbacks <= r->close_at);
    if (r->callbacks == r->close_at) {
        uv_procs_close(r->procs);
    }
}

static inline void rig_on_started(void *arg, uint32_t rank, pid_t pid)
{
    struct rig *r = arg;
    assert_int_equal(r->pids[rank], 0);
    assert_int_equal(r->running, 0);
    assert_true(pid > 0);
    r->pids[rank] = pid;
    r->started++;
    rig_on_any(r);
}

static inline void rig_on_running(void *arg)
{
    struct rig *r = arg;
    r->running++;
    rig_on_any(r);
}

static inline void rig_on_exited(void *arg, uint32_t rank, struct outcome o)
{
    struct rig *r = arg;
    assert_int_equal(r->outcomes[rank].kind, OUTCOME_RUNNING);
    assert_int_not_equal(o.kind, OUTCOME_RUNNING);
    r->outcomes[rank] = o;
    size_t n = uv_procs_stderr_tail(r->procs, rank, r->tail[rank], sizeof(r->tail[rank]) - 1);
    r->tail[rank][n] = '\0';
    r->exited++;
    rig_on_any(r);
}

static inline void rig_on_leftover(void *arg, const struct uv_procs_leftover *left)
{
    struct rig *r = arg;
    r->leftovers++;
    r->leftover = *left;
    rig_on_any(r);
}

static inline void rig_on_gone(void *arg)
{
    struct rig *r = arg;
    assert_int_equal(r->exited, r->count);
    r->gone++;
    rig_on_any(r);
}

static const struct uv_procs_handlers rig_handlers = {
    .started = rig_on_started,
    .running = rig_on_running,
    .exited = rig_on_exited,
    .leftover = rig_on_leftover,
    .gone = rig_on_gone,
};

/* The test's workers lie beside the test: build/VARIANT/{tests,workers}. */
static inline void rig_worker_path(const char *name, char *path)
{
    char self[PATH_MAX - 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, PATH_MAX, "%s/../workers/%s", self, name);
}

static inline void rig_init(struct rig *r, uv_loop_t *loop)
{
    alarm(RIG_WATCHDOG_S);
    *r = (struct rig){.loop = loop};
}

/* One more worker: a program of tests/workers, or a path with a slash. */
static inline void rig_add(struct rig *r, const char *program, const char *arg1, const char *arg2)
{
    size_t i = r->count++;
    assert_true(i < RIG_MAX);
    if (strchr(program, '/') != NULL) {
        snprintf(r->programs[i], PATH_MAX, "%s", program);
    } else {
        rig_worker_path(program, r->programs[i]);
    }
    r->argvs[i][0] = r->programs[i];
    r->argvs[i][1] = (char *)(uintptr_t)arg1;
    r->argvs[i][2] = (char *)(uintptr_t)arg2;
    r->commands[i] =
        (struct worker_command){.program = r->programs[i], .argv = r->argvs[i], .envp = environ};
}

/* As without any option: standard output inherited, standard error captured. */
static inline struct uv_output *rig_open_output(uv_loop_t *loop, size_t count, struct uv_out *out,
                                                struct mu_err *err)
{
    struct output_plan plan = {.count = count};
    plan.workers = mu_calloc(count, sizeof(*plan.workers));
    for (size_t i = 0; i < count; i++) {
        plan.workers[i].streams[1] =
            (struct output_stream){.route = OUTPUT_CAPTURE, .is_on_console = out != NULL};
    }
    struct uv_out *const consoles[OUTPUT_STREAMS] = {NULL, out};
    return uv_output_open(loop, &plan, consoles, err);
}

static inline struct uv_output *rig_output(struct rig *r)
{
    struct mu_err err = MU_ERR_INIT;
    struct uv_output *output = rig_open_output(r->loop, r->count, r->out, &err);
    if (output == NULL) {
        fail_msg("%s", err.text);
    }
    return output;
}

static inline void rig_start(struct rig *r)
{
    struct uv_procs_spec spec = {
        .workers = r->commands, .count = r->count, .output = rig_output(r)};
    struct mu_err err = MU_ERR_INIT;
    r->procs = uv_procs_start(r->loop, &spec, &rig_handlers, r, &err);
    if (r->procs == NULL) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(r->started + r->running + r->exited, 0);
}

#define RIG_UNTIL(r, condition)             \
    do {                                    \
        while (!(condition)) {              \
            uv_run((r)->loop, UV_RUN_ONCE); \
        }                                   \
    } while (0)

/* Wait until the worker has written `text` to its standard error. */
static inline void rig_until_text(struct rig *r, uint32_t rank, const char *text)
{
    char tail[256];
    for (;;) {
        size_t n = uv_procs_stderr_tail(r->procs, rank, tail, sizeof(tail) - 1);
        tail[n] = '\0';
        if (strstr(tail, text) != NULL) {
            return;
        }
        if (r->outcomes[rank].kind != OUTCOME_RUNNING) {
            outcome_describe(r->outcomes[rank], tail, sizeof(tail));
            fail_msg("worker %u %s before it wrote '%s'", rank, tail, text);
        }
        uv_run(r->loop, UV_RUN_ONCE);
    }
}

static inline void rig_close(struct rig *r)
{
    uv_procs_close(r->procs);
    uv_run(r->loop, UV_RUN_DEFAULT);
    alarm(0);
}

static inline void rig_until_gone(struct rig *r)
{
    RIG_UNTIL(r, r->gone > 0);
    assert_int_equal(r->gone, 1);
    rig_close(r);
    assert_int_equal(r->gone, 1);
}

static inline void assert_outcome(struct outcome o, enum outcome_kind kind, int code)
{
    char text[128];
    outcome_describe(o, text, sizeof(text));
    if (o.kind != kind || o.code != code) {
        fail_msg("outcome: %s; kind %d code %d expected", text, (int)kind, code);
    }
}

static inline void assert_no_children(void)
{
    struct proc_stat list[8];
    assert_int_equal(proc_tree_children(getpid(), PROC_TREE_AUTO, list, MU_COUNT(list)), 0);
}

static inline size_t count_fds(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    }
    return n;
}

/* ---- a tree of processes, as fork_tree writes it down ---- */

enum { RIG_TREE = 5 }; /* processes of one fork_tree */

struct rig_tree {
    char path[64];
    struct proc_stat procs[RIG_TREE];
};

static inline void rig_tree_init(struct rig_tree *t)
{
    snprintf(t->path, sizeof(t->path), "/tmp/muster-test-tree-XXXXXX");
    int fd = mkstemp(t->path);
    assert_true(fd >= 0);
    close(fd);
}

/* After "ready": who they are, by pid and start time. */
static inline void rig_tree_read(struct rig_tree *t)
{
    FILE *f = fopen(t->path, "re");
    assert_non_null(f);
    char line[32];
    size_t n = 0;
    while (fgets(line, sizeof(line), f) != NULL) {
        assert_true(n < RIG_TREE);
        assert_int_equal(proc_tree_read_stat((pid_t)strtol(line, NULL, 10), &t->procs[n]), 0);
        n++;
    }
    fclose(f);
    unlink(t->path);
    assert_int_equal(n, RIG_TREE);
}

/* Zombies count as gone if `may_be_zombie`: whoever has to reap them is not us. */
static inline size_t rig_tree_living(const struct rig_tree *t, bool may_be_zombie)
{
    size_t living = 0;
    for (size_t i = 0; i < RIG_TREE; i++) {
        struct proc_stat now;
        if (proc_tree_read_stat(t->procs[i].pid, &now) == 0 &&
            now.start_time == t->procs[i].start_time &&
            (proc_tree_is_alive(&now) || !may_be_zombie)) {
            living++;
        }
    }
    return living;
}
