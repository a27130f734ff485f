/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading options from the command line and the environment, by the rules of Python's argparse,
 * which torchrun's users know: "--opt value", "--opt=value", '-' and '_' alike, any unambiguous
 * beginning of a long name, "-r3", "-r 3". An abbreviation that only our own options make ambiguous
 * still means torchrun's. Threading: any.
 */
#pragma once

#include "launcher/options.h"

/*
 * options_init(), then the command line, then the environment. argv[0] is skipped; argv and envp
 * are NULL-terminated and borrowed. For OPTIONS_RUN reading stops at the first word that is no
 * option; a "--" before it is dropped. At --help it stops at once, with 0 and opts->help set.
 * MU_E_USAGE on failure. What options mean together is judged by options_check().
 */
int options_parse(struct options *opts, enum options_command command, int argc, char *const *argv,
                  char *const *envp, struct mu_err *err);
