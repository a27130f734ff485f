/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of hosts, the same on every node: which of them is this one?
 *
 * That whose address is this machine's own. Host names are not compared: the name in the file may
 * be an alias, a name on another network, or an address.
 */
#include "launcher/sched_impl.h"

#include "launcher/hostfile.h"
#include "muster/addr.h"
#include "muster/mem.h"
#include "muster/rand.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

enum host_answer { HOST_OTHER, HOST_OWN, HOST_UNKNOWN };

static enum host_answer look_up(const char *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(name, NULL, &hints, &list) != 0) {
        return HOST_UNKNOWN;
    }
    enum host_answer answer = HOST_OTHER;
    for (const struct addrinfo *a = list; a != NULL && answer == HOST_OTHER; a = a->ai_next) {
        answer = mu_addr_is_own(a->ai_addr) ? HOST_OWN : HOST_OTHER;
    }
    freeaddrinfo(list);
    return answer;
}

static int fail_twice(const char *path, const struct hostfile_host *a,
                      const struct hostfile_host *b, struct mu_err *err)
{
    return mu_err_set(err, MU_E_USAGE, 0,
                      "%s: '%s' (line %zu) and '%s' (line %zu) are both this machine; each node "
                      "belongs in the file once, with all of its slots",
                      path, a->name, a->line, b->name, b->line);
}

static int find_own(const char *path, const struct hostfile *file, struct sched *s,
                    struct mu_err *err)
{
    const struct hostfile_host *own = NULL;
    const char *unknown = NULL;
    for (size_t i = 0; i < file->count; i++) {
        const struct hostfile_host *h = &file->hosts[i];
        enum host_answer answer = look_up(h->name);
        if (answer == HOST_OWN && own != NULL) {
            return fail_twice(path, own, h, err);
        }
        if (answer == HOST_OWN) {
            own = h;
        } else if (answer == HOST_UNKNOWN && unknown == NULL) {
            unknown = h->name;
        }
    }
    if (own == NULL) {
        return mu_err_set(
            err, MU_E_USAGE, 0,
            "%s: none of its %zu hosts has an address of this machine%s%s%s; start "
            "muster on these hosts only, or give --launch ssh to start them from here",
            path, file->count, unknown != NULL ? " ('" : "", unknown != NULL ? unknown : "",
            unknown != NULL ? "', for one, does not resolve here)" : "");
    }
    s->node_index = (int32_t)(own - file->hosts);
    s->slots = own->slots;
    snprintf(s->node_name, sizeof(s->node_name), "%s", own->name);
    return 0;
}

int sched_hostfile_read(const char *path, bool is_outside, struct sched *s, struct mu_err *err)
{
    struct hostfile file;
    if (hostfile_read(path, &file, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < file.count; i++) {
        hostlist_add(&s->hosts, file.hosts[i].name, strlen(file.hosts[i].name));
    }
    s->node_count = (uint32_t)file.count;
    snprintf(s->places[s->place_count++], sizeof(s->places[0]), "%s", file.hosts[0].name);
    s->ports[s->port_count++] = MU_DEFAULT_PORT;
    if (is_outside) {
        mu_rand_uuid(s->run_id);
    }
    int rc = is_outside ? 0 : find_own(path, &file, s, err);
    hostfile_fini(&file);
    return rc;
}
