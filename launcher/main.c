/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"
#include "launcher/descriptors.h"

#include <signal.h>

/*
 * A mask is inherited, and a launcher of ours may have left one: with SIGCHLD blocked no worker's
 * end would be seen, with SIGTERM blocked nothing could stop the job. What is ignored stays so.
 */
static void unblock_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
    descriptors_fill_standard();
    unblock_signals();
    return cmd_main(argc, argv);
}
