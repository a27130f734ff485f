/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

int cmd_check(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_CHECK, argc, argv, &opts, &status)) {
        return status;
    }
    struct mu_err err = MU_ERR_INIT;
    mu_err_set(&err, MU_E_USAGE, 0, "muster check is not there yet");
    cmd_end(&opts);
    return cmd_fail(&err);
}
