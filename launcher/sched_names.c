/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched_impl.h"

#include "muster/mem.h"

#include <stdio.h>
#include <string.h>

int sched_own_hostname(const struct host_view *host, char name[MU_MAX_NAME + 1])
{
    return host_view_text(host, name, MU_MAX_NAME + 1, "/proc/sys/kernel/hostname") == 0 &&
                   name[0] != '\0'
               ? 0
               : -1;
}

static size_t label_length(const char *name)
{
    return strcspn(name, ".");
}

/* Is one of them the other without its domain? */
static bool is_same_host(const char *a, const char *b)
{
    size_t len = label_length(a);
    bool is_short = a[len] == '\0' || b[len] == '\0';
    return strcmp(a, b) == 0 || (is_short && label_length(b) == len && strncmp(a, b, len) == 0);
}

int32_t sched_find_host(const struct hostlist *hosts, const char *name)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (is_same_host(hosts->names[i], name)) {
            return (int32_t)i;
        }
    }
    return -1;
}

void sched_add_host(struct hostlist *hosts, struct mu_slice name)
{
    const char *last = hosts->count > 0 ? hosts->names[hosts->count - 1] : NULL;
    bool is_new = last == NULL || !mu_slice_eq(mu_slice_of(last), name);
    mu_autofree char *text = mu_slice_dup(name);
    if (is_new && name.len > 0 && name.len <= MU_MAX_NAME && hostlist_find(hosts, text) < 0) {
        hostlist_add(hosts, name.ptr, name.len);
    }
}

void sched_place_first(const struct host_view *host, struct sched *s)
{
    char own[MU_MAX_NAME + 1];
    if (s->hosts.count == 0) {
        return;
    }
    snprintf(s->places[s->place_count++], sizeof(s->places[0]), "%s", s->hosts.names[0]);
    sched_ladder(s->run_id, s->ports);
    s->port_count = SCHED_PORTS;
    if (sched_own_hostname(host, own) == 0) {
        s->node_index = sched_find_host(&s->hosts, own);
    }
    if (s->node_index >= 0) {
        snprintf(s->node_name, sizeof(s->node_name), "%s", s->hosts.names[s->node_index]);
    }
}
