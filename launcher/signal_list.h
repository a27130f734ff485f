/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals that end a job: --signals-to-handle, --requeue-on. Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct signal_list {
    uint64_t bits; /* signo - 1 */
};

/*
 * Read the value of `option`: names between commas; spaces around them do not count, nor does their
 * case or a missing SIG. Like torchrun, what cannot be heeded does not fail: each gets a line in
 * `warnings`, with the newline, that says why and, for an unknown name, what was probably meant. An
 * empty text is an empty list.
 */
void signal_list_parse(const char *option, const char *text, struct signal_list *ret_list,
                       struct mu_buf *warnings);

bool signal_list_has(const struct signal_list *list, int signo);
