/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker left in TORCHELASTIC_ERROR_FILE: the exception that ended it, written by torch's
 * @record or by anything that follows its format (docs: torch.distributed.elastic, errors).
 *
 *     {"message": {"message": "ValueError: bad", "extraInfo": {"py_callstack": "...", ...}}}
 *     {"message": "text"}
 *
 * Threading: any.
 */
#pragma once

#include <stddef.h>

/*
 * The message in the text of an error file, owned by the caller; NULL if there is none. A worker
 * may write anything: nothing but the two forms above is believed.
 */
char *error_file_parse(const char *text, size_t len);

/* The same of a file, of which 1 MiB is read at most; NULL if it is not there. Blocks. */
char *error_file_read(const char *path);
