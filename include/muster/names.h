/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: which are fit to be shown, the order people expect of node names, and the name somebody
 * probably meant.
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * May people read this as the name of a node, in one word? 1 to MU_MAX_NAME characters of ASCII,
 * none of them a control character or a space.
 */
bool mu_names_is_presentable(struct mu_slice name);

/*
 * The same of what people call things (a job, a role), which may have spaces and letters of any
 * language: 1 to MU_MAX_NAME bytes of UTF-8 without control characters, so that it is fit for a
 * terminal, a log and JSON.
 */
bool mu_names_is_label(struct mu_slice name);

/*
 * A copy for people, owned by the caller: at most `max` bytes of whole characters; what is no
 * character of UTF-8, or a control character, is a question mark.
 */
char *mu_names_shown(const char *text, size_t max);

/*
 * Natural order: runs of digits compare by value, so "node2" comes before "node10". Total:
 * names that differ only in leading zeros are ordered by their bytes. <0, 0, >0 as strcmp.
 */
int mu_names_natural_compare(const char *a, const char *b);

/*
 * The entry of `names` closest to `word` (edit distance, case and '-'/'_' ignored), or NULL if
 * none is close enough to be what was meant. The result is one of `names`.
 */
const char *mu_names_nearest(const char *word, const char *const *names, size_t count);
