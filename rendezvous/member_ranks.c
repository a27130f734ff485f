/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of workers, once the order of the nodes is known.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

struct role {
    struct hash_link link;
    const char *name; /* borrowed */
    uint32_t world;   /* workers of it, as far as they are counted */
};

static struct role *find(const struct hash_index *roles, uint64_t hash, const char *name)
{
    struct hash_link *link = hash_index_first(roles, hash);
    for (; link != NULL; link = hash_index_next(link)) {
        struct role *r = mu_container_of(link, struct role, link);
        if (strcmp(r->name, name) == 0) {
            return r;
        }
    }
    return NULL;
}

uint32_t member_number_ranks(const struct member *m, struct member_node *const *placed,
                             uint32_t count, uint32_t *ret_role_worlds)
{
    struct hash_index index;
    hash_index_init(&index);
    mu_autofree struct role *roles = mu_calloc(count, sizeof(*roles));
    mu_autofree struct role **role_of = mu_calloc(count, sizeof(struct role *));
    uint32_t role_count = 0;
    uint32_t world = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct member_node *n = placed[i];
        uint64_t hash = hash_mix_text(m->index.seed, n->role);
        struct role *r = find(&index, hash, n->role);
        if (r == NULL) {
            r = &roles[role_count++];
            r->name = n->role;
            hash_index_add(&index, &r->link, hash);
        }
        role_of[i] = r;
        n->first_rank = world;
        n->role_first_rank = r->world;
        world += n->slots;
        r->world += n->slots;
    }
    for (uint32_t i = 0; i < count; i++) {
        ret_role_worlds[i] = role_of[i]->world;
    }
    for (uint32_t i = 0; i < role_count; i++) {
        hash_index_take(&index, &roles[i].link);
    }
    hash_index_fini(&index);
    return world;
}
