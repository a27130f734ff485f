/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_plan.h"

#include "launcher/launch_order.h"
#include "launcher/shell_words.h"
#include "muster/env.h"
#include "muster/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list {
    char **items; /* owned, NULL-terminated */
    size_t count;
};

struct launch_plan {
    struct launch_spec spec;
    struct hostfile hosts;
    char **ssh; /* owned; the words of --ssh-command */
    size_t ssh_count;
    char *command;   /* owned; for the login shell of the other side */
    char **targets;  /* owned; user@host, one for each host */
    struct list env; /* what is handed over */
    int cut;         /* argv[cut] and what follows are not options of ours */
};

static void add(struct list *list, char *text) /* takes */
{
    list->items = mu_realloc(list->items, (list->count + 2) * sizeof(*list->items));
    list->items[list->count++] = text;
    list->items[list->count] = NULL;
}

static void free_items(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
}

/* OpenSSH's. Others ("blaunch") get a host and a command only. */
static bool is_openssh(const struct launch_plan *p)
{
    const char *slash = strrchr(p->ssh[0], '/');
    return strcmp(slash != NULL ? slash + 1 : p->ssh[0], "ssh") == 0;
}

/*
 * No terminal, no forwarding, and no question that nobody would answer. An address that does not
 * answer is known as such within 8 s, a host that has gone without a word within 15 s. ssh takes
 * the first of two values, so those of --ssh-command win.
 */
static const char *const ssh_options[] = {"-T", "-x",
                                          "-o", "BatchMode=yes",
                                          "-o", "ConnectTimeout=8",
                                          "-o", "ServerAliveInterval=5",
                                          "-o", "ServerAliveCountMax=3"};

/* ---- the environment ---- */

/* What steers this launch is no business of the agents', or of a muster that a worker starts. */
static bool is_of_launch(const char *entry)
{
    static const enum options_id ids[] = {OPTION_launch, OPTION_hostfile, OPTION_ssh_command,
                                          OPTION_export_env};
    char name[64];
    for (size_t i = 0; i < MU_COUNT(ids); i++) {
        options_origin_name(ids[i], OPTIONS_FROM_MUSTER, name, sizeof(name));
        size_t len = strlen(name);
        if (strncmp(entry, name, len) == 0 && entry[len] == '=') {
            return true;
        }
    }
    return false;
}

static int add_exports(struct launch_plan *p, struct mu_err *err)
{
    const char *rest = p->spec.opts->export_env;
    struct mu_slice entry;
    while (rest != NULL && mu_slice_next_entry(&rest, &entry)) {
        mu_autofree char *text = mu_slice_dup(entry);
        if (entry.len == 0) {
            continue;
        }
        if (text[0] == '=') {
            return mu_err_set(err, MU_E_USAGE, 0, "--export: '%s' has no name", text);
        }
        if (strchr(text, '=') != NULL) {
            add(&p->env, mu_strdup(text));
            continue;
        }
        const char *value = mu_env_get(p->spec.envp, text);
        if (value == NULL) {
            return mu_err_set(err, MU_E_USAGE, 0,
                              "--export: %s is not set here; set it, or give %s=VALUE", text, text);
        }
        add(&p->env, mu_asprintf("%s=%s", text, value));
    }
    return 0;
}

static int plan_environment(struct launch_plan *p, struct mu_err *err)
{
    for (char *const *entry = p->spec.envp; *entry != NULL; entry++) {
        bool is_ours = strncmp(*entry, "MUSTER_", 7) == 0 || strncmp(*entry, "PET_", 4) == 0;
        if (is_ours && !is_of_launch(*entry) && strchr(*entry, '=') != NULL) {
            add(&p->env, mu_strdup(*entry));
        }
    }
    return add_exports(p, err);
}

/* ---- the command line ---- */

/* Where the agents' own options can be put in: before the script, and before a "--". */
static int find_cut(const struct launch_spec *spec)
{
    int cut = spec->argc;
    for (int i = 1; i < spec->argc && cut == spec->argc; i++) {
        bool is_script = &spec->argv[i] + 1 == spec->opts->script_args;
        cut = is_script || strcmp(spec->argv[i], "--") == 0 ? i : cut;
    }
    return cut;
}

static void add_option(struct list *list, enum options_id id, const char *value)
{
    add(list, mu_asprintf("--%s=%s", options_table()[id].name, value));
}

static void add_number(struct list *list, enum options_id id, size_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%zu", value);
    add_option(list, id, text);
}

static bool is_default(const struct options *opts, enum options_id id)
{
    return opts->origin[id] <= OPTIONS_FROM_SCHED;
}

/* The last of two options of a command line counts. */
static struct list plan_words(const struct launch_plan *p, size_t host)
{
    const struct options *o = p->spec.opts;
    const struct hostfile_host *h = &p->hosts.hosts[host];
    struct list list = {0};
    for (int i = 0; i < p->cut; i++) {
        add(&list, mu_strdup(p->spec.argv[i]));
    }
    add_option(&list, OPTION_launch, "none");
    add_option(&list, OPTION_scheduler, "none");
    if (!o->rendezvous.is_standalone) {
        char endpoint[MU_MAX_NAME + 16];
        mu_endpoint_format(&o->rendezvous.endpoint, endpoint, sizeof(endpoint));
        add_option(&list, OPTION_rdzv_endpoint, endpoint);
        add_option(&list, OPTION_rdzv_id, o->rdzv_id);
        add_number(&list, OPTION_node_rank, host);
    }
    if (is_default(o, OPTION_nnodes)) {
        add_number(&list, OPTION_nnodes, p->hosts.count - (size_t)o->spares);
    }
    if (is_default(o, OPTION_nproc_per_node) && h->slots > 0) {
        add_number(&list, OPTION_nproc_per_node, h->slots);
    }
    add_option(&list, OPTION_node_name, h->name);
    if (p->cut < p->spec.argc && strcmp(p->spec.argv[p->cut], "--") != 0) {
        add(&list, mu_strdup("--"));
    }
    for (int i = p->cut; i < p->spec.argc; i++) {
        add(&list, mu_strdup(p->spec.argv[i]));
    }
    return list;
}

/* ---- all of it ---- */

static int check(const struct launch_plan *p, struct mu_err *err)
{
    const struct options *o = p->spec.opts;
    if (o->standalone) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--standalone is for one node, this one; leave it or --launch out");
    }
    return 0;
}

static int plan_all(struct launch_plan *p, struct mu_err *err)
{
    const struct options *o = p->spec.opts;
    struct mu_buf command = {0};
    if (o->hostfile == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--launch %s needs the hosts: give --hostfile FILE, one host a line",
                          o->launch);
    }
    if (hostfile_read(o->hostfile, &p->hosts, err) != 0 || check(p, err) != 0) {
        return -1;
    }
    p->ssh = shell_words_split(o->ssh_command, &p->ssh_count, err);
    if (p->ssh == NULL) {
        return mu_err_wrap(err, "--ssh-command");
    }
    mu_buf_printf(&command, "exec ");
    if (shell_words_quote(p->spec.program, &command, err) != 0) {
        mu_buf_fini(&command);
        return mu_err_wrap(err, "the path of muster");
    }
    mu_buf_printf(&command, " " LAUNCH_COMMAND);
    p->command = mu_buf_take_text(&command);
    p->targets = mu_calloc(p->hosts.count, sizeof(*p->targets));
    for (size_t i = 0; i < p->hosts.count; i++) {
        const struct hostfile_host *h = &p->hosts.hosts[i];
        p->targets[i] = mu_asprintf("%s%s%s", h->user, h->user[0] != '\0' ? "@" : "", h->name);
    }
    p->cut = find_cut(&p->spec);
    return plan_environment(p, err);
}

struct launch_plan *launch_plan_new(const struct launch_spec *spec, struct mu_err *err)
{
    struct launch_plan *p = mu_alloc(sizeof(*p));
    p->spec = *spec;
    if (plan_all(p, err) != 0) {
        launch_plan_free(p);
        return NULL;
    }
    return p;
}

void launch_plan_free(struct launch_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; plan->targets != NULL && i < plan->hosts.count; i++) {
        free(plan->targets[i]);
    }
    free(plan->targets);
    hostfile_fini(&plan->hosts);
    shell_words_free(plan->ssh);
    free(plan->command);
    free_items(&plan->env);
    free(plan);
}

size_t launch_plan_count(const struct launch_plan *plan)
{
    return plan->hosts.count;
}

const char *launch_plan_name(const struct launch_plan *plan, size_t host)
{
    return plan->hosts.hosts[host].name;
}

const char *launch_plan_program(const struct launch_plan *plan)
{
    return plan->ssh[0];
}

char **launch_plan_command(const struct launch_plan *plan, size_t host)
{
    const char **words = mu_calloc(plan->ssh_count + MU_COUNT(ssh_options) + 3, sizeof(*words));
    size_t count = 0;
    for (size_t i = 0; i < plan->ssh_count; i++) {
        words[count++] = plan->ssh[i];
    }
    for (size_t i = 0; is_openssh(plan) && i < MU_COUNT(ssh_options); i++) {
        words[count++] = ssh_options[i];
    }
    words[count++] = plan->targets[host];
    words[count] = plan->command;
    return (char **)(uintptr_t)words;
}

int launch_plan_order(const struct launch_plan *plan, size_t host, struct mu_buf *out,
                      struct mu_err *err)
{
    static char *no_items[] = {NULL};
    struct list words = plan_words(plan, host);
    struct launch_order order = {.directory = (char *)(uintptr_t)plan->spec.directory,
                                 .args = words.items,
                                 .env = plan->env.items != NULL ? plan->env.items : no_items};
    int rc = launch_order_encode(&order, out, err);
    free_items(&words);
    return rc;
}
