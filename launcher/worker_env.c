/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/worker_env.h"

#include "launcher/mpi_env.h"
#include "muster/buf.h"
#include "muster/env.h"
#include "muster/mem.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Set for every worker: the same for all, or not. Any value of the parent's gives way. */
static const char *const replaced[] = {
    "LOCAL_RANK",
    "RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "ROLE_NAME",
    "LOCAL_WORLD_SIZE",
    "WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_USE_AGENT_STORE",
    "TORCHELASTIC_ERROR_FILE",
    "TORCHELASTIC_SIGNALS_TO_HANDLE",
};

/* Replaced with --virtual-local-rank, and where file timers are taken. */
static const char visible_devices[] = "CUDA_VISIBLE_DEVICES";
static const char timer_file[] = "TORCHELASTIC_TIMER_FILE";

/*
 * What a worker with a GPU gets at most. Its CPU work is small (batches, optimizer steps of
 * offloaded parts) and gains nothing beyond, while threads that wait for each other spin.
 */
enum { MAX_THREADS_WITH_GPU = 16 };

/* Growable, NULL-terminated. */
struct strings {
    char **items;
    size_t count;
    size_t cap;
};

struct worker_env {
    struct worker_command *commands; /* owned, as are their argv and envp arrays */
    size_t count;
    struct strings owned; /* every string that is not borrowed */
    unsigned *threads;    /* owned; by local rank, NULL: OMP_NUM_THREADS is not ours to choose */
};

static void strings_add(struct strings *list, char *item)
{
    if (list->count + 1 >= list->cap) {
        list->cap = list->cap > 0 ? list->cap * 2 : 32;
        list->items = mu_realloc(list->items, list->cap * sizeof(*list->items));
    }
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
}

/* Hands `text` over to `we`; returns it. */
static char *own(struct worker_env *we, char *text)
{
    strings_add(&we->owned, text);
    return text;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Length of a reference to local_rank at `p`, which is at a '$'; 0 if it is none. */
static size_t reference_len(const char *p)
{
    static const char braced[] = "${local_rank}";
    static const char plain[] = "$local_rank";
    if (strncmp(p, braced, sizeof(braced) - 1) == 0) {
        return sizeof(braced) - 1;
    }
    bool is_plain =
        strncmp(p, plain, sizeof(plain) - 1) == 0 && !is_name_char(p[sizeof(plain) - 1]);
    return is_plain ? sizeof(plain) - 1 : 0;
}

char *worker_env_substitute(const char *text, size_t local_rank)
{
    struct mu_buf out = {0};
    for (const char *p = text; *p != '\0';) {
        size_t reference = *p == '$' ? reference_len(p) : 0;
        if (reference > 0) {
            mu_buf_printf(&out, "%zu", local_rank);
            p += reference;
        } else {
            mu_buf_append(&out, p, 1);
            p += p[0] == '$' && p[1] == '$' ? 2 : 1;
        }
    }
    return mu_buf_take_text(&out);
}

/* An argument of one worker: the text itself, shared by all, unless there is a '$' in it. */
static char *argument_of(struct worker_env *we, const char *text, size_t local_rank)
{
    if (strchr(text, '$') == NULL) {
        return (char *)(uintptr_t)text; /* execve() wants char *, and does not write */
    }
    return own(we, worker_env_substitute(text, local_rank));
}

static void build_argv(struct worker_env *we, const struct worker_env_spec *spec, size_t local_rank)
{
    const struct options *opts = spec->opts;
    struct worker_command *command = &we->commands[local_rank];
    struct strings argv = {0};
    command->program = spec->program;
    if (opts->no_python) {
        strings_add(&argv,
                    (char *)(uintptr_t)opts->script); /* torchrun substitutes arguments only */
    } else {
        static char unbuffered[] = "-u";
        static char module[] = "-m";
        strings_add(&argv, (char *)(uintptr_t)spec->program);
        strings_add(&argv, unbuffered);
        if (opts->module) {
            strings_add(&argv, module);
        }
        char *script = argument_of(we, opts->script, local_rank);
        strings_add(&argv, script);
        bool is_file = !opts->module && strcmp(script, "-") != 0; /* "-" is standard input */
        command->script = is_file ? script : NULL;
    }
    for (char *const *arg = opts->script_args; *arg != NULL; arg++) {
        strings_add(&argv, argument_of(we, *arg, local_rank));
    }
    command->argv = argv.items;
}

static bool is_named(const char *entry, const char *name)
{
    size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && (entry[len] == '=' || entry[len] == '\0');
}

static bool is_left_out(const struct worker_env_spec *spec, const char *entry)
{
    if (spec->opts->virtual_local_rank && is_named(entry, visible_devices)) {
        return true;
    }
    if (spec->timer_file != NULL && is_named(entry, timer_file)) {
        return true;
    }
    if (!spec->opts->keep_mpi_env && mpi_env_is_launchers(entry)) {
        return true;
    }
    for (size_t i = 0; i < MU_COUNT(replaced); i++) {
        if (is_named(entry, replaced[i])) {
            return true;
        }
    }
    return false;
}

/*
 * The interface, for libraries that would guess one, or ask for the address of this host's name. A
 * variable that is set, even to nothing, is the user's.
 */
static void share_interface(struct worker_env *we, const struct worker_env_spec *spec,
                            struct strings *env)
{
    static const struct {
        const char *name;
        bool takes_prefixes; /* "eth1" is eth10, too, and "=eth1" is not */
    } variables[] = {
        {"GLOO_SOCKET_IFNAME", false}, {"NCCL_SOCKET_IFNAME", true}, {"TP_SOCKET_IFNAME", false}};
    const struct net_choice *net = spec->net;
    if (net == NULL || net->name[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < MU_COUNT(variables); i++) {
        const char *name = variables[i].name;
        const char *mark = variables[i].takes_prefixes && net->is_prefix ? "=" : "";
        if (mu_env_get(spec->parent_env, name) == NULL) {
            strings_add(env, own(we, mu_asprintf("%s=%s%s", name, mark, net->name)));
        }
    }
}

/* What all workers of the node have in common. */
static struct strings build_shared(struct worker_env *we, const struct worker_env_spec *spec)
{
    const struct options *opts = spec->opts;
    const struct assignment *a = spec->assignment;
    struct strings env = {0};
    for (char *const *entry = spec->parent_env; *entry != NULL; entry++) {
        if (!is_left_out(spec, *entry)) {
            strings_add(&env, *entry);
        }
    }
#define SHARE(...) strings_add(&env, own(we, mu_asprintf(__VA_ARGS__)))
    SHARE("GROUP_RANK=%" PRIu32, a->node_rank);
    SHARE("GROUP_WORLD_SIZE=%" PRIu32, a->node_count);
    SHARE("LOCAL_WORLD_SIZE=%zu", we->count);
    SHARE("WORLD_SIZE=%" PRIu32, a->world_size);
    SHARE("ROLE_NAME=%s", opts->role);
    SHARE("ROLE_WORLD_SIZE=%" PRIu32, a->role_world_size);
    SHARE("MASTER_ADDR=%s", spec->master_addr);
    SHARE("MASTER_PORT=%u", spec->master_port);
    SHARE("TORCHELASTIC_RESTART_COUNT=%" PRIu32, a->restart_count);
    SHARE("TORCHELASTIC_MAX_RESTARTS=%" PRId64, opts->max_restarts);
    SHARE("TORCHELASTIC_RUN_ID=%s", opts->rdzv_id);
    /* Every worker, rank 0 too, connects to MASTER_PORT instead of serving it. */
    SHARE("TORCHELASTIC_USE_AGENT_STORE=True");
    SHARE("TORCHELASTIC_SIGNALS_TO_HANDLE=%s", opts->signals_to_handle);
    if (spec->timer_file != NULL) {
        SHARE("%s=%s", timer_file, spec->timer_file);
    }
    if (mu_env_get(spec->parent_env, "TORCH_NCCL_ASYNC_ERROR_HANDLING") == NULL) {
        SHARE("TORCH_NCCL_ASYNC_ERROR_HANDLING=1");
    }
#undef SHARE
    share_interface(we, spec, &env);
    return env;
}

/* Never all cores for each of several workers: they would fight for them. */
static void choose_threads(struct worker_env *we, const struct worker_env_spec *spec)
{
    const struct numa_binding *binding = spec->binding;
    if (we->count == 1 || mu_env_get(spec->parent_env, "OMP_NUM_THREADS") != NULL) {
        return;
    }
    we->threads = mu_calloc(we->count, sizeof(*we->threads));
    for (size_t i = 0; i < we->count; i++) {
        unsigned cores = binding != NULL ? binding->workers[i].cores : 1;
        bool is_too_many = binding != NULL && binding->has_gpus && cores > MAX_THREADS_WITH_GPU;
        we->threads[i] = is_too_many ? MAX_THREADS_WITH_GPU : cores;
    }
}

/* The entry of a list at `index`; false if it is shorter. */
static bool entry_at(const char *list, size_t index, struct mu_slice *ret_entry)
{
    bool is_there = true;
    for (size_t i = 0; i <= index && is_there; i++) {
        is_there = mu_slice_next_entry(&list, ret_entry);
    }
    return is_there;
}

int worker_env_check(const struct options *opts, char *const *parent_env, struct mu_err *err)
{
    const char *list = mu_env_get(parent_env, visible_devices);
    struct mu_slice last;
    if (!opts->virtual_local_rank || list == NULL ||
        entry_at(list, (size_t)opts->nproc_per_node - 1, &last)) {
        return 0;
    }
    return mu_err_set(err, MU_E_USAGE, 0,
                      "--virtual-local-rank: %" PRId64 " workers need a GPU each, but "
                      "CUDA_VISIBLE_DEVICES='%.64s' has fewer; make it longer, or unset it",
                      opts->nproc_per_node, list);
}

/* LOCAL_RANK, and with --virtual-local-rank the one GPU that is number 0 then. */
static void add_local_rank(struct worker_env *we, const struct worker_env_spec *spec,
                           struct strings *env, size_t local_rank)
{
    if (!spec->opts->virtual_local_rank) {
        strings_add(env, own(we, mu_asprintf("LOCAL_RANK=%zu", local_rank)));
        return;
    }
    const char *list = mu_env_get(spec->parent_env, visible_devices);
    struct mu_slice entry = {0};
    bool is_listed = list != NULL && entry_at(list, local_rank, &entry);
    MU_REQUIRE(list == NULL || is_listed); /* worker_env_check() */
    strings_add(env, own(we, mu_strdup("LOCAL_RANK=0")));
    strings_add(env, own(we, is_listed ? mu_asprintf("%s=" MU_SLICE_FMT, visible_devices,
                                                     MU_SLICE_ARG(entry))
                                       : mu_asprintf("%s=%zu", visible_devices, local_rank)));
}

static void build_envp(struct worker_env *we, const struct worker_env_spec *spec,
                       const struct strings *shared, size_t local_rank)
{
    const struct assignment *a = spec->assignment;
    struct strings env = {0};
    env.cap = shared->count + 7; /* the six below and the NULL */
    env.items = mu_calloc(env.cap, sizeof(*env.items));
    env.count = shared->count;
    memcpy(env.items, shared->items, shared->count * sizeof(*env.items));

    add_local_rank(we, spec, &env, local_rank);
    if (we->threads != NULL) {
        strings_add(&env, own(we, mu_asprintf("OMP_NUM_THREADS=%u", we->threads[local_rank])));
    }
    strings_add(&env, own(we, mu_asprintf("RANK=%zu", a->first_rank + local_rank)));
    strings_add(&env, own(we, mu_asprintf("ROLE_RANK=%zu", a->role_first_rank + local_rank)));
    strings_add(&env, own(we, spec->attempt_dir != NULL
                                  ? mu_asprintf("TORCHELASTIC_ERROR_FILE=%s/%zu/error.json",
                                                spec->attempt_dir, local_rank)
                                  : mu_strdup("TORCHELASTIC_ERROR_FILE=")));
    we->commands[local_rank].envp = env.items;
}

struct worker_env *worker_env_new(const struct worker_env_spec *spec)
{
    MU_REQUIRE(spec->opts->command == OPTIONS_RUN && spec->opts->script != NULL);
    struct worker_env *we = mu_alloc(sizeof(*we));
    we->count = (size_t)spec->opts->nproc_per_node;
    we->commands = mu_calloc(we->count, sizeof(*we->commands));
    MU_REQUIRE(spec->binding == NULL || spec->binding->count == we->count);
    choose_threads(we, spec);
    struct strings shared = build_shared(we, spec);
    for (size_t i = 0; i < we->count; i++) {
        build_argv(we, spec, i);
        build_envp(we, spec, &shared, i);
        we->commands[i].mem_node = -1;
        we->commands[i].limits = spec->opts->limits.count > 0 ? &spec->opts->limits : NULL;
        if (spec->binding != NULL) {
            we->commands[i].cpus = &spec->binding->workers[i].cpus;
            we->commands[i].mem_node = spec->binding->workers[i].mem_node;
        }
    }
    free(shared.items);
    return we;
}

size_t worker_env_count(const struct worker_env *we)
{
    return we->count;
}

const struct worker_command *worker_env_command(const struct worker_env *we, size_t local_rank)
{
    MU_REQUIRE(local_rank < we->count);
    return &we->commands[local_rank];
}

unsigned worker_env_threads(const struct worker_env *we, size_t local_rank)
{
    return we->threads != NULL ? we->threads[local_rank] : 0;
}

void worker_env_free(struct worker_env *we)
{
    if (we == NULL) {
        return;
    }
    for (size_t i = 0; i < we->count; i++) {
        free((void *)(uintptr_t)we->commands[i].argv);
        free((void *)(uintptr_t)we->commands[i].envp);
    }
    for (size_t i = 0; i < we->owned.count; i++) {
        free(we->owned.items[i]);
    }
    free(we->owned.items);
    free(we->threads);
    free(we->commands);
    free(we);
}
