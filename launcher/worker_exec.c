/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/worker_exec.h"

#include "launcher/descriptors.h"
#include "muster/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>

enum { EXIT_NOT_EXECUTED = 127 };

static void fail(const struct worker_exec_context *context, enum outcome_stage stage, int code)
    __attribute__((noreturn));
static void fail(const struct worker_exec_context *context, enum outcome_stage stage, int code)
{
    struct worker_exec_failure failure = {
        .local_rank = context->local_rank, .stage = stage, .code = code};
    ssize_t n;
    do {
        n = write(context->exec_fd, &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
    _exit(EXIT_NOT_EXECUTED);
}

/* Only an open tells whether the interpreter will be able to open it. */
static void test_script(const struct worker_exec_context *context, const char *script)
{
    /* O_NONBLOCK: a FIFO in its place must not hold us here. */
    int fd = open(script, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        fail(context, OUTCOME_STAGE_SCRIPT, errno);
    }
    close(fd);
}

void worker_exec(const struct worker_exec_context *context, const struct worker_command *command)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    if (getppid() != context->parent) {
        _exit(EXIT_NOT_EXECUTED); /* the parent died before the line above could count */
    }
    if (setsid() < 0 || dup2(context->stderr_fd, STDERR_FILENO) < 0) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    if (command->script != NULL) {
        test_script(context, command->script);
    }
    descriptors_restore_limit();
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    execve(command->program, command->argv, command->envp);
    fail(context, OUTCOME_STAGE_PROGRAM, errno);
}
