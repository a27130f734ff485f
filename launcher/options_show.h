/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values that options have, for people: --print-config. Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "muster/buf.h"

/*
 * Append every option of the command by group, in the form of YAML: its long name, its value, and
 * behind it where the value comes from. `opts` has been checked: values that follow from others
 * are shown as they are in effect.
 */
void options_show(const struct options *opts, struct mu_buf *text);
