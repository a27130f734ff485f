/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster check` knows of one node: everything about it that can make a job fail or be slow,
 * as one JSON object, so that nodes can send it to each other. docs/CHECK.md has the list. Nothing
 * is judged here, see check_findings.h.
 *
 * What may hang (a driver, a network file system, the name service) is asked by child processes
 * that are killed at a deadline, all at once: an answer takes as long as the slowest of them, some
 * tenths of a second with Python, CHECK_FACTS_MAX_MS at worst. Blocks; not for the loop. The
 * children die with the calling thread. Threading: any, one at a time.
 */
#pragma once

#include "launcher/host_view.h"
#include "launcher/sched.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CHECK_FACTS_MAX = 48 * 1024,    /* bytes of the object as compact text, at most */
    CHECK_FACTS_MAX_MS = 20 * 1000, /* the longest that collecting takes */
};

/* What the job is to be. All borrowed; zero-initialised is a check of the machine alone. */
struct check_spec {
    const char *node_name;     /* as the job calls this node; NULL: the host name */
    const char *script;        /* the script, the module or the program; NULL: none */
    bool is_module;            /* -m */
    bool is_program;           /* --no-python */
    const char *python;        /* --python, or NULL */
    const char *require;       /* --require: names with commas between them, or NULL */
    const char *limit;         /* --limit, or NULL */
    const char *log_dir;       /* --log-dir, or NULL */
    const struct sched *sched; /* what started us, or NULL */
    int64_t workers;           /* of this node; 0: not known */
};

/* Collect them. Always an object, owned by the caller; what could not be found out is not in it. */
json_t *check_facts_collect(const struct host_view *host, const struct check_spec *spec);
