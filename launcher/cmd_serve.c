/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster serve`: the coordinator and the store as a daemon of their own.
 */
#include "launcher/cmd.h"

#include "launcher/descriptors.h"
#include "launcher/proc_owner.h"
#include "launcher/uv_out.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/outcome.h"
#include "muster/uv_coordinator.h"

#include <errno.h>
#include <netdb.h>

enum { FLUSH_MS = 2000 };

struct serve {
    uv_loop_t loop;
    uv_signal_t signals[3];
    size_t signal_count;             /* of those in use */
    uv_prepare_t prepare;            /* while stopping: has every job ended? */
    bool is_stopping;                /* told to by a signal */
    struct coordinator *coordinator; /* owned */
    struct uv_out *err_out;          /* owned: who reads standard error must not stop the jobs */
};

/* Let go of everything the loop holds but the output. */
static void finish(struct serve *s)
{
    coordinator_close(s->coordinator);
    s->coordinator = NULL;
    for (size_t i = 0; i < s->signal_count; i++) {
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&s->prepare, NULL);
    uv_out_unref(s->err_out);
}

/* Before each wait of the loop: jobs end in what goes before, timers too. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct serve *s = prepare->data;
    if (coordinator_count_jobs(s->coordinator) == 0) {
        finish(s);
    }
}

static void on_signal(uv_signal_t *handle, int signo)
{
    struct serve *s = handle->data;
    if (s->coordinator == NULL) {
        return;
    }
    char name[32];
    outcome_signal_name(signo, name, sizeof(name));
    if (s->is_stopping) {
        mu_log(MU_LOG_WARN, "%s again: closing before every job has ended", name);
        finish(s);
        return;
    }
    s->is_stopping = true;
    char why[64];
    snprintf(why, sizeof(why), "%s to the coordinator", name);
    coordinator_stop(s->coordinator, signo, why);
    unsigned jobs = coordinator_count_jobs(s->coordinator);
    if (jobs == 0) {
        mu_log(MU_LOG_NOTICE, "%s: closing", name);
        finish(s);
        return;
    }
    mu_log(MU_LOG_NOTICE, "%s: stopping %u job%s; again to close now", name, jobs,
           jobs == 1 ? "" : "s");
    uv_prepare_start(&s->prepare, on_prepare);
}

static int watch_signals(struct serve *s, struct mu_err *err)
{
    static const int watched[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < MU_COUNT(watched); i++) {
        struct sigaction current;
        if (sigaction(watched[i], NULL, &current) == 0 && current.sa_handler == SIG_IGN) {
            continue; /* nohup: whoever ignored it meant it */
        }
        uv_signal_t *handle = &s->signals[s->signal_count++];
        uv_signal_init(&s->loop, handle);
        handle->data = s;
        int rc = uv_signal_start(handle, on_signal, watched[i]);
        if (rc != 0) {
            return mu_err_set(err, MU_E_SYSTEM, -rc, "watch signal %d", watched[i]);
        }
    }
    return 0;
}

/* Names are looked up once, before the loop runs. */
static int listen_on(struct serve *s, const struct mu_endpoint *endpoint, struct mu_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", endpoint->port);
    int rc = getaddrinfo(endpoint->host, port, &hints, &list);
    if (rc != 0) {
        return mu_err_set(err, MU_E_USAGE, 0, "--listen: the name '%s' does not resolve: %s",
                          endpoint->host, gai_strerror(rc));
    }
    struct mu_endpoint actual = *endpoint;
    rc = coordinator_listen(s->coordinator, list->ai_addr, &actual.port, err);
    freeaddrinfo(list);
    if (rc != 0 && err->sys == EADDRNOTAVAIL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--listen: '%s' is not an address of this machine; [::] is every one",
                          endpoint->host);
    }
    char owner[128];
    if (rc != 0 && err->sys == EADDRINUSE) {
        bool is_known = proc_owner_listener(endpoint->port, owner, sizeof(owner));
        return mu_err_set(err, MU_E_CONNECT, EADDRINUSE,
                          "port %u is held by %s; end that, or choose another with --listen",
                          endpoint->port,
                          is_known ? owner : "a process that cannot be seen from here");
    }
    if (rc == 0) {
        char text[MU_MAX_NAME + 16];
        mu_endpoint_format(&actual, text, sizeof(text));
        mu_log(MU_LOG_NOTICE, "serving on %s", text);
    }
    return rc;
}

static int serve(struct serve *s, const struct options *opts, struct mu_err *err)
{
    struct coordinator_config config = {.run_id = opts->only_rdzv_id,
                                        .store_bytes = (uint64_t)opts->store_memory};
    s->err_out = uv_out_new(&s->loop, STDERR_FILENO, err);
    if (s->err_out == NULL) {
        return -1;
    }
    uv_prepare_init(&s->loop, &s->prepare);
    s->prepare.data = s;
    s->coordinator = coordinator_new(&s->loop, &config);
    int rc = listen_on(s, &opts->listen, err);
    rc = rc == 0 ? watch_signals(s, err) : rc;
    if (rc == 0) {
        mu_log_set_sink(uv_out_log_sink, s->err_out);
    } else {
        finish(s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    mu_log_set_sink(NULL, NULL);
    uv_out_flush_blocking(s->err_out, FLUSH_MS, FLUSH_MS);
    uv_out_close(s->err_out);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return rc;
}

int cmd_serve(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_SERVE, argc, argv, &opts, &status)) {
        return status;
    }
    descriptors_raise_limit();
    struct mu_err err = MU_ERR_INIT;
    struct serve s = {0};
    int rc = uv_loop_init(&s.loop);
    if (rc != 0) {
        mu_err_set(&err, MU_E_SYSTEM, -rc, "make the event loop");
        return cmd_fail(&err);
    }
    rc = serve(&s, &opts, &err);
    MU_REQUIRE(uv_loop_close(&s.loop) == 0);
    return rc == 0 ? 0 : cmd_fail(&err);
}
