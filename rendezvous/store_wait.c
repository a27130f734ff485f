/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_wait.h"

#include "muster/mem.h"

#include <stdlib.h>

/* Take a registration off the list of the entry it is for. */
static void unlink_wait(struct store_entry *e, struct store_wait *w)
{
    if (w->prev != NULL) {
        w->prev->next = w->next;
    } else {
        e->first_wait = w->next;
    }
    if (w->next != NULL) {
        w->next->prev = w->prev;
    } else {
        e->last_wait = w->prev;
    }
    w->entry = NULL;
}

int store_wait_begin(struct store_client *c, uint32_t count, struct mu_err *err)
{
    MU_REQUIRE(c->waits == NULL);
    size_t size = count * sizeof(struct store_wait);
    if (store_charge(c->store, size, err) != 0) {
        return -1;
    }
    c->waits = count == 1 ? &c->one_wait : mu_realloc(NULL, size);
    c->waits_count = count;
    c->waits_left = 0;
    c->store->waiting++;
    c->store->wait_bytes += size;
    return 0;
}

void store_wait_add(struct store_client *c, struct store_entry *e)
{
    MU_REQUIRE(c->waits_left < c->waits_count);
    struct store_wait *w = &c->waits[c->waits_left++];
    *w = (struct store_wait){.client = c, .entry = e, .prev = e->last_wait};
    *(e->last_wait != NULL ? &e->last_wait->next : &e->first_wait) = w;
    e->last_wait = w;
}

void store_wait_end(struct store_client *c)
{
    struct store *s = c->store;
    if (c->waits == NULL) {
        return;
    }
    for (struct store_wait *w = c->waits; c->waits_left > 0; w++) {
        struct store_entry *e = w->entry;
        if (e != NULL) {
            unlink_wait(e, w);
            store_table_drop_unused(&s->table, e);
            c->waits_left--;
        }
    }
    s->wait_bytes -= c->waits_count * sizeof(struct store_wait);
    s->waiting--;
    if (c->waits != &c->one_wait) {
        free(c->waits);
    }
    c->waits = NULL;
    c->waits_count = 0;
}

/* One registration, already off its entry's list, is satisfied; `w` may be freed. */
static void satisfy(struct store_wait *w)
{
    struct store_client *c = w->client;
    w->entry = NULL;
    c->waits_left--;
    if (c->waits_left == 0) {
        store_wait_end(c);
        store_reply_u8(c, C10D_WAIT_DONE);
    }
}

void store_wait_wake_all(struct store_entry *e)
{
    struct store_wait *w = e->first_wait;
    e->first_wait = NULL;
    e->last_wait = NULL;
    while (w != NULL) {
        struct store_wait *next = w->next;
        satisfy(w);
        w = next;
    }
}

/* A client that listed the key twice has its registrations side by side. */
void store_wait_wake_one(struct store_entry *e)
{
    struct store_wait *w = e->first_wait;
    const struct store_client *c = w != NULL ? w->client : NULL;
    while (w != NULL && w->client == c) {
        unlink_wait(e, w);
        satisfy(w);
        w = e->first_wait;
    }
}
