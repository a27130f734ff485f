/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_leash.h"

#include "muster/log.h"
#include "muster/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct uv_leash {
    uv_poll_t poll;
    int fd;
};

static void take_signals(const unsigned char *bytes, ssize_t count)
{
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] > 0 && bytes[i] <= SIGRTMAX && bytes[i] != SIGSTOP) {
            raise(bytes[i]);
        }
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct uv_leash *leash = poll->data;
    unsigned char bytes[64];
    (void)status; /* an error shows in the read */
    (void)events;
    ssize_t n = read(leash->fd, bytes, sizeof(bytes));
    if (n > 0) {
        take_signals(bytes, n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        uv_poll_stop(poll);
        mu_log(MU_LOG_WARN,
               "whoever started this agent is gone, or the connection to it: ending the "
               "job");
        raise(SIGTERM);
    }
}

struct uv_leash *uv_leash_open(uv_loop_t *loop, int fd, struct mu_err *err)
{
    struct uv_leash *leash = mu_alloc(sizeof(*leash));
    int rc = uv_poll_init(loop, &leash->poll, fd);
    if (rc != 0) {
        free(leash);
        mu_err_set(err, MU_E_SYSTEM, -rc, "watch the connection to whoever started this agent");
        return NULL;
    }
    leash->fd = fd;
    leash->poll.data = leash;
    uv_poll_start(&leash->poll, UV_READABLE, on_readable);
    uv_unref((uv_handle_t *)&leash->poll);
    return leash;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void uv_leash_close(struct uv_leash *leash)
{
    if (leash != NULL) {
        uv_close((uv_handle_t *)&leash->poll, on_closed);
    }
}
