/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a target of this folder is to libFuzzer, to replay_main.c and to soak_main.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the targets that have a soak program: requests or operations they have been through. */
extern uint64_t fuzz_steps;
