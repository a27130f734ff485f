/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What replies consist of, and that they are well-formed.
 *
 * Threading: one thread.
 */
#pragma once

#include "rendezvous/store_out.h"

/*
 * All that `o` is to send, after its invariants have been checked; `random` chooses where sending
 * might have stopped. Borrowed from `o`, or valid until the next call.
 */
struct mu_slice out_check_bytes(const struct store_out *o, uint64_t random);
