/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values that options have, for people: --print-config, --dry-run. Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "muster/buf.h"

/*
 * Append the value of one option as it would be written on a command line: "8", "1:4", "30s", "1G",
 * "true", "host:29500". Nothing if it is unset.
 */
void options_show_value(const struct options *opts, enum options_id id, struct mu_buf *text);

/*
 * Append every option of the command by group, in the form of YAML: its long name, its value, and
 * behind it where the value comes from. `opts` has been checked: values that follow from others
 * are shown as they are in effect.
 */
void options_show(const struct options *opts, struct mu_buf *text);
