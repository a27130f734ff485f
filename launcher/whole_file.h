/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that others read while they are written: the report of a job, an error file. Threading:
 * any.
 */
#pragma once

#include "muster/err.h"

/*
 * Make `text` the content of the file `path`. Whoever reads it sees the old content or the new one:
 * a plain file, or one that is not there yet, is replaced in one step, with mode 0644 less the
 * umask. Anything else that the path leads to (a terminal, /dev/null, a FIFO that somebody reads)
 * is written to as it is, without waiting. Blocks on the file system. MU_E_SYSTEM.
 */
int whole_file_write(const char *path, const char *text, struct mu_err *err);
