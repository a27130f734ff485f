/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/dry_run.h"

#include "launcher/find_program.h"
#include "launcher/worker_env.h"
#include "muster/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES_SHOWN = 8 }; /* of many: the first ones and the last */

/* This node's place by --node-rank or the scheduler; -1: its name will decide. */
static int64_t known_place(const struct options *opts)
{
    if (opts->node_rank >= 0) {
        return opts->node_rank;
    }
    return opts->sched != NULL ? opts->sched->node_index : -1;
}

/* The place this node would have in the largest job that is allowed. */
static struct assignment assignment_of(const struct options *opts)
{
    uint32_t slots = (uint32_t)opts->nproc_per_node;
    uint32_t nodes = (uint32_t)opts->nnodes.max;
    int64_t place = known_place(opts);
    uint32_t node_rank = place >= 0 && place < opts->nnodes.max ? (uint32_t)place : 0;
    return (struct assignment){.round = 1,
                               .node_rank = node_rank,
                               .node_count = nodes,
                               .first_rank = node_rank * slots,
                               .world_size = nodes * slots,
                               .role_first_rank = node_rank * slots,
                               .role_world_size = nodes * slots};
}

static void show_ranks(const struct options *opts, const struct assignment *a, struct mu_buf *text)
{
    uint32_t slots = (uint32_t)opts->nproc_per_node;
    mu_buf_printf(text, "%-6s %s\n", "node", "ranks");
    for (uint32_t node = 0; node < a->node_count; node++) {
        bool is_this = node == a->node_rank;
        if (node >= NODES_SHOWN && node + 1 < a->node_count && !is_this) {
            if (node == NODES_SHOWN || node == a->node_rank + 1) {
                mu_buf_printf(text, "...\n");
            }
            continue;
        }
        char ranks[32];
        if (slots == 1) {
            snprintf(ranks, sizeof(ranks), "%" PRIu32, node);
        } else {
            snprintf(ranks, sizeof(ranks), "%" PRIu32 "-%" PRIu32, node * slots,
                     (node + 1) * slots - 1);
        }
        mu_buf_printf(text, is_this ? "%-6" PRIu32 " %-15s this node, %s\n" : "%-6" PRIu32 " %s\n",
                      node, ranks, opts->node_name);
    }
    if (a->node_count > 1 && known_place(opts) < 0) {
        mu_buf_printf(text, "This node has no --node-rank: its place follows from the order of the "
                            "names.\n");
    }
}

/* What the number of workers and their places on this machine follow from. */
static void show_devices(const struct local_world *world, struct mu_buf *text)
{
    if (world->source[0] != '\0') {
        mu_buf_printf(text, "\nWorkers of this node are counted by %s.\n", world->source);
    }
    if (world->binding != NULL) {
        mu_buf_printf(text, "\nBound by --numa-binding %s:\n\n", world->binding->mode);
        numa_binding_describe(world->binding, text);
    }
}

/* One word of a command line, quoted for a shell where it needs to be. */
static void append_word(const char *word, struct mu_buf *text)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "_./+-=:,@%";
    if (word[0] != '\0' && strspn(word, safe) == strlen(word)) {
        mu_buf_printf(text, "%s", word);
        return;
    }
    mu_buf_append_u8(text, '\'');
    for (const char *p = word; *p != '\0'; p++) {
        if (*p == '\'') {
            mu_buf_printf(text, "'\\''");
        } else {
            mu_buf_append_u8(text, (uint8_t)*p);
        }
    }
    mu_buf_append_u8(text, '\'');
}

static bool is_inherited(const char *entry, char *const *env)
{
    for (; *env != NULL; env++) {
        if (strcmp(*env, entry) == 0) {
            return true;
        }
    }
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void show_worker(const struct options *opts, const struct worker_command *command,
                        char *const *env, struct mu_buf *text)
{
    mu_autofree char *cwd = getcwd(NULL, 0);
    mu_buf_printf(text, "\nLocal rank 0 would execute, in %s:\n\n   ", cwd != NULL ? cwd : "?");
    for (char *const *word = command->argv; *word != NULL; word++) {
        mu_buf_append_u8(text, ' ');
        append_word(*word, text);
    }
    size_t count = 0;
    while (command->envp[count] != NULL) {
        count++;
    }
    mu_autofree const char **set = mu_calloc(count + 1, sizeof(*set));
    size_t set_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_inherited(command->envp[i], env)) {
            set[set_count++] = command->envp[i];
        }
    }
    qsort(set, set_count, sizeof(*set), by_text);
    mu_buf_printf(text, "\n\nwith the environment of this shell and\n\n");
    for (size_t i = 0; i < set_count; i++) {
        const char *entry = set[i];
        bool is_unknown =
            opts->rendezvous.endpoint.port == 0 && strcmp(entry, "MASTER_PORT=0") == 0;
        mu_buf_printf(text, "    %s\n", is_unknown ? "MASTER_PORT=(any free one)" : entry);
    }
}

/* Where error files and logs would be, with the random part left open. Owned by the caller. */
static char *attempt_dir_of(const struct options *opts)
{
    if (opts->log_dir != NULL && strcmp(opts->log_dir, "/dev/null") == 0) {
        return NULL;
    }
    return mu_asprintf("%s/%s_XXXXXXXX/attempt_0",
                       opts->log_dir != NULL ? opts->log_dir : "(a temporary directory)",
                       opts->rdzv_id);
}

static int check_script(const struct options *opts, const char *script, struct mu_err *err)
{
    if (script != NULL && access(script, R_OK) != 0) {
        mu_err_set(err, MU_E_USAGE, 0, "script '%s': %s", opts->script, strerror(errno));
        return -1;
    }
    return 0;
}

int dry_run_show(const struct options *opts, const struct local_world *world, char *const *env,
                 struct mu_buf *text, struct mu_err *err)
{
    struct assignment a = assignment_of(opts);
    char endpoint[MU_MAX_NAME + 16];
    mu_endpoint_format(&opts->rendezvous.endpoint, endpoint, sizeof(endpoint));
    mu_buf_printf(text, "Job '%s': %" PRIu32 " node%s, %" PRIu32 " worker%s; coordinator: %s\n\n",
                  opts->rdzv_id, a.node_count, a.node_count == 1 ? "" : "s", a.world_size,
                  a.world_size == 1 ? "" : "s",
                  opts->rendezvous.is_standalone ? "in this process, on a free port" : endpoint);
    show_ranks(opts, &a, text);
    show_devices(world, text);

    mu_autofree char *program = find_program_of(opts, env, err);
    if (program == NULL) {
        return -1;
    }
    struct net_choice net = {0};
    const struct net_iface_wish wish = {.names = opts->iface, .networks = opts->cidr};
    if (a.node_count > 1 && net_iface_choose_here(&wish, AF_INET, &net, err) != 0) {
        return -1;
    }
    mu_autofree char *attempt_dir = attempt_dir_of(opts);
    struct worker_env_spec spec = {.opts = opts,
                                   .assignment = &a,
                                   .master_addr = opts->rendezvous.endpoint.host,
                                   .master_port = opts->rendezvous.endpoint.port,
                                   .attempt_dir = attempt_dir,
                                   .parent_env = env,
                                   .program = program,
                                   .binding = world->binding,
                                   .net = &net};
    struct worker_env *we = worker_env_new(&spec);
    const struct worker_command *command = worker_env_command(we, 0);
    show_worker(opts, command, env, text);
    int rc = check_script(opts, command->script, err);
    worker_env_free(we);
    if (rc == 0) {
        mu_buf_printf(text, "\nNothing was started.\n");
    }
    return rc;
}
