/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an endpoint to a connection: look the name up (again each time: DNS may change, or be late)
 * and try its addresses, IPv6 and IPv4 in turn. The next one begins UV_DIAL_NEXT_MS after the last
 * began, or when that has failed; the first that connects wins (RFC 8305). No address is ever
 * looked up for its name.
 *
 * Threading: the loop thread only; the look-up of a name that is no number runs in libuv's pool.
 */
#pragma once

#include "launcher/ladder.h"
#include "muster/addr.h"
#include "muster/uv_conn.h"

enum { UV_DIAL_NEXT_MS = 250 };

struct uv_dial;

struct uv_dial_handlers {
    /* The addresses of the endpoint, before the first is tried; borrowed for the call,
     * which must not close the dial. May be NULL. */
    void (*resolved)(void *arg, const struct sockaddr_storage *addrs, size_t count);
    /* The connection; the caller owns it now. */
    void (*connected)(void *arg, struct uv_conn *conn);
    /*
     * LADDER_UNRESOLVED; LADDER_FREE if a machine said that nobody listens, and no address was
     * silent; else LADDER_DEAD. `why` says of every address what became of it.
     */
    void (*failed)(void *arg, enum ladder_answer answer, const char *why);
};

struct uv_dial_spec {
    int64_t patience_ms;      /* with a look-up, and with each address */
    int64_t after_refusal_ms; /* the same once another address was refused, as the machine is up */
    const char *hint; /* appended to reasons the user may mend: " (is ... right?)"; static */
};

/* `handlers` are borrowed. Owned by the caller until uv_dial_close(). */
struct uv_dial *uv_dial_new(uv_loop_t *loop, const struct uv_dial_spec *spec,
                            const struct uv_dial_handlers *handlers, void *arg);

/*
 * One attempt, at `endpoint`, which is copied; ends with `connected` or `failed`. Not while one is
 * under way.
 */
void uv_dial_start(struct uv_dial *d, const struct mu_endpoint *endpoint);

/* Of an attempt that failed: did an address say nothing at all? */
bool uv_dial_was_silent(const struct uv_dial *d);

/* No handler is called any more; frees itself. NULL is allowed. */
void uv_dial_close(struct uv_dial *d);
