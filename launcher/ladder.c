/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/ladder.h"

#include <stdio.h>
#include <string.h>

enum {
    FULL_FIRST_MS = 2000, /* from the first turn to the first full one, then twice as long, */
    FULL_MAX_MS = 16000,  /* up to this */
    PATIENCE_MS = 2000,
    LONG_PATIENCE_MS = 5000, /* with one that said nothing before: it may be very busy */
};

void ladder_init(struct ladder *l, const char *const *places, size_t place_count,
                 const uint16_t *ports, size_t port_count)
{
    memset(l, 0, sizeof(*l));
    l->place_count = place_count < LADDER_PLACES ? place_count : LADDER_PLACES;
    l->port_count = port_count < LADDER_PORTS ? port_count : LADDER_PORTS;
    memcpy(l->places, places, l->place_count * sizeof(places[0]));
    memcpy(l->ports, ports, l->port_count * sizeof(ports[0]));
    l->next_full_ms = INT64_MAX;
    l->full_every_ms = FULL_FIRST_MS;
}

void ladder_begin(struct ladder *l, int64_t now_ms)
{
    memset(l->is_asked, 0, sizeof(l->is_asked));
    memset(l->is_skipped, 0, sizeof(l->is_skipped));
    l->is_over = false;
    l->is_full = now_ms >= l->next_full_ms;
    if (l->is_full || l->next_full_ms == INT64_MAX) {
        l->next_full_ms = now_ms + l->full_every_ms;
        l->full_every_ms = 2 * l->full_every_ms < FULL_MAX_MS ? 2 * l->full_every_ms : FULL_MAX_MS;
    }
}

/* Did asking it cost more than a moment the last time? */
static bool was_slow(const struct ladder *l, size_t place, size_t port)
{
    enum ladder_answer last = l->answers[place][port];
    return last == LADDER_SILENT || last == LADDER_DEAD;
}

/* The first rung that is still to be asked, of those that are quick or those that are slow. */
static bool first_of(const struct ladder *l, bool is_slow, struct ladder_rung *ret_rung)
{
    for (size_t place = 0; place < l->place_count; place++) {
        bool is_dead = false;
        for (size_t port = 0; port < l->port_count; port++) {
            is_dead = is_dead || l->answers[place][port] == LADDER_DEAD;
        }
        for (size_t port = 0; port < l->port_count && !l->is_skipped[place]; port++) {
            if (!l->is_asked[place][port] && (is_dead || was_slow(l, place, port)) == is_slow) {
                *ret_rung = (struct ladder_rung){.place = place, .port = port};
                return true;
            }
        }
    }
    return false;
}

bool ladder_next(const struct ladder *l, struct ladder_rung *ret_rung)
{
    if (l->is_over) {
        return false;
    }
    if (l->is_fixed) {
        *ret_rung = l->fixed;
        return !l->is_asked[l->fixed.place][l->fixed.port];
    }
    /* One that asked us to come again is worth the first question. */
    for (size_t place = 0; place < l->place_count; place++) {
        for (size_t port = 0; port < l->port_count; port++) {
            if (l->answers[place][port] == LADDER_LATER && !l->is_asked[place][port]) {
                *ret_rung = (struct ladder_rung){.place = place, .port = port};
                return true;
            }
        }
    }
    return first_of(l, false, ret_rung) || first_of(l, true, ret_rung);
}

/* What one place's machine, or its name, said of all its ports. */
static void mark_place(struct ladder *l, size_t place, enum ladder_answer answer)
{
    for (size_t port = 0; port < l->port_count; port++) {
        enum ladder_answer *last = &l->answers[place][port];
        bool was_of_place = *last == LADDER_DEAD || *last == LADDER_UNRESOLVED;
        *last = was_of_place && answer != LADDER_DEAD ? LADDER_UNTRIED : *last;
    }
}

void ladder_answer(struct ladder *l, struct ladder_rung rung, enum ladder_answer answer,
                   const char *why)
{
    mark_place(l, rung.place, answer);
    l->answers[rung.place][rung.port] = answer;
    l->is_asked[rung.place][rung.port] = true;
    if (answer != LADDER_FREE) {
        snprintf(l->whys[rung.place], sizeof(l->whys[0]), "%s", why);
    }
    switch (answer) {
    case LADDER_UNRESOLVED:
    case LADDER_DEAD:
        l->is_skipped[rung.place] = true;
        break;
    case LADDER_FREE:
        l->is_over = !l->is_full && !l->is_here[rung.place];
        break;
    case LADDER_LATER:
        l->is_over = true;
        break;
    case LADDER_UNTRIED:
    case LADDER_STRANGER:
    case LADDER_SILENT:
        break;
    }
}

void ladder_resolved(struct ladder *l, size_t place, const char *addresses, bool is_here)
{
    snprintf(l->addresses[place], sizeof(l->addresses[0]), "%s", addresses);
    l->is_here[place] = is_here;
}

void ladder_fix(struct ladder *l, struct ladder_rung rung)
{
    l->is_fixed = true;
    l->fixed = rung;
}

uint32_t ladder_strangers(const struct ladder *l, size_t place)
{
    uint32_t ports = 0;
    for (size_t port = 0; port < l->port_count; port++) {
        enum ladder_answer last = l->answers[place][port];
        /* Nobody listens, and yet the port is taken where it counts: see uv_agent_rungs.c. */
        bool is_deaf = last == LADDER_FREE && l->is_here[place];
        bool is_stranger = last == LADDER_STRANGER || last == LADDER_SILENT || is_deaf;
        ports |= is_stranger ? 1U << port : 0;
    }
    return ports;
}

int64_t ladder_patience_ms(const struct ladder *l, struct ladder_rung rung)
{
    bool was_silent = l->answers[rung.place][rung.port] == LADDER_SILENT;
    return was_silent || l->is_fixed ? LONG_PATIENCE_MS : PATIENCE_MS;
}

/* "ports 23001, 23012: nothing listens"; false: no port has this answer. */
static bool describe_ports(const struct ladder *l, size_t place, enum ladder_answer answer,
                           const char *text, bool is_first, struct mu_buf *out)
{
    size_t count = 0;
    for (size_t port = 0; port < l->port_count; port++) {
        count += l->answers[place][port] == answer;
    }
    if (count == 0) {
        return false;
    }
    mu_buf_printf(out, "%s%s on port%s ", is_first ? ": " : ", ", text, count > 1 ? "s" : "");
    const char *before = "";
    for (size_t port = 0; port < l->port_count; port++) {
        if (l->answers[place][port] == answer) {
            mu_buf_printf(out, "%s%u", before, l->ports[port]);
            before = " ";
        }
    }
    return true;
}

/* There is no way to the place's machine: what was known of its ports is old. False: there is. */
static bool describe_lost(const struct ladder *l, size_t place, struct mu_buf *out)
{
    for (size_t port = 0; port < l->port_count; port++) {
        enum ladder_answer last = l->answers[place][port];
        if (last == LADDER_DEAD || last == LADDER_UNRESOLVED) {
            mu_buf_printf(out, last == LADDER_DEAD ? "%s port %u: " : "%s: ", l->places[place],
                          l->ports[port]);
            mu_buf_printf(out, "%s", l->whys[place]);
            return true;
        }
    }
    return false;
}

static bool is_all(const struct ladder *l, size_t place, enum ladder_answer answer)
{
    for (size_t port = 0; port < l->port_count; port++) {
        enum ladder_answer last = l->answers[place][port];
        if (last != answer && last != LADDER_UNTRIED) {
            return false;
        }
    }
    return true;
}

/* Is it the machine of a place before it, under another name, with nothing new to say? */
static bool is_repetition(const struct ladder *l, size_t place)
{
    for (size_t before = 0; before < place; before++) {
        bool is_same = l->addresses[place][0] != '\0' &&
                       strcmp(l->addresses[place], l->addresses[before]) == 0;
        for (size_t port = 0; port < l->port_count && is_same; port++) {
            enum ladder_answer last = l->answers[place][port];
            is_same = last == LADDER_UNTRIED || last == l->answers[before][port];
        }
        if (is_same) {
            return true;
        }
    }
    return false;
}

static void describe_name(const struct ladder *l, size_t place, struct mu_buf *out)
{
    bool has_address =
        l->addresses[place][0] != '\0' && strcmp(l->addresses[place], l->places[place]) != 0;
    mu_buf_printf(out, has_address ? "%s (%s)" : "%s", l->places[place], l->addresses[place]);
}

/* Does nobody listen on any port of this place, and of one before it on just the same ports? */
static bool is_as_free(const struct ladder *l, size_t place, size_t before)
{
    return is_all(l, place, LADDER_FREE) &&
           memcmp(l->answers[place], l->answers[before], sizeof(l->answers[0])) == 0;
}

static void describe_place(const struct ladder *l, size_t place, struct mu_buf *out)
{
    static const struct {
        enum ladder_answer answer;
        const char *text;
    } kinds[] = {
        {LADDER_FREE, "nothing listens"},
        {LADDER_STRANGER, "another job or program"},
        {LADDER_SILENT, "something that does not answer"},
        {LADDER_LATER, "a coordinator that says: try again"},
    };
    if (describe_lost(l, place, out)) {
        return;
    }
    describe_name(l, place, out);
    for (size_t after = place + 1; after < l->place_count; after++) {
        if (is_as_free(l, after, place) && !is_repetition(l, after)) {
            mu_buf_printf(out, ", ");
            describe_name(l, after, out);
        }
    }
    bool is_first = true;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (describe_ports(l, place, kinds[i].answer, kinds[i].text, is_first, out)) {
            is_first = false;
        }
    }
    if (!is_all(l, place, LADDER_FREE)) {
        mu_buf_printf(out, is_first ? ": %s" : " (%s)", l->whys[place]);
    }
}

void ladder_describe(const struct ladder *l, struct mu_buf *out)
{
    const char *before = "";
    for (size_t place = 0; place < l->place_count; place++) {
        bool is_said = is_all(l, place, LADDER_UNTRIED) || is_repetition(l, place);
        for (size_t earlier = 0; earlier < place && !is_said; earlier++) {
            is_said = is_as_free(l, place, earlier);
        }
        if (!is_said) {
            mu_buf_printf(out, "%s", before);
            describe_place(l, place, out);
            before = "; ";
        }
    }
}
