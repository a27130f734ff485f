/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/worker_exec.h"

#include "launcher/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { EXIT_NOT_EXECUTED = 127 };

static void tell(const struct worker_exec_context *context, uint32_t stage, int code)
{
    struct worker_exec_failure failure = {
        .local_rank = context->local_rank, .stage = stage, .code = code};
    ssize_t n;
    do {
        n = write(context->exec_fd, &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
}

static void fail(const struct worker_exec_context *context, enum outcome_stage stage, int code)
    __attribute__((noreturn));
static void fail(const struct worker_exec_context *context, enum outcome_stage stage, int code)
{
    tell(context, stage, code);
    _exit(EXIT_NOT_EXECUTED);
}

static bool take_output(int from, int to)
{
    return from < 0 || dup2(from, to) >= 0;
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

/*
 * Preferred, not bound: strict binding fails where a node has no free memory, or none at all. That
 * it may be forbidden (containers without CAP_SYS_NICE) costs little, for memory comes from the
 * node a thread runs on anyway. Whoever started muster with a policy of their own meant it.
 */
static void prefer_memory(unsigned node)
{
    unsigned long nodes[CPU_MASK_BITS / CPU_MASK_WORD_BITS] = {0};
    int mode;
    if (node < CPU_MASK_BITS && syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) == 0 &&
        mode == MPOL_DEFAULT) {
        nodes[node / CPU_MASK_WORD_BITS] = 1UL << (node % CPU_MASK_WORD_BITS);
        syscall(SYS_set_mempolicy, MPOL_PREFERRED, nodes, CPU_MASK_BITS + 1);
    }
}

static void bind_to_cpus(const struct worker_exec_context *context,
                         const struct worker_command *command)
{
    const struct cpu_mask *cpus = command->cpus;
    if (sched_setaffinity(0, sizeof(*cpus), (const cpu_set_t *)(const void *)cpus) != 0) {
        tell(context, WORKER_EXEC_UNBOUND, errno);
    } else if (command->mem_node >= 0) {
        prefer_memory((unsigned)command->mem_node);
    }
}

static void set_limits(const struct worker_exec_context *context, const struct limit_list *limits)
{
    int code = limit_list_apply(limits);
    if (code != 0) {
        tell(context, WORKER_EXEC_UNLIMITED, code);
    }
}

void worker_exec(const struct worker_exec_context *context, const struct worker_command *command)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    if (getppid() != context->parent) {
        _exit(EXIT_NOT_EXECUTED); /* the parent died before the line above could count */
    }
    if (setsid() < 0 || !take_output(context->stdout_fd, STDOUT_FILENO) ||
        !take_output(context->stderr_fd, STDERR_FILENO)) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    if (command->script != NULL) {
        test_script(context, command->script);
    }
    if (command->cpus != NULL) {
        bind_to_cpus(context, command);
    }
    descriptors_restore_limit();
    if (command->limits != NULL) {
        set_limits(context, command->limits);
    }
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0) {
        fail(context, OUTCOME_STAGE_SETUP, errno);
    }
    execve(command->program, command->argv, command->envp);
    fail(context, OUTCOME_STAGE_PROGRAM, errno);
}
