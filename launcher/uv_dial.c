/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_dial.h"

#include "muster/mem.h"

#include <errno.h>
#include <netdb.h>

enum { MAX_ADDRESSES = 16 };

/*
 * A look-up cannot be taken back once a thread is at it, and threads are few: it may outlive the
 * attempt it was for, and be taken up by the next one for the same name.
 */
struct lookup {
    struct uv_dial *dial; /* borrowed; NULL: nobody will ask for it any more */
    uv_getaddrinfo_t req;
    char host[MU_MAX_NAME + 1];
};

struct attempt {
    struct uv_dial *dial;
    struct uv_conn *conn; /* owned; NULL: not begun, or over */
    int64_t deadline_ms;
    char host[64]; /* numeric */
};

struct uv_dial {
    uv_loop_t *loop;
    struct uv_dial_spec spec;
    struct mu_endpoint endpoint;
    const struct uv_dial_handlers *handlers;
    void *arg;
    struct lookup *lookup; /* under way, or NULL */
    bool is_looking_up;    /* and waited for */
    struct sockaddr_storage addrs[MAX_ADDRESSES];
    struct attempt attempts[MAX_ADDRESSES]; /* of the addresses, the first `next` have begun */
    size_t count;
    size_t next;
    int64_t next_ms; /* when the next one begins, whatever becomes of those before */
    bool is_refused; /* by one of them, */
    bool is_silent;  /* and another said nothing at all */
    char why[512];
    uv_timer_t timer; /* the next thing to happen by itself; also defers what is known at once */
};

static void go_on(struct uv_dial *d);

static int64_t now_ms(const struct uv_dial *d)
{
    return (int64_t)uv_now(d->loop);
}

static void fail(struct uv_dial *d, enum ladder_answer answer)
{
    uv_timer_stop(&d->timer);
    d->next = 0;
    d->count = 0;
    d->handlers->failed(d->arg, answer, d->why);
}

/* What became of an address, beside what became of the others. */
static void note(struct uv_dial *d, const char *host, const char *text)
{
    size_t len = strlen(d->why);
    bool is_by_name = strcmp(host, d->endpoint.host) != 0;
    snprintf(d->why + len, sizeof(d->why) - len, "%s%s%s%s", len > 0 ? "; " : "",
             is_by_name ? host : "", is_by_name ? ": " : "", text);
}

static void hurry(struct uv_dial *d)
{
    int64_t latest_ms = now_ms(d) + d->spec.after_refusal_ms;
    for (size_t i = 0; i < d->next; i++) {
        struct attempt *at = &d->attempts[i];
        at->deadline_ms = at->deadline_ms < latest_ms ? at->deadline_ms : latest_ms;
    }
}

/* What a reason means, and what to do about it. */
static void note_error(struct uv_dial *d, const char *host, const struct mu_err *failure)
{
    char text[sizeof(failure->text) + 160];
    const char *advice = "";
    const char *hint = d->spec.hint;
    switch (failure->sys) {
    case ECONNREFUSED:
        snprintf(text, sizeof(text), "%s: nothing listens there%s", failure->text,
                 hint[0] != '\0' ? " (is that node's agent running? is --rdzv-endpoint right?)"
                                 : "");
        note(d, host, text);
        d->is_refused = true;
        hurry(d);
        return;
    case ENETUNREACH:
    case EHOSTUNREACH:
        advice = ": no route, or no such host";
        break;
    default:
        hint = "";
        break;
    }
    snprintf(text, sizeof(text), "%s%s%s", failure->text, advice, hint);
    note(d, host, text);
}

static void end_attempt(struct attempt *at)
{
    if (at->conn != NULL) {
        uv_conn_close(at->conn);
        at->conn = NULL;
    }
}

static void end_attempts(struct uv_dial *d)
{
    for (size_t i = 0; i < d->next; i++) {
        end_attempt(&d->attempts[i]);
    }
    d->next = 0;
    d->count = 0;
}

static void on_connected(void *arg, const struct mu_err *failure)
{
    struct attempt *at = arg;
    struct uv_dial *d = at->dial;
    if (failure != NULL) {
        note_error(d, at->host, failure);
        end_attempt(at);
        d->next_ms = now_ms(d);
        go_on(d);
        return;
    }
    struct uv_conn *conn = at->conn;
    at->conn = NULL;
    end_attempts(d);
    uv_timer_stop(&d->timer);
    d->handlers->connected(d->arg, conn);
}

/* Of addresses that do not answer. */
static void expire(struct uv_dial *d)
{
    for (size_t i = 0; i < d->next; i++) {
        struct attempt *at = &d->attempts[i];
        if (at->conn != NULL && at->deadline_ms <= now_ms(d)) {
            char text[160];
            snprintf(text, sizeof(text),
                     "no answer at all: wrong address, no route, or a firewall%s", d->spec.hint);
            note(d, at->host, text);
            d->is_silent = true;
            end_attempt(at);
            d->next_ms = now_ms(d);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    expire(timer->data);
    go_on(timer->data);
}

static void begin_next(struct uv_dial *d)
{
    const struct sockaddr *addr = (const struct sockaddr *)&d->addrs[d->next];
    struct attempt *at = &d->attempts[d->next++];
    struct mu_err failure = MU_ERR_INIT;
    int64_t patience_ms = d->is_refused ? d->spec.after_refusal_ms : d->spec.patience_ms;
    *at = (struct attempt){.dial = d, .deadline_ms = now_ms(d) + patience_ms};
    mu_addr_format_host(addr, at->host, sizeof(at->host));
    at->conn = uv_conn_connect(d->loop, addr, on_connected, at, &failure);
    if (at->conn != NULL) {
        d->next_ms = now_ms(d) + UV_DIAL_NEXT_MS;
    } else {
        note_error(d, at->host, &failure);
    }
}

/* Begin what is due, and wait for the rest; or say that nothing is left. */
static void go_on(struct uv_dial *d)
{
    while (d->next < d->count && now_ms(d) >= d->next_ms) {
        begin_next(d);
    }
    int64_t wake_ms = d->next < d->count ? d->next_ms : INT64_MAX;
    for (size_t i = 0; i < d->next; i++) {
        const struct attempt *at = &d->attempts[i];
        if (at->conn != NULL) {
            wake_ms = at->deadline_ms < wake_ms ? at->deadline_ms : wake_ms;
        }
    }
    if (wake_ms == INT64_MAX) {
        fail(d, d->is_refused && !d->is_silent ? LADDER_FREE : LADDER_DEAD);
        return;
    }
    int64_t wait_ms = wake_ms - now_ms(d);
    uv_timer_start(&d->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

static void try_all(struct uv_dial *d)
{
    d->next = 0;
    d->next_ms = now_ms(d);
    d->is_refused = false;
    d->is_silent = false;
    if (d->handlers->resolved != NULL) {
        d->handlers->resolved(d->arg, d->addrs, d->count);
    }
    go_on(d);
}

static void on_numeric(uv_timer_t *timer)
{
    try_all(timer->data);
}

/* ---- names ---- */

static void on_lookup_failed(uv_timer_t *timer)
{
    fail(timer->data, LADDER_UNRESOLVED);
}

static void on_lookup_timeout(uv_timer_t *timer)
{
    struct uv_dial *d = timer->data;
    d->is_looking_up = false;
    snprintf(d->why, sizeof(d->why),
             "the look-up of the name '%s' has no answer for %.0f s: is the name server out of "
             "reach?",
             d->endpoint.host, (double)d->spec.patience_ms / 1e3);
    fail(d, LADDER_UNRESOLVED);
}

/* The system's order, but its two families in turn: one of them may lead nowhere. */
static void take_addresses(struct uv_dial *d, const struct addrinfo *list)
{
    const struct addrinfo *same = list;
    const struct addrinfo *other = list;
    d->count = 0;
    bool is_same = true;
    while ((same != NULL || other != NULL) && d->count < MAX_ADDRESSES) {
        const struct addrinfo **a = is_same ? &same : &other;
        while (*a != NULL && ((*a)->ai_family == list->ai_family) != is_same) {
            *a = (*a)->ai_next;
        }
        if (*a != NULL) {
            memset(&d->addrs[d->count], 0, sizeof(d->addrs[0]));
            memcpy(&d->addrs[d->count], (*a)->ai_addr, (*a)->ai_addrlen);
            mu_addr_set_port(&d->addrs[d->count++], d->endpoint.port);
            *a = (*a)->ai_next;
        }
        is_same = !is_same;
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct lookup *lookup = req->data;
    struct uv_dial *d = lookup->dial;
    free(lookup);
    if (d == NULL || !d->is_looking_up) {
        if (d != NULL) {
            d->lookup = NULL;
        }
        uv_freeaddrinfo(list);
        return;
    }
    d->lookup = NULL;
    d->is_looking_up = false;
    uv_timer_stop(&d->timer);
    take_addresses(d, list);
    uv_freeaddrinfo(list);
    if (status != 0 || d->count == 0) {
        snprintf(d->why, sizeof(d->why), "the name '%s' does not resolve: %s%s", d->endpoint.host,
                 status != 0 ? uv_strerror(status) : "no address", d->spec.hint);
        fail(d, LADDER_UNRESOLVED);
        return;
    }
    try_all(d);
}

static void forget_lookup(struct uv_dial *d)
{
    if (d->lookup != NULL) {
        d->lookup->dial = NULL;
        uv_cancel((uv_req_t *)&d->lookup->req);
        d->lookup = NULL;
    }
    d->is_looking_up = false;
}

static void wait_for_lookup(struct uv_dial *d)
{
    d->is_looking_up = true;
    uv_timer_start(&d->timer, on_lookup_timeout, (uint64_t)d->spec.patience_ms, 0);
}

static void look_up(struct uv_dial *d)
{
    if (d->lookup != NULL && strcmp(d->lookup->host, d->endpoint.host) == 0) {
        wait_for_lookup(d);
        return;
    }
    forget_lookup(d);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct lookup *lookup = mu_alloc(sizeof(*lookup));
    lookup->dial = d;
    lookup->req.data = lookup;
    memcpy(lookup->host, d->endpoint.host, sizeof(lookup->host));
    int rc = uv_getaddrinfo(d->loop, &lookup->req, on_resolved, d->endpoint.host, NULL, &hints);
    if (rc != 0) {
        free(lookup);
        snprintf(d->why, sizeof(d->why), "look up '%s': %s", d->endpoint.host, uv_strerror(rc));
        uv_timer_start(&d->timer, on_lookup_failed, 0, 0);
        return;
    }
    d->lookup = lookup;
    wait_for_lookup(d);
}

/* ---- life ---- */

struct uv_dial *uv_dial_new(uv_loop_t *loop, const struct uv_dial_spec *spec,
                            const struct uv_dial_handlers *handlers, void *arg)
{
    struct uv_dial *d = mu_alloc(sizeof(*d));
    d->loop = loop;
    d->spec = *spec;
    d->handlers = handlers;
    d->arg = arg;
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    return d;
}

void uv_dial_start(struct uv_dial *d, const struct mu_endpoint *endpoint)
{
    MU_REQUIRE(!d->is_looking_up && d->count == 0);
    d->endpoint = *endpoint;
    d->why[0] = '\0';
    if (mu_addr_from_numeric(endpoint->host, endpoint->port, &d->addrs[0]) == 0) {
        d->count = 1;
        uv_timer_start(&d->timer, on_numeric, 0, 0);
    } else if (mu_addr_is_loopback_name(endpoint->host)) {
        /* localhost needs no look-up, which would cost four threads and a millisecond. */
        mu_addr_from_numeric("127.0.0.1", endpoint->port, &d->addrs[0]);
        mu_addr_from_numeric("::1", endpoint->port, &d->addrs[1]);
        d->count = 2;
        uv_timer_start(&d->timer, on_numeric, 0, 0);
    } else {
        look_up(d);
    }
}

bool uv_dial_was_silent(const struct uv_dial *d)
{
    return d->is_silent;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void uv_dial_close(struct uv_dial *d)
{
    if (d == NULL) {
        return;
    }
    end_attempts(d);
    forget_lookup(d);
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}
