/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own standard output and standard error, as sinks of what the workers write; and the
 * end of it all, when what they wrote must be out before the agent is.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/descriptors.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <string.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 5000,    /* at the end, with a reader that reads nothing */
    LIMIT_MS = 120 * 1000, /* with one that is just slow */
    FILES_MS = 10 * 1000,  /* with log files whose file system does not take them */
};

static void on_out_failed(void *arg, int error)
{
    (void)arg;
    mu_log(MU_LOG_WARN,
           "standard output: %s; the job goes on, what --tee would show there is dropped",
           strerror(error));
}

/* Threads are stuck in writes that nothing can end; the process can. */
static void on_files_late(uv_timer_t *timer)
{
    struct uv_agent *a = timer->data;
    mu_log(MU_LOG_WARN,
           "log files could not be written to their end within %d s: the file system does not "
           "answer",
           FILES_MS / 1000);
    uv_agent_output_flush(a);
    _exit(a->exit_status);
}

int uv_agent_output_open(struct uv_agent *a, struct mu_err *err)
{
    a->err_out = uv_out_new(&a->loop, STDERR_FILENO, err);
    if (a->err_out == NULL) {
        return -1;
    }
    if (!output_plan_may_capture_stdout(a->opts)) {
        return 0;
    }
    a->out = a->err_out;
    if (!descriptors_are_one_file(STDOUT_FILENO, STDERR_FILENO)) {
        a->out = uv_out_new(&a->loop, STDOUT_FILENO, err);
        if (a->out == NULL) {
            return -1;
        }
        uv_out_on_failed(a->out, on_out_failed, a);
    }
    return 0;
}

void uv_agent_output_finish(struct uv_agent *a)
{
    uv_out_unref(a->err_out);
    if (a->out != NULL) {
        uv_out_unref(a->out);
    }
    uv_timer_init(&a->loop, &a->files_timer);
    a->files_timer.data = a;
    uv_timer_start(&a->files_timer, on_files_late, FILES_MS, 0);
    uv_unref((uv_handle_t *)&a->files_timer);
    a->has_files_timer = true;
}

void uv_agent_output_flush(struct uv_agent *a)
{
    if (a->out != NULL && a->out != a->err_out) {
        uv_out_flush_blocking(a->out, PATIENCE_MS, LIMIT_MS);
        uint64_t lost = uv_out_lost(a->out) + uv_out_queued(a->out);
        if (lost > 0) {
            mu_log(MU_LOG_WARN, "%llu bytes of the workers' standard output were lost: %s",
                   (unsigned long long)lost,
                   uv_out_error(a->out) != 0 ? strerror(uv_out_error(a->out)) : "nobody read them");
        }
    }
    uv_out_flush_blocking(a->err_out, PATIENCE_MS, LIMIT_MS);
}

void uv_agent_output_close(struct uv_agent *a)
{
    if (a->has_files_timer) {
        uv_close((uv_handle_t *)&a->files_timer, NULL);
    }
    if (a->out != a->err_out) {
        uv_out_close(a->out);
    }
    uv_out_close(a->err_out);
}
