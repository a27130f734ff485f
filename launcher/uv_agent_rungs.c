/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the coordinator is: at the endpoint, or on one of the ladder's rungs; served from here, or
 * by another node; and who is missing there.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/proc_owner.h"
#include "launcher/uv_host.h"

#include <errno.h>

enum {
    ENDPOINT_PATIENCE_MS = 5000,
    RUNG_PATIENCE_MS = 3000,      /* there are others to ask */
    RUNG_AFTER_REFUSAL_MS = 1100, /* a SYN that was lost is sent again after a second */
};

/*
 * With a ladder: what the place is; and may its rung be served from here? It may if this is the
 * place's machine, and every other port that is taken there a stranger's.
 */
static bool look_at_place(struct uv_agent *a, const struct sockaddr_storage *addrs, size_t count)
{
    enum { SHOWN = 2 };
    const struct ladder *l = &a->ladder;
    char text[96] = "";
    for (size_t i = 0; i < count && i < SHOWN; i++) {
        char host[64];
        size_t len = strlen(text);
        mu_addr_format_host((const struct sockaddr *)&addrs[i], host, sizeof(host));
        snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? ", " : "", host);
    }
    bool is_here = false;
    uint32_t taken = 0;
    if (!a->opts->rendezvous.is_elsewhere) {
        char master_addr[INET6_ADDRSTRLEN];
        uv_agent_net_address(a, count > 0 ? addrs[0].ss_family : AF_INET, master_addr);
        struct uv_host_spec spec = {.host = a->endpoint.host, .master_addr = master_addr};
        taken = uv_host_look(&spec, addrs, count, l->ports, l->port_count, &is_here);
    }
    agent_resolved(a->engine, text, is_here);
    bool is_free = (taken & 1U << a->rung.port) == 0;
    return is_here && is_free && (taken & ~a->strangers) == 0;
}

/* Before each attempt of an agent that is in no job yet: the coordinator may be ours to serve. */
static void on_resolved(void *arg, const struct sockaddr_storage *addrs, size_t count)
{
    struct uv_agent *a = arg;
    bool is_ladder = a->config.ladder != NULL;
    struct mu_err err = MU_ERR_INIT;
    a->not_serving[0] = '\0';
    a->is_port_taken = false;
    if (a->coordinator != NULL || agent_is_welcome(a->engine) ||
        (is_ladder && !look_at_place(a, addrs, count))) {
        return;
    }
    if (uv_agent_host(a, addrs, count, &err)) {
        if (is_ladder) {
            agent_serves(a->engine);
        }
        return;
    }
    /* Only the system's refusal to listen on an address of ours is worth telling. */
    snprintf(a->not_serving, sizeof(a->not_serving), "%s", err.sys != 0 ? err.text : "");
    a->is_port_taken = err.sys == EADDRINUSE;
    mu_log(MU_LOG_DEBUG, "not serving the coordinator: %s", err.text);
    if (err.sys != 0) {
        agent_endpoint_is_here(a->engine);
    }
}

static void on_connected(void *arg, struct uv_conn *conn)
{
    uv_agent_linked(arg, conn);
}

static void on_failed(void *arg, enum ladder_answer answer, const char *why)
{
    struct uv_agent *a = arg;
    if (a->coordinator != NULL) {
        agent_endpoint_is_here(a->engine); /* we cannot even reach ourselves: no loopback, say */
    }
    char text[768];
    bool is_ours = a->not_serving[0] != '\0';
    snprintf(text, sizeof(text), "%s%s%s", why, is_ours ? "; nor can it be served here: " : "",
             a->not_serving);
    agent_not_connected(a->engine, answer, text, uv_agent_now(a));
    uv_agent_carry_out(a);
}

void uv_agent_rungs_open(struct uv_agent *a)
{
    static const struct uv_dial_handlers handlers = {
        .resolved = on_resolved, .connected = on_connected, .failed = on_failed};
    const struct sched *sched = a->opts->rendezvous.ladder;
    struct uv_dial_spec spec = {.patience_ms = ENDPOINT_PATIENCE_MS,
                                .after_refusal_ms = ENDPOINT_PATIENCE_MS,
                                .hint = " (is --rdzv-endpoint right?)"};
    if (sched != NULL) {
        const char *places[SCHED_PLACES];
        for (size_t i = 0; i < sched->place_count; i++) {
            places[i] = sched->places[i];
        }
        bool has_ports = sched->port_count > 0;
        ladder_init(&a->ladder, places, sched->place_count,
                    has_ports ? sched->ports : &a->endpoint.port,
                    has_ports ? sched->port_count : 1);
        a->config.ladder = &a->ladder;
        spec = (struct uv_dial_spec){
            .patience_ms = RUNG_PATIENCE_MS, .after_refusal_ms = RUNG_AFTER_REFUSAL_MS, .hint = ""};
    }
    a->dial = uv_dial_new(&a->loop, &spec, &handlers, a);
}

void uv_agent_rungs_connect(struct uv_agent *a, const struct agent_effect *e)
{
    if (a->config.ladder != NULL) {
        a->rung = e->rung;
        a->strangers = e->strangers;
        snprintf(a->endpoint.host, sizeof(a->endpoint.host), "%s", a->ladder.places[e->rung.place]);
        a->endpoint.port = a->ladder.ports[e->rung.port];
        mu_endpoint_format(&a->endpoint, a->endpoint_text, sizeof(a->endpoint_text));
    }
    uv_dial_start(a->dial, &a->endpoint);
}

void uv_agent_rungs_waits(struct uv_agent *a)
{
    if (a->coordinator == NULL || a->opts->sched == NULL || a->opts->sched->hosts.count == 0) {
        return;
    }
    if (a->probe == NULL) {
        a->probe = uv_probe_new(&a->loop, a->coordinator, &a->opts->sched->hosts, &a->endpoint);
    }
    uv_probe_begin(a->probe);
}

const char *uv_agent_rungs_owner(struct uv_agent *a)
{
    char owner[128];
    if (!a->is_port_taken || agent_is_welcome(a->engine)) {
        return "";
    }
    if (a->port_owner[0] == '\0') {
        bool is_known = proc_owner_listener(a->endpoint.port, owner, sizeof(owner));
        snprintf(a->port_owner, sizeof(a->port_owner), "; port %u is held by %s", a->endpoint.port,
                 is_known ? owner : "a process that cannot be seen from here");
    }
    return a->port_owner;
}

void uv_agent_rungs_close(struct uv_agent *a)
{
    uv_dial_close(a->dial);
    uv_probe_close(a->probe);
    a->probe = NULL;
}
