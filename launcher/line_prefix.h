/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands before the lines of one worker on the console. Pure. Threading: any.
 */
#pragma once

#include <stdint.h>

/* torchrun's own. */
#define LINE_PREFIX_DEFAULT "[${role_name}${local_rank}]:"

struct line_prefix_names {
    const char *role_name;
    uint32_t local_rank;
    uint32_t rank;
};

/*
 * Python's string.Template with the names role_name, local_rank and rank: ${name} and $name become
 * the value, $$ becomes $, anything else stays as it is. Owned by the caller.
 */
char *line_prefix_expand(const char *template, const struct line_prefix_names *names);
