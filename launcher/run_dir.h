/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of one run, in torchrun's layout:
 *
 *     <log_dir>/<run id>_<8 random>/attempt_<restart count>/<local rank>/
 *
 * Without a log_dir, a new one in the temporary directory: <tmpdir>/muster_<8 random>. With
 * /dev/null, none. Paths are absolute. Blocks on the file system. Threading: one thread.
 */
#pragma once

#include "muster/err.h"

#include <stddef.h>
#include <stdint.h>

struct run_dir;

/*
 * Make the directory of the run. `log_dir` NULL: in `tmpdir` (NULL: /tmp, and where that cannot be
 * used, as in Python's tempfile), for the user alone. Released with run_dir_free(). Fails with
 * MU_E_SYSTEM, or MU_E_USAGE if a file is in the way.
 */
struct run_dir *run_dir_new(const char *log_dir, const char *run_id, const char *tmpdir,
                            struct mu_err *err);

/*
 * Can `log_dir` be made, as far as names go? MU_E_USAGE if it is empty or a file is in the way.
 * NULL is fine. Nothing is made.
 */
int run_dir_check(const char *log_dir, struct mu_err *err);

/* Absolute path of the run's directory, borrowed; NULL if there is none (/dev/null). */
const char *run_dir_path(const struct run_dir *dir);

/*
 * Make the directories of one start of the workers. *ret_path is the attempt's own, owned by the
 * caller, or NULL if the run has no directory. An attempt whose directory is there already (a new
 * round that cost no restart) gets attempt_<n>_<k>, so nothing of an earlier start is lost or
 * mistaken for this one's.
 */
int run_dir_add_attempt(struct run_dir *dir, uint32_t restart_count, size_t workers,
                        char **ret_path, struct mu_err *err);

/*
 * Remove what stayed empty: worker, attempt and run directories, and a temporary log_dir. A log_dir
 * that was given stays. Then release `dir`, which may be NULL.
 */
void run_dir_free(struct run_dir *dir);
