/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store charges for its records, which the model has to be told.
 *
 * Threading: any.
 */
#pragma once

#include "tests/fuzz/store_model.h"

/* Learned from a store of its own, by the growth of its numbers. */
struct store_model_costs store_costs_learn(void);
