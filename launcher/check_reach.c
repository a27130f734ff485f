/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that could not be made, and who explains them.
 */
#include "launcher/check_links.h"

#include "launcher/check_blame.h"
#include "muster/addr.h"
#include "muster/mem.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 512, PAIR_LINES = 12 };

static const char expected[] = "every TCP port open between the nodes: PyTorch, NCCL and Gloo "
                               "choose theirs freely";

/* What usually is behind it, and what to do. */
static const char *advice(enum check_link_state state, const char *address)
{
    if (mu_addr_is_loopback_name(address)) {
        return "that is an address for the node itself: mend /etc/hosts, where its name stands for "
               "it, or choose the network with --iface or --cidr";
    }
    switch (state) {
    case CHECK_LINK_REFUSED:
        return "a firewall rejects them (`nft list ruleset`, `iptables -S`), or another machine "
               "has this address";
    case CHECK_LINK_NO_ROUTE:
        return "if the address is of a network that not all nodes are in, choose another with "
               "--iface or --cidr; else look for a route (`ip route get ADDRESS`) or a firewall";
    case CHECK_LINK_RESET:
        return "something between the nodes ends connections: a proxy, a firewall that inspects "
               "them, or another machine that has this address";
    case CHECK_LINK_SILENT:
        return "a firewall drops them (`nft list ruleset`, `iptables -S`), or the cable or switch "
               "port is bad; if the address is of the wrong network, choose another with --iface "
               "or --cidr";
    case CHECK_LINK_UNTRIED:
    case CHECK_LINK_OK:
    case CHECK_LINK_STATES:
        break;
    }
    return "look at the firewalls of both nodes";
}

/* The way in which most of some links failed. */
struct states {
    size_t of[CHECK_LINK_STATES];
};

static void states_add(struct states *s, const struct check_link *link)
{
    if (link->state > CHECK_LINK_OK) {
        s->of[link->state]++;
    }
}

static enum check_link_state states_main(const struct states *s)
{
    enum check_link_state most = CHECK_LINK_SILENT;
    for (int k = CHECK_LINK_OK + 1; k < CHECK_LINK_STATES; k++) {
        most = s->of[k] > s->of[most] ? (enum check_link_state)k : most;
    }
    return most;
}

static bool is_bad(enum check_link_state state)
{
    return state > CHECK_LINK_OK;
}

/* The state of all the links that a blamed side of a node has. */
static enum check_link_state state_of_blame(const struct check_links *l,
                                            const struct check_blame *b)
{
    struct states s = {0};
    for (size_t other = 0; other < l->count; other++) {
        if (b->side != CHECK_BLAME_OUT) {
            states_add(&s, check_links_at(l, other, b->node));
        }
        if (b->side != CHECK_BLAME_IN) {
            states_add(&s, check_links_at(l, b->node, other));
        }
    }
    return states_main(&s);
}

static void add_blame(const struct check_links *l, const struct check_blame *b,
                      struct check_findings *findings)
{
    const struct check_links_node *node = &l->nodes[b->node];
    enum check_link_state state = state_of_blame(l, b);
    const char *how = check_link_state_name(state);
    char found[TEXT];
    if (b->side == CHECK_BLAME_IN) {
        snprintf(found, sizeof(found),
                 "no other node can connect to it at %s: %s (what it connects to itself answers)",
                 node->address, how);
    } else if (b->side == CHECK_BLAME_OUT) {
        snprintf(found, sizeof(found), "it can connect to no other node: %s (others connect to it)",
                 how);
    } else {
        snprintf(found, sizeof(found),
                 "it and the other nodes cannot connect to each other, at %s: %s", node->address,
                 how);
    }
    check_findings_add(findings, CHECK_ERROR, node->name, "reach", found, expected,
                       advice(state, node->address));
}

static void add_all(const struct check_links *l, struct check_findings *findings)
{
    struct states s = {0};
    for (size_t i = 0; i < l->count * l->count; i++) {
        states_add(&s, &l->links[i]);
    }
    enum check_link_state state = states_main(&s);
    char found[TEXT];
    snprintf(found, sizeof(found),
             "no node can connect to any other, but for the coordinator's port: %s",
             check_link_state_name(state));
    check_findings_add(findings, CHECK_ERROR, NULL, "reach", found, expected,
                       advice(state, l->nodes[0].address));
}

/* Does the way back work, for all of them? */
static bool is_one_way(const struct check_links *l, const uint32_t *from, size_t count, size_t to)
{
    for (size_t i = 0; i < count; i++) {
        if (check_links_at(l, to, from[i])->state != CHECK_LINK_OK) {
            return false;
        }
    }
    return true;
}

/* The only node that cannot connect to `to`; `count` if there is none or another one. */
static size_t only_one(const uint8_t *cells, size_t count, size_t to)
{
    size_t found = count;
    for (size_t i = 0; i < count; i++) {
        if (cells[i * count + to] == CHECK_BLAME_BAD) {
            if (found != count) {
                return count;
            }
            found = i;
        }
    }
    return found;
}

/* What is wrong between two nodes alone, in both directions, is one finding about both. */
static size_t add_mutual(const struct check_links *l, uint8_t *cells,
                         struct check_findings *findings)
{
    size_t lines = 0;
    for (size_t a = 0; a < l->count && lines < PAIR_LINES; a++) {
        size_t b = only_one(cells, l->count, a);
        if (b == l->count || b < a || only_one(cells, l->count, b) != a) {
            continue;
        }
        struct states s = {0};
        states_add(&s, check_links_at(l, a, b));
        states_add(&s, check_links_at(l, b, a));
        enum check_link_state state = states_main(&s);
        bool is_a = mu_addr_is_loopback_name(l->nodes[a].address);
        const char *fix = advice(state, l->nodes[is_a ? a : b].address);
        char found[TEXT];
        snprintf(found, sizeof(found), "they cannot connect to each other, at %s and %s: %s",
                 l->nodes[a].address, l->nodes[b].address, check_link_state_name(state));
        const size_t both[] = {a, b};
        for (size_t i = 0; i < MU_COUNT(both); i++) {
            check_findings_add(findings, CHECK_ERROR, l->nodes[both[i]].name, "reach", found,
                               expected, fix);
            cells[both[i] * l->count + both[1 - i]] = CHECK_BLAME_EXPLAINED;
        }
        lines++;
    }
    return lines;
}

/* All that no node explains, by the node that was dialed. */
static void add_pairs(const struct check_links *l, uint8_t *cells, struct check_findings *findings)
{
    mu_autofree uint32_t *from = mu_calloc(l->count, sizeof(*from));
    size_t lines = add_mutual(l, cells, findings);
    size_t left_out = 0;
    for (size_t to = 0; to < l->count; to++) {
        struct states s = {0};
        size_t n = 0;
        for (size_t i = 0; i < l->count; i++) {
            if (cells[i * l->count + to] == CHECK_BLAME_BAD) {
                from[n++] = (uint32_t)i;
                states_add(&s, check_links_at(l, i, to));
            }
        }
        if (n == 0 || ++lines > PAIR_LINES) {
            left_out += n;
            continue;
        }
        enum check_link_state state = states_main(&s);
        struct mu_buf found = {0};
        check_links_append_names(l, from, n, &found);
        mu_buf_printf(&found, " cannot connect to it at %s: %s%s", l->nodes[to].address,
                      check_link_state_name(state),
                      is_one_way(l, from, n, to) ? " (the other way works)" : "");
        mu_autofree char *text = mu_buf_take_text(&found);
        check_findings_add(findings, CHECK_ERROR, l->nodes[to].name, "reach", text, expected,
                           advice(state, l->nodes[to].address));
    }
    if (left_out > 0) {
        char found[TEXT];
        snprintf(found, sizeof(found), "%zu more pairs of nodes cannot connect", left_out);
        check_findings_add(findings, CHECK_ERROR, NULL, "reach", found, expected,
                           "--json lists them all");
    }
}

/* The port that everybody has to begin with. Who is here in spite of it came by another. */
static void judge_doors(const struct check_links *l, struct check_findings *findings)
{
    for (size_t i = 0; i < l->count; i++) {
        enum check_link_state state = l->nodes[i].door;
        if (!is_bad(state)) {
            continue;
        }
        char found[TEXT];
        char expects[TEXT];
        snprintf(found, sizeof(found), "it cannot connect to the coordinator's port, %s: %s",
                 l->door, check_link_state_name(state));
        snprintf(expects, sizeof(expects), "every node can connect to %s", l->door);
        check_findings_add(findings, CHECK_ERROR, l->nodes[i].name, "coordinator", found, expects,
                           advice(state, ""));
    }
}

void check_reach_judge(const struct check_links *l, struct check_findings *findings)
{
    size_t tried = 0;
    size_t bad = 0;
    mu_autofree uint8_t *cells = mu_calloc(l->count * l->count, 1);
    for (size_t i = 0; i < l->count * l->count; i++) {
        enum check_link_state state = l->links[i].state;
        tried += state != CHECK_LINK_UNTRIED ? 1 : 0;
        bad += is_bad(state) ? 1 : 0;
        cells[i] = is_bad(state)                 ? CHECK_BLAME_BAD
                   : state == CHECK_LINK_UNTRIED ? CHECK_BLAME_UNTRIED
                                                 : CHECK_BLAME_FINE;
    }
    judge_doors(l, findings);
    if (bad == 0) {
        return;
    }
    if (bad == tried && l->count > 2) {
        add_all(l, findings);
        return;
    }
    struct check_blame blames[CHECK_BLAME_MAX];
    size_t count = check_blame_find(cells, l->count, true, blames);
    for (size_t i = 0; i < count; i++) {
        add_blame(l, &blames[i], findings);
    }
    add_pairs(l, cells, findings);
}
