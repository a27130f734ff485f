/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of store_model.h: what each query does. Threading: one thread.
 */
#pragma once

#include "tests/fuzz/held_model.h"
#include "tests/fuzz/wire_model.h"

/* A whole request of a client. False: its connection is closed. */
bool query_model_execute(struct store_model *m, size_t client, const struct wire_request *r);

/* The client's pending WAIT or BARRIER is forgotten. */
void query_model_end_wait(struct store_model *m, size_t client);
