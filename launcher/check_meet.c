/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_meet.h"

#include "launcher/check_facts.h"
#include "launcher/check_probe.h"
#include "muster/addr.h"
#include "muster/mem.h"
#include "muster/rand.h"
#include "muster/store_client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CALL_MS = 10 * 1000,
    NOTES_MS = CHECK_FACTS_MAX_MS + 5000, /* the facts of a node with a driver that hangs */
    PROBE_MS = 20 * 1000,                 /* all dials, a few seconds each where nobody answers */
    RESULTS_MS = PROBE_MS + 5000,
    VERDICT_MS = NOTES_MS + RESULTS_MS + CALL_MS,
    KEY = 32,
};
static const char prefix[] = "muster-check";
static const char verdict_key[] = "verdict";

struct check_meet {
    size_t rank;
    size_t count;
    struct store_conn *store;  /* owned */
    struct check_probe *probe; /* owned */
    struct check_note self;
    struct check_note *notes; /* owned, by rank; port 0: not read, or it came not */
    struct check_links links; /* of at most CHECK_NOTES_MAX_NODES nodes */
    json_t **facts;           /* owned, by rank; the first node's only */
    char door[MU_MAX_NAME + 16];
};

/* ---- life ---- */

/* The address of this machine from which the store was reached. */
static int find_address(struct check_meet *m, struct mu_err *err)
{
    struct sockaddr_storage here;
    socklen_t len = sizeof(here);
    char text[INET6_ADDRSTRLEN];
    if (getsockname(store_conn_fd(m->store), (struct sockaddr *)&here, &len) != 0) {
        return mu_err_set(err, MU_E_LOST, 0, "the connection to the store is gone");
    }
    mu_addr_format_host((const struct sockaddr *)&here, text, sizeof(text));
    snprintf(m->self.address, sizeof(m->self.address), "%s", text);
    return 0;
}

struct check_meet *check_meet_open(const struct check_meet_spec *spec, struct mu_err *err)
{
    struct check_meet *m = mu_alloc(sizeof(*m));
    m->rank = spec->rank;
    m->count = spec->count;
    m->notes = mu_calloc(m->count, sizeof(*m->notes));
    m->facts = mu_calloc(m->count, sizeof(json_t *));
    check_links_init(&m->links,
                     m->count < CHECK_NOTES_MAX_NODES ? m->count : CHECK_NOTES_MAX_NODES);
    snprintf(m->self.name, sizeof(m->self.name), "%s", spec->name);
    snprintf(m->self.door, sizeof(m->self.door), "%s", spec->door);
    m->self.door_port = spec->door_port;
    mu_rand_bytes(&m->self.key, sizeof(m->self.key));
    m->probe = check_probe_open(m->self.key, err);
    m->store = m->probe != NULL ? store_conn_open(spec->door, spec->door_port, prefix, CALL_MS, err)
                                : NULL;
    if (m->store == NULL || find_address(m, err) != 0) {
        check_meet_close(m);
        return NULL;
    }
    if (spec->address != NULL) {
        snprintf(m->self.address, sizeof(m->self.address), "%s", spec->address);
    }
    m->self.port = check_probe_port(m->probe);
    return m;
}

void check_meet_close(struct check_meet *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        json_decref(m->facts[i]);
    }
    store_conn_close(m->store);
    check_probe_close(m->probe);
    check_links_fini(&m->links);
    free(m->notes);
    free(m->facts);
    free(m);
}

/* ---- the store ---- */

static int put(struct check_meet *m, const char *what, size_t rank, const char *text,
               struct mu_err *err)
{
    char key[KEY];
    snprintf(key, sizeof(key), "%s/%zu", what, rank);
    return store_conn_set(m->store, key, mu_slice_of(text), err);
}

/* Answer probes until all keys are there, or not in time. */
static int wait_for(struct check_meet *m, char *const *keys, size_t count, int64_t ms,
                    bool *ret_is_done, struct mu_err *err)
{
    int64_t until_us = check_probe_now_us(CLOCK_MONOTONIC) + ms * 1000;
    bool is_done = false;
    if (store_conn_wait_start(m->store, (const char *const *)keys, count, err) != 0) {
        return -1;
    }
    do {
        if (store_conn_wait_poll(m->store, &is_done, err) != 0) {
            return -1;
        }
    } while (!is_done && check_probe_run(m->probe, store_conn_fd(m->store), until_us));
    if (!is_done && store_conn_wait_stop(m->store, &is_done, err) != 0) {
        return -1;
    }
    *ret_is_done = is_done;
    return 0;
}

struct reading {
    const char *what;
    const uint32_t *ranks;
    size_t count;
    int64_t ms;
    struct mu_buf *values; /* as many; of those that did not come empty */
};

/* Those that are there, one by one. */
static int read_some(struct check_meet *m, char *const *keys, const struct reading *r,
                     struct mu_err *err)
{
    for (size_t i = 0; i < r->count; i++) {
        const char *key = keys[i];
        bool is_there = false;
        if (store_conn_check(m->store, &key, 1, &is_there, err) != 0 ||
            (is_there && store_conn_get(m->store, key, &r->values[i], err) != 0)) {
            return -1;
        }
    }
    return 0;
}

/* What these nodes have written; waits for it. */
static int read_all(struct check_meet *m, const struct reading *r, struct mu_err *err)
{
    bool is_done = true;
    int rc = 0;
    char **keys = mu_calloc(r->count, sizeof(char *));
    for (size_t i = 0; i < r->count; i++) {
        keys[i] = mu_asprintf("%s/%u", r->what, r->ranks[i]);
    }
    if (r->count > 0) {
        rc = wait_for(m, keys, r->count, r->ms, &is_done, err);
        if (rc == 0 && is_done) {
            rc =
                store_conn_multi_get(m->store, (const char *const *)keys, r->count, r->values, err);
        } else if (rc == 0) {
            rc = read_some(m, keys, r, err);
        }
    }
    for (size_t i = 0; i < r->count; i++) {
        free(keys[i]);
    }
    free(keys);
    return rc;
}

static struct mu_slice slice_of(const struct mu_buf *b)
{
    return (struct mu_slice){.ptr = b->data != NULL ? (const char *)b->data : "", .len = b->len};
}

static void free_values(struct mu_buf *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mu_buf_fini(&values[i]);
    }
    free(values);
}

static int read_notes(struct check_meet *m, const uint32_t *ranks, size_t count, struct mu_err *err)
{
    struct mu_buf *values = mu_calloc(count + 1, sizeof(*values));
    struct reading r = {
        .what = "node", .ranks = ranks, .count = count, .ms = NOTES_MS, .values = values};
    int rc = read_all(m, &r, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct mu_err ignored = MU_ERR_INIT; /* as if it had not come */
        check_note_decode(slice_of(&values[i]), &m->notes[ranks[i]], &ignored);
    }
    free_values(values, count);
    return rc;
}

/* ---- probing ---- */

/*
 * A node that knows itself only by a loopback address is the coordinator's machine: its others know
 * where that is.
 */
static bool find_way(const struct check_meet *m, const struct check_note *to,
                     struct sockaddr_storage *ret_addr)
{
    const char *address = to->address;
    if (mu_addr_is_loopback_name(address) && !mu_addr_is_loopback_name(m->self.address)) {
        address = m->self.door;
    }
    return to->port != 0 && mu_addr_from_numeric(address, to->port, ret_addr) == 0;
}

/* The coordinator's own port is the one by which its own node came in. */
static uint16_t find_own_port(const struct check_meet *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct check_note *n = &m->notes[i];
        if (n->port != 0 && strcmp(n->address, n->door) == 0) {
            return n->door_port;
        }
    }
    return m->self.door_port;
}

static void dial_all(struct check_meet *m, const uint32_t *peers, size_t count)
{
    struct sockaddr_storage addr;
    uint16_t own_port = find_own_port(m);
    struct mu_endpoint door = {.port = own_port};
    snprintf(door.host, sizeof(door.host), "%s", m->self.door);
    mu_endpoint_format(&door, m->door, sizeof(m->door));
    m->links.door = m->door;
    struct check_link knock = {.state = CHECK_LINK_OK};
    if (own_port != m->self.door_port && mu_addr_from_numeric(m->self.door, own_port, &addr) == 0) {
        check_probe_dial(m->probe, CHECK_PROBE_KNOCK, &addr, 0, &knock);
    }
    for (size_t i = 0; i < count && m->rank < m->links.count; i++) {
        const struct check_note *to = &m->notes[peers[i]];
        if (peers[i] < m->links.count && find_way(m, to, &addr)) {
            check_probe_dial(m->probe, CHECK_PROBE_TRIPS, &addr, to->key,
                             check_links_at(&m->links, m->rank, peers[i]));
        }
    }
    check_probe_run(m->probe, -1, check_probe_now_us(CLOCK_MONOTONIC) + PROBE_MS * 1000LL);
    if (m->rank < m->links.count) {
        m->links.nodes[m->rank].door = knock.state;
    }
}

int check_meet_probe(struct check_meet *m, const json_t *facts, struct mu_err *err)
{
    mu_autofree char *facts_text = json_dumps(facts, JSON_COMPACT);
    mu_autofree char *note = check_note_encode(&m->self);
    mu_autofree uint32_t *peers = mu_calloc(m->count, sizeof(*peers));
    size_t peer_count = check_links_plan(m->rank, m->count, peers);
    if (put(m, "facts", m->rank, facts_text != NULL ? facts_text : "", err) != 0 ||
        put(m, "node", m->rank, note, err) != 0 || read_notes(m, peers, peer_count, err) != 0) {
        return -1;
    }
    m->notes[m->rank] = m->self;
    dial_all(m, peers, peer_count);
    if (m->rank >= m->links.count) {
        return 0;
    }
    mu_autofree char *links = check_notes_encode_links(&m->links, m->rank);
    return put(m, "links", m->rank, links, err);
}

/* ---- the first node ---- */

/* A name that two nodes have (two agents of one machine) would make them one. */
static void name_nodes(struct check_meet *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct check_note *n = &m->notes[i];
        bool is_taken = n->name[0] == '\0';
        for (size_t k = 0; k < i && !is_taken; k++) {
            is_taken = strcmp(m->notes[k].name, n->name) == 0;
        }
        if (is_taken) {
            size_t len = strlen(n->name);
            snprintf(n->name + (len < MU_MAX_NAME - 16 ? len : MU_MAX_NAME - 16), 16, "#%zu", i);
        }
        if (i < m->links.count) {
            m->links.nodes[i].name = n->name;
            m->links.nodes[i].address = n->address;
        }
    }
}

static void take_facts(struct check_meet *m, size_t rank, struct mu_slice text)
{
    json_t *facts = text.len > 0 && text.len <= CHECK_FACTS_MAX
                        ? json_loadb(text.ptr, text.len, 0, NULL)
                        : NULL;
    if (!json_is_object(facts)) {
        json_decref(facts);
        return;
    }
    json_object_set_new(facts, "node", json_string(m->notes[rank].name));
    m->facts[rank] = facts;
}

int check_meet_collect(struct check_meet *m, const struct check_links **ret_links,
                       json_t *const **ret_facts, struct mu_err *err)
{
    mu_autofree uint32_t *all = mu_calloc(m->count, sizeof(*all));
    struct mu_buf *links = mu_calloc(m->count, sizeof(*links));
    struct mu_buf *facts = mu_calloc(m->count, sizeof(*facts));
    for (size_t i = 0; i < m->count; i++) {
        all[i] = (uint32_t)i;
    }
    struct reading r = {
        .what = "links", .ranks = all, .count = m->links.count, .ms = RESULTS_MS, .values = links};
    struct reading f = {
        .what = "facts", .ranks = all, .count = m->count, .ms = CALL_MS, .values = facts};
    int rc = read_all(m, &r, err) != 0 || read_all(m, &f, err) != 0 ? -1 : 0;
    if (rc == 0) {
        name_nodes(m);
        for (size_t i = 0; i < m->count; i++) {
            struct mu_err ignored = MU_ERR_INIT; /* a node that has not reported */
            if (i < m->links.count) {
                check_notes_decode_links(slice_of(&links[i]), &m->links, i, &ignored);
            }
            take_facts(m, i, slice_of(&facts[i]));
        }
        *ret_links = &m->links;
        *ret_facts = m->facts;
    }
    free_values(links, m->count);
    free_values(facts, m->count);
    return rc;
}

int check_meet_tell(struct check_meet *m, int verdict, struct mu_err *err)
{
    const char text[] = {(char)('0' + verdict), '\0'};
    struct mu_err lost = MU_ERR_INIT;
    if (store_conn_set(m->store, verdict_key, mu_slice_of(text), err) != 0) {
        return -1;
    }
    store_conn_ping(m->store, &lost); /* it has arrived; a store of torch 2.2 knows no PING */
    return 0;
}

int check_meet_wait(struct check_meet *m, int *ret_verdict, struct mu_err *err)
{
    char key[KEY];
    char *keys[] = {key};
    struct mu_buf value = {0};
    bool is_done = false;
    snprintf(key, sizeof(key), "%s", verdict_key);
    if (wait_for(m, keys, 1, VERDICT_MS, &is_done, err) != 0) {
        return -1;
    }
    if (!is_done) {
        return mu_err_set(err, MU_E_TIMEOUT, 0, "the first node did not say what the check found");
    }
    if (store_conn_get(m->store, key, &value, err) != 0) {
        return -1;
    }
    *ret_verdict = value.len == 1 && value.data[0] == '0' ? 0 : 1;
    mu_buf_fini(&value);
    return 0;
}
