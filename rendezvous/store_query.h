/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each query does. Private to the store. Threading: the loop thread only.
 */
#pragma once

#include "rendezvous/store_state.h"

/* Execute a decoded request of `c`, whose list is used up. MU_E_PROTOCOL or MU_E_LIMIT. */
int store_query_execute(struct store_client *c, struct c10d_request *req, struct mu_err *err);
