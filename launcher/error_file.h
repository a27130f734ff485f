/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker left in TORCHELASTIC_ERROR_FILE: the exception that ended it, written by torch's
 * @record or by anything that follows its format (docs: torch.distributed.elastic, errors).
 *
 *     {"message": {"message": "ValueError: bad", "extraInfo": {"py_callstack": "...", ...}}}
 *     {"message": "text"}
 *
 * And what the launcher leaves in its own, for whoever has started it: the same, of the culprit.
 *
 * Threading: any.
 */
#pragma once

#include "muster/outcome.h"

#include <stddef.h>
#include <stdint.h>

struct error_file {
    char *text;      /* owned; of the whole file */
    char *message;   /* owned */
    char *callstack; /* owned; NULL if there is none */
};

/*
 * Read the text of an error file. A worker may write anything: nothing but the two forms above is
 * believed, false is returned for the rest. `ret` is released with error_file_fini().
 */
bool error_file_parse(const char *text, size_t len, struct error_file *ret);

/* The same of a file; false if it is not there, no plain file, or larger than 1 MiB. Blocks. */
bool error_file_read(const char *path, struct error_file *ret);

void error_file_fini(struct error_file *f);

/*
 * The launcher's own error file: the worker's (NULL: it left none, it is made of `sentence`), with
 * what ended it as errorCode, as torchrun does: an exit status, or -n for signal n. Owned by the
 * caller.
 */
char *error_file_pass_on(const struct error_file *worker, const char *sentence, int64_t unix_ms,
                         struct outcome outcome);
