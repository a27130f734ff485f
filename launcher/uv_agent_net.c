/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and interfaces of a round: which interface the workers are to use, and at which of its
 * addresses they reach the coordinator.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/net_iface.h"
#include "muster/addr.h"
#include "muster/mem.h"

/* --iface, --cidr; a job on one node has no use for them. */
static int choose(const struct uv_agent *a, int family, struct net_choice *ret_choice,
                  struct mu_err *err)
{
    const struct options *o = a->opts;
    bool is_one_node = o->nnodes.max == 1 && o->spares == 0;
    struct net_iface_wish wish = {.names = is_one_node ? NULL : o->iface,
                                  .networks = is_one_node ? NULL : o->cidr};
    return net_iface_choose_here(&wish, family, ret_choice, err);
}

int uv_agent_net_check(struct uv_agent *a, struct mu_err *err)
{
    return choose(a, AF_INET, &a->net, err);
}

void uv_agent_net_address(const struct uv_agent *a, int family, char text[INET6_ADDRSTRLEN])
{
    struct net_choice choice = {0};
    struct mu_err err = MU_ERR_INIT;
    bool is_known = choose(a, family, &choice, &err) == 0 && choice.name[0] != '\0' &&
                    !mu_addr_is_loopback_name(choice.address);
    snprintf(text, INET6_ADDRSTRLEN, "%s", is_known ? choice.address : "");
}

static void on_tried(void *arg)
{
    uv_agent_workers_ready(arg);
}

void uv_agent_net_welcome(struct uv_agent *a, const struct ctl_welcome *welcome)
{
    struct mu_slice address = welcome->master_addr;
    if (mu_slice_eq(address, mu_slice_of(a->master_addr))) {
        address.len = 0; /* it is proven already */
    }
    if (a->link == NULL || (address.len == 0 && a->told == NULL)) {
        return;
    }
    if (a->told == NULL) {
        a->told = uv_master_addr_new(&a->loop, on_tried, a);
    }
    struct uv_master_addr_spec spec = {.address = address,
                                       .port = uv_conn_peer_port(a->link),
                                       .node_name = a->opts->node_name,
                                       .known = a->master_addr};
    uv_master_addr_try(a->told, &spec);
}

bool uv_agent_net_is_trying(const struct uv_agent *a)
{
    return a->told != NULL && uv_master_addr_is_trying(a->told);
}

/*
 * This node's end of what it shares with the others, which for the coordinator's own node may be
 * known to them alone: its name often means 127.0.1.1 here.
 */
static const char *outward(const struct uv_agent *a, const char *address)
{
    const char *reached_at = a->coordinator != NULL ? coordinator_reached_at(a->coordinator) : "";
    return mu_addr_is_loopback_name(address) && reached_at[0] != '\0' ? reached_at : address;
}

/* Is the address that the coordinator told of one to be used? */
static bool is_told(const struct uv_agent *a)
{
    return a->told != NULL && uv_master_addr_proven(a->told)[0] != '\0';
}

const char *uv_agent_net_master(const struct uv_agent *a, const struct assignment *assignment)
{
    if (is_told(a)) {
        return uv_master_addr_proven(a->told);
    }
    return assignment->node_count > 1 ? outward(a, a->master_addr) : a->master_addr;
}

struct net_choice uv_agent_net_interface(const struct uv_agent *a,
                                         const struct assignment *assignment)
{
    struct net_choice choice = {0};
    if (assignment->node_count < 2) {
        return choice;
    }
    if (a->net.name[0] != '\0') {
        choice = a->net;
    } else {
        struct net_iface_list list;
        struct mu_err err = MU_ERR_INIT;
        /* Where the coordinator's node chose another network, the others meet it there. */
        const char *local = is_told(a) ? uv_master_addr_local(a->told) : a->local_addr;
        const char *address = outward(a, local);
        if (mu_addr_is_loopback_name(address) || net_iface_read(&list, &err) != 0) {
            return choice;
        }
        net_iface_of_address(&list, address, &choice);
        net_iface_free(&list);
    }
    if (choice.name[0] != '\0') {
        mu_log(MU_LOG_INFO, "workers are told to use the network interface %s (%s)", choice.name,
               choice.address);
    }
    return choice;
}
