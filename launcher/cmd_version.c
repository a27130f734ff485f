/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "muster/ctl_msg.h"
#include "muster/version.h"

#include <jansson.h>
#include <uv.h>

int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf text = {0};
    mu_buf_printf(&text, "muster %s\n", MUSTER_VERSION);
    mu_buf_printf(&text, "libuv %s, jansson %s\n", uv_version_string(), JANSSON_VERSION);
    mu_buf_printf(&text, "control protocol %d\n", CTL_VERSION);
#ifdef __clang__
    mu_buf_printf(&text, "built with %s\n", __VERSION__);
#else
    mu_buf_printf(&text, "built with gcc %s\n", __VERSION__);
#endif
    int rc = cmd_print(&text, &err);
    mu_buf_fini(&text);
    return rc == 0 ? 0 : cmd_fail(&err);
}
