/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests made of small choices: the same few keys and values again and again, so that clients
 * meet; and among them what is at a limit, or beyond.
 *
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"

enum { CHOICES_MAX_REQUEST = 40000 };

/*
 * Append a request to `b`: a byte of `input` chooses the query, then one or more each field. It is
 * shorter than CHOICES_MAX_REQUEST.
 */
void choices_put_request(struct mu_buf *b, struct mu_reader *input);
