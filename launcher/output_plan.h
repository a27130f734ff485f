/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the two output streams of each worker of a round go: what --redirects, --tee,
 * --local-ranks-filter, --line-prefix and the attempt's directory mean together. Pure.
 * Threading: any.
 *
 *                          standard output           standard error
 *     --tee                file + console, prefix    file + console, prefix
 *     --redirects          file                      file
 *     neither              console, inherited        console, captured
 *
 * A rank that --local-ranks-filter does not name is not heard on the console: what is tee'd goes to
 * its file alone, the rest nowhere. Where `--launch` has started this process, standard output is
 * captured too, and both come line by line: the connection is shared with other workers, and when
 * it breaks a worker that writes while it saves its state must not die of that. Of every standard
 * error the end is kept in memory, or is in the file. Without a directory there are no files, so
 * --redirects and --tee mean nothing.
 */
#pragma once

#include "launcher/options.h"
#include "muster/assignment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum output_route {
    OUTPUT_INHERIT, /* the worker writes where this process would */
    OUTPUT_FILE,    /* the worker writes to the file */
    OUTPUT_NOWHERE, /* /dev/null */
    OUTPUT_CAPTURE, /* this process reads it */
};

struct output_stream {
    enum output_route route;
    char *path;         /* owned; OUTPUT_FILE, OUTPUT_CAPTURE: the log file; NULL: none */
    bool is_on_console; /* OUTPUT_CAPTURE */
    bool has_prefix;    /* OUTPUT_CAPTURE: and goes through the filters */
    bool is_by_line;    /* OUTPUT_CAPTURE: without a prefix, but line by line */
};

enum { OUTPUT_STREAMS = 2 }; /* 0: standard output, 1: standard error */

struct output_worker {
    struct output_stream streams[OUTPUT_STREAMS];
    char *prefix; /* owned; NULL if no stream has one */
};

struct output_plan {
    struct output_worker *workers; /* owned */
    size_t count;
    const char *filters[OUTPUT_STREAMS];  /* borrowed; NULL: no such file */
    char *filtered_paths[OUTPUT_STREAMS]; /* owned; NULL likewise */
};

/* `attempt_dir` NULL: no files. `opts` must outlive the plan. Release with output_plan_fini(). */
void output_plan_init(struct output_plan *plan, const struct options *opts,
                      const struct assignment *assignment, const char *attempt_dir);
void output_plan_fini(struct output_plan *plan);

/* Whether this process may have to write to standard output what a worker of any round does. */
bool output_plan_may_capture_stdout(const struct options *opts);

/*
 * MU_E_USAGE if an option about output makes no sense; a sentence for the user. What output_plan
 * does needs it checked.
 */
int output_plan_check(const struct options *opts, struct mu_err *err);

/*
 * A warning about local ranks that are named and do not exist among opts->nproc_per_node workers,
 * owned by the caller; NULL: none. torchrun says nothing, so it is no error.
 */
char *output_plan_doubt(const struct options *opts);
