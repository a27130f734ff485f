/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a coordinator for its status document. Plain blocking sockets: one question, one answer.
 * Threading: any.
 */
#pragma once

#include "muster/addr.h"
#include "muster/err.h"

#include <stdint.h>

/*
 * The JSON document of the coordinator at `endpoint`, for the job `run_id` or (NULL) all. Owned by
 * the caller. NULL with MU_E_CONNECT, MU_E_TIMEOUT or MU_E_PROTOCOL.
 */
char *status_client_ask(const struct mu_endpoint *endpoint, const char *run_id, int64_t timeout_ms,
                        struct mu_err *err);
