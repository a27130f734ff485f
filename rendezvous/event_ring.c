/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/event_ring.h"

#include "muster/mem.h"

static void event_clear(struct event *e)
{
    free(e->node);
    free(e->text);
    *e = (struct event){0};
}

void event_ring_fini(struct event_ring *ring)
{
    for (size_t i = 0; i < EVENT_RING_SIZE; i++) {
        event_clear(&ring->events[i]);
    }
    ring->added = 0;
}

void event_ring_add(struct event_ring *ring, int64_t at_ms, uint32_t round, enum event_kind kind,
                    const char *node, const char *text)
{
    struct event *e = &ring->events[ring->added++ % EVENT_RING_SIZE];
    event_clear(e);
    *e = (struct event){.at_ms = at_ms,
                        .round = round,
                        .kind = kind,
                        .node = node != NULL ? mu_strndup(node, EVENT_TEXT_MAX) : NULL,
                        .text = mu_strndup(text, EVENT_TEXT_MAX)};
}

uint32_t event_ring_count(const struct event_ring *ring)
{
    return ring->added < EVENT_RING_SIZE ? (uint32_t)ring->added : EVENT_RING_SIZE;
}

uint64_t event_ring_dropped(const struct event_ring *ring)
{
    return ring->added - event_ring_count(ring);
}

const struct event *event_ring_at(const struct event_ring *ring, uint32_t i)
{
    MU_REQUIRE(i < event_ring_count(ring));
    return &ring->events[(event_ring_dropped(ring) + i) % EVENT_RING_SIZE];
}

const char *event_kind_name(enum event_kind kind)
{
    static const char *const names[] = {
#define E(NAME, name) [EVENT_##NAME] = name,
        EVENT_KINDS(E)
#undef E
    };
    return (size_t)kind < MU_COUNT(names) ? names[kind] : "?";
}
