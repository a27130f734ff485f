/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words as shells write them. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stddef.h>

enum { SHELL_WORDS_MAX = 256 };

/*
 * Split a command line into words: at blanks, but for those in 'single' or "double" quotes or
 * behind a backslash. Nothing is expanded. NULL-terminated, released with shell_words_free().
 * MU_E_USAGE (and NULL) for quotes that do not end, no word at all, or more than SHELL_WORDS_MAX.
 */
char **shell_words_split(const char *text, size_t *ret_count, struct mu_err *err);

/* NULL is allowed. */
void shell_words_free(char **words);

/*
 * Append one word as sh, csh and fish all read it. They agree on single quotes around what has no
 * quote, backslash, '!' or newline in it; MU_E_USAGE for a word that has.
 */
int shell_words_quote(const char *word, struct mu_buf *out, struct mu_err *err);
