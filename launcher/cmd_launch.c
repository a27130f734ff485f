/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_launch.h"

#include "launcher/cmd.h"
#include "launcher/descriptors.h"
#include "launcher/launch_order.h"
#include "launcher/launch_plan.h"
#include "launcher/uv_launch.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- here ---- */

bool cmd_launch_is_wanted(const struct options *opts)
{
    return strcmp(opts->launch, "none") != 0;
}

int cmd_launch(const struct options *opts, int argc, char **argv)
{
    struct mu_err err = MU_ERR_INIT;
    char program[PATH_MAX];
    char directory[PATH_MAX];
    int status = 1;
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (len < 0 || getcwd(directory, sizeof(directory)) == NULL) {
        mu_err_set(&err, MU_E_SYSTEM, errno, "find the path of muster and the working directory");
        return cmd_fail(&err);
    }
    program[len] = '\0';
    const struct launch_spec spec = {.opts = opts,
                                     .argc = argc,
                                     .argv = argv,
                                     .envp = environ,
                                     .program = program,
                                     .directory = directory};
    struct launch_plan *plan = launch_plan_new(&spec, &err);
    if (plan == NULL) {
        return cmd_fail(&err);
    }
    descriptors_raise_limit();
    int rc = uv_launch_run(plan, opts, program, &status, &err);
    launch_plan_free(plan);
    return rc == 0 ? status : cmd_fail(&err);
}

/* ---- there ---- */

static int leash = -1;

int cmd_launch_leash(void)
{
    return leash;
}

static int read_all(void *data, size_t len, struct mu_err *err)
{
    char *at = data;
    while (len > 0) {
        ssize_t n = read(STDIN_FILENO, at, len);
        if (n == 0) {
            return mu_err_set(err, MU_E_LOST, 0,
                              "whoever started this is gone before it said what "
                              "to do");
        }
        if (n < 0 && errno != EINTR) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "read the order");
        }
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int read_order(struct launch_order *order, struct mu_err *err)
{
    static const char hello[] = "\n" LAUNCH_HELLO "\n";
    unsigned char header[LAUNCH_ORDER_HEADER];
    size_t len = 0;
    if (write(STDOUT_FILENO, hello, sizeof(hello) - 1) != (ssize_t)sizeof(hello) - 1) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "answer on standard output");
    }
    if (read_all(header, sizeof(header), err) != 0 || launch_order_length(header, &len, err) != 0) {
        return -1;
    }
    mu_autofree char *frame = mu_alloc(len);
    return read_all(frame, len, err) == 0 ? launch_order_decode(frame, len, order, err) : -1;
}

/* The stream of orders is not for workers: theirs is /dev/null. */
static int keep_leash(struct mu_err *err)
{
    leash = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (leash < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "set up standard input");
    }
    close(null);
    return 0;
}

static int prepare(const struct launch_order *order, struct mu_err *err)
{
    MU_REQUIRE(order->directory != NULL && order->env != NULL);
    if (chdir(order->directory) != 0) {
        return mu_err_set(err, MU_E_USAGE, errno,
                          "the working directory must be there on every host: %s",
                          order->directory);
    }
    for (char **entry = order->env; *entry != NULL; entry++) {
        char *sign = strchr(*entry, '=');
        *sign = '\0';
        setenv(*entry, sign + 1, 1);
    }
    return keep_leash(err);
}

int cmd_launched(int argc, char **argv)
{
    struct mu_err err = MU_ERR_INIT;
    struct launch_order order = {0};
    (void)argc;
    (void)argv;
    if (read_order(&order, &err) != 0) {
        return cmd_fail(&err);
    }
    int status = prepare(&order, &err) != 0 ? cmd_fail(&err)
                                            : cmd_run_named((int)order.arg_count, order.args);
    launch_order_fini(&order);
    return status;
}
