/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/log.h"

#include "muster/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {
    [MU_LOG_ERROR] = "error", [MU_LOG_WARN] = "warn",   [MU_LOG_NOTICE] = "notice",
    [MU_LOG_INFO] = "info",   [MU_LOG_DEBUG] = "debug",
};

/* The one piece of process-wide state: standard error is process-wide too. */
static struct {
    enum mu_log_level level;
    char node[64];
    mu_log_sink_fn sink;
    void *sink_arg;
} log_state = {.level = MU_LOG_NOTICE};

int mu_log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void mu_log_set_level(enum mu_log_level level)
{
    log_state.level = level;
}

bool mu_log_enabled(enum mu_log_level level)
{
    return level <= log_state.level;
}

void mu_log_set_node(const char *name)
{
    snprintf(log_state.node, sizeof(log_state.node), "%s", name != NULL ? name : "");
}

void mu_log_set_sink(mu_log_sink_fn fn, void *arg)
{
    log_state.sink = fn;
    log_state.sink_arg = arg;
}

void mu_log_raw(const char *text, size_t len)
{
    if (log_state.sink != NULL) {
        log_state.sink(log_state.sink_arg, text, len);
        return;
    }
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* nowhere left to complain to */
        }
        text += n;
        len -= (size_t)n;
    }
}

void mu_log(enum mu_log_level level, const char *fmt, ...)
{
    if (!mu_log_enabled(level)) {
        return;
    }
    struct mu_buf line = {0};
    mu_buf_printf(&line, "muster%s%s: ", log_state.node[0] != '\0' ? " " : "", log_state.node);
    if (level != MU_LOG_NOTICE) {
        mu_buf_printf(&line, "%s: ", level_names[level]);
    }
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n >= 0) {
        mu_buf_append(&line, text, (size_t)n);
        free(text);
    }
    mu_buf_append_u8(&line, '\n');
    mu_log_raw((const char *)line.data, line.len);
    mu_buf_fini(&line);
}
