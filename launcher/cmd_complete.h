/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell completion scripts, from the tables of commands and options. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

/* Append the script for `shell`: bash, zsh or fish. MU_E_USAGE for any other. */
int cmd_complete_script(const char *shell, struct mu_buf *text, struct mu_err *err);
