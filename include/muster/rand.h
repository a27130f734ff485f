/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes of the kernel, for names and identities that must not collide. Threading: any.
 */
#pragma once

#include <stddef.h>

/* Unguessable bytes. Never fails: aborts if the kernel has none to give. */
void mu_rand_bytes(void *data, size_t len);

/* `len` characters of [a-z0-9_] and a NUL; `text` has room for len + 1. */
void mu_rand_name(char *text, size_t len);

enum { MU_RAND_UUID_SIZE = 37 };

/* A random (version 4) UUID, in 36 characters and a NUL. */
void mu_rand_uuid(char text[MU_RAND_UUID_SIZE]);
