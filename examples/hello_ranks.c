/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker without Python, to see whether a launch works before anything heavy is started:
 *
 *     muster run --nproc-per-node 8 --no-python hello_ranks [TIMEOUT_SECONDS]
 *
 * Checks that its environment is complete and consistent, meets all other ranks through the store,
 * checks that together they are what each believes, prints one line and exits 0. Otherwise says on
 * standard error what is wrong and exits 1.
 */
#include "muster/mem.h"
#include "muster/store_client.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>

/* Numbers every worker is given: field, variable, least, greatest. */
#define NUMBERS(X)                                            \
    X(world_size, "WORLD_SIZE", 1, 131072)                    \
    X(rank, "RANK", 0, w->world_size - 1)                     \
    X(local_world_size, "LOCAL_WORLD_SIZE", 1, w->world_size) \
    X(local_rank, "LOCAL_RANK", 0, w->local_world_size - 1)   \
    X(group_world_size, "GROUP_WORLD_SIZE", 1, w->world_size) \
    X(group_rank, "GROUP_RANK", 0, w->group_world_size - 1)   \
    X(role_world_size, "ROLE_WORLD_SIZE", 1, w->world_size)   \
    X(role_rank, "ROLE_RANK", 0, w->role_world_size - 1)      \
    X(master_port, "MASTER_PORT", 1, 65535)                   \
    X(max_restarts, "TORCHELASTIC_MAX_RESTARTS", 0, INT_MAX)  \
    X(restart_count, "TORCHELASTIC_RESTART_COUNT", 0, w->max_restarts)

struct worker {
#define X(field, variable, least, greatest) int64_t field;
    NUMBERS(X)
#undef X
    char host[HOST_NAME_MAX + 1];
};

/* What a worker tells the others. */
#define ABOUT(X)        \
    X(rank)             \
    X(world_size)       \
    X(local_rank)       \
    X(local_world_size) \
    X(group_rank)       \
    X(group_world_size) \
    X(restart_count)

static int read_number(const char *variable, int64_t least, int64_t greatest, int64_t *ret_number,
                       struct mu_err *err)
{
    const char *text = getenv(variable);
    if (text == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "%s is not set: was this started by a launcher?",
                          variable);
    }
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < least || v > greatest) {
        return mu_err_set(err, MU_E_USAGE, 0, "%s=%s is not in %" PRId64 " .. %" PRId64, variable,
                          text, least, greatest);
    }
    *ret_number = v;
    return 0;
}

static int read_environment(struct worker *w, struct mu_err *err)
{
    static const char *const texts[] = {"MASTER_ADDR", "ROLE_NAME", "TORCHELASTIC_RUN_ID",
                                        "TORCHELASTIC_USE_AGENT_STORE"};
#define X(field, variable, least, greatest)                            \
    if (read_number(variable, least, greatest, &w->field, err) != 0) { \
        return -1;                                                     \
    }
    NUMBERS(X)
#undef X
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        const char *text = getenv(texts[i]);
        if (text == NULL || text[0] == '\0') {
            return mu_err_set(err, MU_E_USAGE, 0, "%s is not set", texts[i]);
        }
    }
    if (getenv("TORCHELASTIC_ERROR_FILE") == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "TORCHELASTIC_ERROR_FILE is not set");
    }
    if (strcmp(getenv("TORCHELASTIC_USE_AGENT_STORE"), "True") != 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "TORCHELASTIC_USE_AGENT_STORE is not True: the launcher serves no store, "
                          "and this program has none of its own");
    }
    if (w->rank < w->local_rank || w->rank - w->local_rank + w->local_world_size > w->world_size) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "rank %" PRId64 " of %" PRId64 " cannot be local rank %" PRId64
                          " of %" PRId64,
                          w->rank, w->world_size, w->local_rank, w->local_world_size);
    }
    if (gethostname(w->host, sizeof(w->host)) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "gethostname");
    }
    w->host[sizeof(w->host) - 1] = '\0';
    return 0;
}

static void describe(const struct worker *w, struct mu_buf *about)
{
#define X(field) mu_buf_printf(about, #field " %" PRId64 " ", w->field);
    ABOUT(X)
#undef X
}

/* The number behind `name`, taken off `text`; -1 if that is not what comes next. */
static int take_number(const char **text, const char *name, int64_t *ret_number)
{
    size_t len = strlen(name);
    if (strncmp(*text, name, len) != 0) {
        return -1;
    }
    char *end;
    int64_t v = strtoll(*text + len, &end, 10);
    if (end == *text + len || *end != ' ') {
        return -1;
    }
    *text = end + 1;
    *ret_number = v;
    return 0;
}

/* What another worker said of itself; -1 if it is not what describe() makes. */
static int parse_about(struct mu_buf *about, struct worker *ret_worker)
{
    struct worker w = {0};
    mu_buf_append_u8(about, '\0');
    const char *text = (const char *)about->data;
#define X(field)                                     \
    if (take_number(&text, #field, &w.field) != 0) { \
        return -1;                                   \
    }
    ABOUT(X)
#undef X
    *ret_worker = w;
    return 0;
}

/*
 * All workers in order of rank must be whole nodes one after the other, node ranks and local ranks
 * counting up from 0: that makes ranks, and places on nodes, permutations.
 */
static int check_all(const struct worker *me, struct mu_buf *abouts, struct mu_err *err)
{
    int64_t node = 0;
    int64_t local = 0;
    int64_t local_world = 0;
    for (int64_t rank = 0; rank < me->world_size; rank++) {
        struct worker w;
        if (parse_about(&abouts[rank], &w) != 0 || w.rank != rank) {
            return mu_err_set(err, MU_E_PROTOCOL, 0, "rank %" PRId64 " says it is '%s'", rank,
                              (const char *)abouts[rank].data);
        }
        if (local == local_world) {
            node += rank > 0;
            local = 0;
            local_world = w.local_world_size;
        }
        if (w.world_size != me->world_size || w.group_world_size != me->group_world_size ||
            w.restart_count != me->restart_count || w.group_rank != node || w.local_rank != local ||
            w.local_world_size != local_world) {
            return mu_err_set(err, MU_E_PROTOCOL, 0,
                              "rank %" PRId64 " says '%s', which does not fit local rank %" PRId64
                              "/%" PRId64 " of node %" PRId64 "/%" PRId64,
                              rank, (const char *)abouts[rank].data, local, local_world, node,
                              me->group_world_size);
        }
        local++;
    }
    if (node != me->group_world_size - 1 || local != local_world) {
        return mu_err_set(err, MU_E_PROTOCOL, 0,
                          "%" PRId64 " ranks make %" PRId64 " nodes, not %" PRId64, me->world_size,
                          node + 1, me->group_world_size);
    }
    return 0;
}

/* A timeout says more when it says who is missing. */
static void name_missing(struct store_conn *store, const char *const *keys, size_t count,
                         struct mu_err *err)
{
    const char *first = NULL;
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        bool has_come = true;
        if (store_conn_check(store, &keys[i], 1, &has_come, NULL) != 0) {
            return;
        }
        if (!has_come) {
            first = first != NULL ? first : keys[i];
            missing++;
        }
    }
    if (missing > 0) {
        mu_err_wrap(err, "%zu of %zu ranks did not come, the first is %s", missing, count, first);
    }
}

static int meet(const struct worker *w, struct store_conn *store, struct mu_err *err)
{
    size_t count = (size_t)w->world_size;
    char(*names)[32] = mu_calloc(count, sizeof(*names));
    const char **keys = mu_calloc(count, sizeof(*keys));
    struct mu_buf *abouts = mu_calloc(count, sizeof(*abouts));
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "rank/%zu", i);
        keys[i] = names[i];
    }
    struct mu_buf about = {0};
    describe(w, &about);
    int rc =
        store_conn_set(store, keys[w->rank],
                       (struct mu_slice){.ptr = (const char *)about.data, .len = about.len}, err);
    mu_buf_fini(&about);
    if (rc == 0) {
        rc = store_conn_multi_get(store, keys, count, abouts, err);
        if (rc != 0 && err->code == MU_E_TIMEOUT) {
            name_missing(store, keys, count, err);
        }
    }
    if (rc == 0) {
        rc = check_all(w, abouts, err);
    }
    if (rc == 0) {
        rc = store_conn_barrier(store, "met", w->world_size, err);
    }
    for (size_t i = 0; i < count; i++) {
        mu_buf_fini(&abouts[i]);
    }
    free(abouts);
    free(keys);
    free(names);
    return rc;
}

static int say_hello(struct worker *w, int64_t timeout_ms, struct mu_err *err)
{
    if (read_environment(w, err) != 0) {
        return -1;
    }
    /* A restart meets on keys of its own: those of the attempt before are still there. */
    mu_autofree char *prefix =
        mu_asprintf("hello_ranks/%s/%" PRId64, getenv("TORCHELASTIC_RUN_ID"), w->restart_count);
    struct store_conn *store =
        store_conn_open(getenv("MASTER_ADDR"), (uint16_t)w->master_port, prefix, timeout_ms, err);
    if (store == NULL) {
        return -1;
    }
    int rc = meet(w, store, err);
    store_conn_close(store);
    return rc;
}

int main(int argc, char **argv)
{
    int64_t timeout_s = argc > 1 ? strtoll(argv[1], NULL, 10) : 60;
    struct worker w = {0};
    struct mu_err err = MU_ERR_INIT;
    if (timeout_s < 1) {
        fprintf(stderr, "usage: %s [TIMEOUT_SECONDS]\n", argv[0]);
        return 2;
    }
    if (say_hello(&w, timeout_s * 1000, &err) != 0) {
        fprintf(stderr, "hello_ranks: rank %s: %s\n",
                getenv("RANK") != NULL ? getenv("RANK") : "unknown", err.text);
        return 1;
    }
    printf("rank %" PRId64 "/%" PRId64 " on %s (local %" PRId64 "/%" PRId64 ", node %" PRId64
           "/%" PRId64 "): met all %" PRId64 "\n",
           w.rank, w.world_size, w.host, w.local_rank, w.local_world_size, w.group_rank,
           w.group_world_size, w.world_size);
    return 0;
}
