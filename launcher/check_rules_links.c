/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_rule.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

static bool has_state(const json_t *link, const char *state)
{
    const char *is = check_rule_text(link, "state");
    return is != NULL && strcmp(is, state) == 0;
}

/* Somebody gave it an address, so it is meant to be used. */
static void check_nics(const struct check_rule *r)
{
    struct check_rule_names names = {0};
    size_t i;
    const json_t *nic;
    json_array_foreach (json_object_get(r->facts, "nics"), i, nic) {
        const char *name = check_rule_text(nic, "name");
        if (name != NULL && has_state(nic, "down") && check_rule_flag(nic, "has_address")) {
            check_rule_names_add(&names, name);
        }
    }
    if (names.count > 0) {
        mu_autofree char *text = check_rule_names_take(&names);
        check_rule_say(r, CHECK_WARNING, "nic", "a link: it has an address",
                       "see to the cable and the switch port, or take the address away",
                       "the network interface %s is down", text);
    }
}

/*
 * A port without a cable is no fault, there are cards with more ports than are used. One that has a
 * link but waits for its subnet manager is.
 */
static void check_rdma(const struct check_rule *r)
{
    struct check_rule_names waiting = {0};
    bool has_active = false;
    size_t i;
    const json_t *port;
    const json_t *ports = json_object_get(r->facts, "rdma");
    json_array_foreach (ports, i, port) {
        const char *name = check_rule_text(port, "name");
        has_active = has_active || has_state(port, "ACTIVE");
        if (name != NULL && (has_state(port, "INIT") || has_state(port, "ARMED"))) {
            check_rule_names_add(&waiting, name);
        }
    }
    if (waiting.count > 0) {
        mu_autofree char *text = check_rule_names_take(&waiting);
        check_rule_say(r, CHECK_WARNING, "rdma", "the state ACTIVE",
                       "see whether the subnet manager (opensm) runs: ibstat",
                       "the RDMA port %s has a link but is not active", text);
    } else if (i > 0 && !has_active && !check_rule_is_said(r->list, r->node, "nic")) {
        check_rule_say(r, CHECK_WARNING, "rdma", "the state ACTIVE: else NCCL takes slow TCP",
                       "see to cables and switch: ibstat",
                       "there are RDMA devices, but none of their ports is active");
    }
}

void check_rules_links(const struct check_rule *r)
{
    check_nics(r);
    check_rdma(r);
}
