/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_probe.h"

#include "launcher/uv_dial.h"
#include "muster/mem.h"

struct slot {
    struct uv_probe *probe;
    struct uv_dial *dial; /* owned; NULL: not used yet */
    uint32_t place;
    char address[64]; /* the first of its name */
    bool is_busy;
};

struct uv_probe {
    uv_loop_t *loop;
    struct coordinator *coordinator;
    const struct hostlist *hosts;
    struct mu_endpoint here;
    uv_timer_t timer; /* until the next sweep */
    bool is_active;   /* a sweep, or the time until the next */
    uint32_t *places; /* owned; of this sweep */
    size_t count;
    size_t next;
    size_t busy;
    struct slot slots[UV_PROBES_AT_ONCE];
};

static void go_on(struct uv_probe *p);

static void found(struct slot *slot, const char *text)
{
    struct uv_probe *p = slot->probe;
    coordinator_note_missing(p->coordinator, slot->place, text);
    slot->is_busy = false;
    p->busy--;
    go_on(p);
}

static void on_resolved(void *arg, const struct sockaddr_storage *addrs, size_t count)
{
    struct slot *slot = arg;
    if (count > 0) {
        mu_addr_format_host((const struct sockaddr *)&addrs[0], slot->address,
                            sizeof(slot->address));
    }
}

static void on_connected(void *arg, struct uv_conn *conn)
{
    struct slot *slot = arg;
    char text[256];
    snprintf(text, sizeof(text),
             "its machine answers (%s), and something listens on port %u there, but no agent of "
             "this job has come",
             uv_conn_peer(conn), slot->probe->here.port);
    uv_conn_close(conn);
    found(slot, text);
}

static void on_failed(void *arg, enum ladder_answer answer, const char *why)
{
    struct slot *slot = arg;
    char here[MU_MAX_NAME + 16];
    char text[768];
    mu_endpoint_format(&slot->probe->here, here, sizeof(here));
    if (answer == LADDER_UNRESOLVED) {
        snprintf(text, sizeof(text), "never seen, and %s", why);
    } else if (answer == LADDER_FREE) {
        snprintf(text, sizeof(text),
                 "its machine answers (%s), but no agent has come: not started there, or it "
                 "cannot reach %s",
                 slot->address, here);
    } else if (uv_dial_was_silent(slot->dial)) {
        snprintf(text, sizeof(text), "%s does not answer: down, cut off or filtered",
                 slot->address);
    } else {
        snprintf(text, sizeof(text), "cannot be reached from here: %s", why);
    }
    found(slot, text);
}

static void begin(struct slot *slot, uint32_t place)
{
    static const struct uv_dial_handlers handlers = {
        .resolved = on_resolved, .connected = on_connected, .failed = on_failed};
    static const struct uv_dial_spec spec = {
        .patience_ms = UV_PROBE_PATIENCE_MS, .after_refusal_ms = UV_PROBE_PATIENCE_MS, .hint = ""};
    struct uv_probe *p = slot->probe;
    if (slot->dial == NULL) {
        slot->dial = uv_dial_new(p->loop, &spec, &handlers, slot);
    }
    slot->place = place;
    slot->is_busy = true;
    slot->address[0] = '\0';
    p->busy++;
    struct mu_endpoint there = {.port = p->here.port};
    snprintf(there.host, sizeof(there.host), "%s", p->hosts->names[place]);
    uv_dial_start(slot->dial, &there);
}

static void sweep(struct uv_probe *p)
{
    p->next = 0;
    p->count = coordinator_missing(p->coordinator, p->places, p->hosts->count);
    p->is_active = p->count > 0;
    go_on(p);
}

static void on_timer(uv_timer_t *timer)
{
    sweep(timer->data);
}

static void go_on(struct uv_probe *p)
{
    for (size_t i = 0; i < UV_PROBES_AT_ONCE && p->next < p->count; i++) {
        if (!p->slots[i].is_busy) {
            begin(&p->slots[i], p->places[p->next++]);
        }
    }
    if (p->is_active && p->busy == 0) {
        uv_timer_start(&p->timer, on_timer, UV_PROBE_EVERY_MS, 0);
    }
}

struct uv_probe *uv_probe_new(uv_loop_t *loop, struct coordinator *c, const struct hostlist *hosts,
                              const struct mu_endpoint *here)
{
    struct uv_probe *p = mu_alloc(sizeof(*p));
    p->loop = loop;
    p->coordinator = c;
    p->hosts = hosts;
    p->here = *here;
    p->places = mu_calloc(hosts->count, sizeof(p->places[0]));
    for (size_t i = 0; i < UV_PROBES_AT_ONCE; i++) {
        p->slots[i].probe = p;
    }
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    return p;
}

void uv_probe_begin(struct uv_probe *p)
{
    if (!p->is_active) {
        sweep(p);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void uv_probe_close(struct uv_probe *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < UV_PROBES_AT_ONCE; i++) {
        uv_dial_close(p->slots[i].dial);
    }
    free(p->places);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}
