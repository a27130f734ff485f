/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an environment that was passed in: a NULL-terminated array of "NAME=value".
 * Threading: any.
 */
#pragma once

/* The value of `name`, borrowed from `envp`; NULL if it is not set. The first of several counts. */
const char *mu_env_get(char *const *envp, const char *name);
