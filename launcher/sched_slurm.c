/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slurm: the variables of a step's task (srun(1), "OUTPUT ENVIRONMENT VARIABLES").
 *
 * All of it works in a container without Slurm's programs and files. Never read: HOSTNAME, which
 * sbatch sets to the first node's name and srun hands on to all tasks.
 */
#include "launcher/sched_impl.h"

#include "launcher/gpu_list.h"
#include "launcher/slurm_conf.h"
#include "muster/buf.h"
#include "muster/mem.h"
#include "muster/names.h"
#include "muster/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the job ---- */

/* Of an array it is 14_6: scontrol and scancel take plain 14 for all of its tasks. */
static void name_job(const struct host_view *host, const char *job, struct sched *s)
{
    const char *array = sched_text(host, "SLURM_ARRAY_JOB_ID");
    const char *task = sched_text(host, "SLURM_ARRAY_TASK_ID");
    if (array != NULL && task != NULL) {
        snprintf(s->job_id, sizeof(s->job_id), "%.30s_%.30s", array, task);
    } else {
        snprintf(s->job_id, sizeof(s->job_id), "%.60s", job);
    }
    s->restart_count = (unsigned)sched_number(host, "SLURM_RESTART_COUNT", 0);
}

/* A requeued job numbers its steps from 0 again, and agents of a lost node may still run. */
static void name_run(const char *step, struct sched *s)
{
    char again[16] = "";
    if (s->restart_count > 0) {
        snprintf(again, sizeof(again), ".r%u", s->restart_count);
    }
    snprintf(s->run_id, sizeof(s->run_id), "%s.%.60s%s", s->job_id, step, again);
}

/* What is wrong with the step as a whole. */
static void refuse(struct sched *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct sched *s, const char *fmt, ...)
{
    if (s->refusal[0] == '\0') {
        va_list args;
        va_start(args, fmt);
        vsnprintf(s->refusal, sizeof(s->refusal), fmt, args);
        va_end(args);
    }
}

/* ---- tasks ---- */

/* The most tasks a node has, of "2,1(x2)"; 0 if that is no such text. */
static unsigned long most_tasks(const char *text)
{
    unsigned long most = 0;
    for (const char *at = text; *at != '\0';) {
        char *end = NULL;
        unsigned long count = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : 0;
        if (end == NULL) {
            return 0;
        }
        most = count > most ? count : most;
        at = end + strcspn(end, ",");
        at += *at == ',';
    }
    return most;
}

static void check_tasks(const struct host_view *host, struct sched *s)
{
    const char *text = sched_text(host, "SLURM_STEP_TASKS_PER_NODE");
    unsigned long most = text != NULL ? most_tasks(text) : 1;
    if (sched_number(host, "SLURM_LOCALID", 0) >= (int64_t)most) {
        most = (unsigned long)sched_number(host, "SLURM_LOCALID", 0) + 1;
    }
    if (most > 1) { /* where sbatch asked for more tasks, srun ignores --ntasks-per-node alone */
        refuse(s,
               "srun started muster %lu times on a node, but one agent starts all workers of its "
               "node; give srun --ntasks=%u --ntasks-per-node=1, and muster --nproc-per-node for "
               "the number of workers (or --standalone for %lu jobs of their own)",
               most, s->node_count, most);
    }
}

/* ---- nodes ---- */

/*
 * The order of the nodes is that of the step's list. In a step over several components of a
 * heterogeneous job the ids of nodes follow the components instead; the list is the same for all.
 */
static int place_node(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    int64_t id = sched_number(host, "SLURM_NODEID", -1);
    if (s->node_name[0] == '\0' && id >= 0 && (size_t)id < s->hosts.count) {
        snprintf(s->node_name, sizeof(s->node_name), "%s", s->hosts.names[id]);
    }
    if (s->node_name[0] == '\0') {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "SLURM_STEP_NODELIST names the nodes of the step, but neither "
                          "SLURMD_NODENAME nor SLURM_NODEID says which of them this is; let all of "
                          "Slurm's variables into the container");
    }
    long place = hostlist_find(&s->hosts, s->node_name);
    if (place < 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "SLURMD_NODENAME says that this is '%.64s', which is not among the nodes "
                          "of the step, SLURM_STEP_NODELIST='%.64s'; leave Slurm's variables as "
                          "they are, or give --scheduler none and --rdzv-endpoint",
                          s->node_name, sched_text(host, "SLURM_STEP_NODELIST"));
    }
    bool is_mixed =
        sched_number(host, "SLURM_HET_SIZE", 1) > 1 || sched_number(host, "SLURM_PACK_SIZE", 1) > 1;
    if (id >= 0 && id != place && !is_mixed) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "SLURM_NODEID says that %.64s is node %lld of the step, but in "
                          "SLURM_STEP_NODELIST='%.64s' it is node %ld; leave Slurm's variables as "
                          "they are, or give --scheduler none and --rdzv-endpoint",
                          s->node_name, (long long)id, sched_text(host, "SLURM_STEP_NODELIST"),
                          place);
    }
    s->node_index = (int32_t)place;
    return 0;
}

static void check_count(const struct host_view *host, struct sched *s, const char *list)
{
    static const char *const names[] = {"SLURM_STEP_NUM_NODES", "SLURM_NNODES"};
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        int64_t count = sched_number(host, names[i], s->node_count);
        if (count != s->node_count) {
            refuse(s,
                   "%s says %lld node%s, but %s names %u; if this is a batch script or a shell, "
                   "put srun in front of muster, else leave Slurm's variables (and srun's "
                   "--preserve-env) alone",
                   names[i], (long long)count, count == 1 ? "" : "s", list, s->node_count);
        }
    }
}

/* ---- where the first node is ---- */

static void add_place(struct sched *s, const char *text, size_t len)
{
    char place[MU_MAX_NAME + 1];
    if (len == 0 || len > MU_MAX_NAME || s->place_count == SCHED_PLACES) {
        return;
    }
    snprintf(place, sizeof(place), "%.*s", (int)len, text);
    if (!mu_names_is_presentable(mu_slice_of(place))) {
        return;
    }
    for (size_t i = 0; i < s->place_count; i++) {
        if (strcmp(s->places[i], place) == 0) {
            return;
        }
    }
    memcpy(s->places[s->place_count++], place, len + 1);
}

/*
 * Nodes of a cloud have names that nobody resolves; until 23.02 Slurm says their addresses:
 * "n1:[10.0.0.1]:host1,n2:...", without brackets before 21.08; "(null)" or "TBD" if it has none.
 */
static void add_alias(struct sched *s, const char *aliases)
{
    size_t name = strlen(s->hosts.names[0]);
    for (const char *at = aliases; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, s->hosts.names[0], name) != 0 || at[name] != ':') {
            continue;
        }
        const char *addr = at + name + 1;
        bool has_brackets = *addr == '[';
        addr += has_brackets;
        add_place(s, addr, strcspn(addr, has_brackets ? "]" : ":"));
        return;
    }
}

static void find_places(const struct host_view *host, const char *node_addr, struct sched *s)
{
    static const char *const aliases[] = {
        "SLURM_NODE_ALIASES", "SLURM_NODE_ALIASES_HET_GROUP_0", "SLURM_NODE_ALIASES_HET_GROUP_1",
        "SLURM_NODE_ALIASES_HET_GROUP_2", "SLURM_NODE_ALIASES_HET_GROUP_3"};
    for (size_t i = 0; i < MU_COUNT(aliases); i++) {
        const char *text = sched_text(host, aliases[i]);
        if (text != NULL) {
            add_alias(s, text);
        }
    }
    add_place(s, s->hosts.names[0], strlen(s->hosts.names[0]));
    add_place(s, node_addr, strlen(node_addr));
    /* Where srun runs: the first node itself, in a batch script. */
    const char *srun = sched_text(host, "SLURM_LAUNCH_NODE_IPADDR");
    if (srun != NULL) {
        add_place(s, srun, strlen(srun));
    }
}

/* ---- a step's task, and a process that is none ---- */

static int read_step(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    static const char list_name[] = "SLURM_STEP_NODELIST";
    s->node_count = (uint32_t)s->hosts.count;
    s->is_echo = sched_number(host, "SLURM_PROCID", 0) > 0;
    name_run(sched_text(host, "SLURM_STEP_ID"), s);
    check_tasks(host, s);
    check_count(host, s, list_name);
    if (s->refusal[0] != '\0') {
        return 1;
    }
    if (place_node(host, s, err) != 0) {
        return -1;
    }
    struct slurm_conf conf;
    slurm_conf_read(host, s->hosts.names[0], &conf);
    s->kill_wait_ms = conf.kill_wait_ms;
    find_places(host, conf.node_addr, s);
    sched_ladder(s->run_id, s->ports);
    s->port_count = SCHED_PORTS;
    return 1;
}

/* A batch script, the shell of salloc. */
static int read_allocation(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    static const char *const lists[] = {"SLURM_JOB_NODELIST", "SLURM_NODELIST"};
    static const char *const counts[] = {"SLURM_JOB_NUM_NODES", "SLURM_NNODES"};
    s->is_alone = true;
    for (size_t i = 0; i < MU_COUNT(lists) && s->hosts.count == 0; i++) {
        const char *list = sched_text(host, lists[i]);
        if (list != NULL && hostlist_parse(list, &s->hosts, err) != 0) {
            return mu_err_wrap(err, "%s", lists[i]);
        }
    }
    int64_t count = (int64_t)s->hosts.count;
    for (size_t i = MU_COUNT(counts); i-- > 0;) {
        count = sched_number(host, counts[i], count);
    }
    int64_t components = sched_number(host, "SLURM_HET_SIZE", 1);
    s->node_count = (uint32_t)(components > count ? components : count);
    struct slurm_conf conf;
    slurm_conf_read(host, s->node_name, &conf);
    s->kill_wait_ms = conf.kill_wait_ms;
    return 1;
}

/*
 * Is it one of srun's tasks? The shell that salloc opens on the first node is one of a step that
 * has a number beyond all others; a batch script that was submitted by a task has the variables of
 * that task's step, on other nodes mostly.
 */
static bool is_task(const struct host_view *host, const struct sched *s)
{
    enum { MAX_STEP = 0x7fffffff };
    int64_t step = sched_number(host, "SLURM_STEP_ID", -1);
    if (step < 0 || step >= MAX_STEP || s->hosts.count == 0) {
        return false;
    }
    const char *job_list = sched_text(host, "SLURM_JOB_NODELIST");
    struct hostlist job = {0};
    bool is_foreign = s->node_name[0] != '\0' && hostlist_find(&s->hosts, s->node_name) < 0 &&
                      job_list != NULL && hostlist_parse(job_list, &job, NULL) == 0 &&
                      hostlist_find(&job, s->node_name) >= 0;
    hostlist_fini(&job);
    return !is_foreign;
}

int sched_slurm_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    const char *job = sched_text(host, "SLURM_JOB_ID");
    if (job == NULL) {
        return 0;
    }
    const char *list = sched_text(host, "SLURM_STEP_NODELIST");
    if (list != NULL && hostlist_parse(list, &s->hosts, err) != 0) {
        return mu_err_wrap(err, "SLURM_STEP_NODELIST");
    }
    const char *name = sched_text(host, "SLURMD_NODENAME");
    snprintf(s->node_name, sizeof(s->node_name), "%s", name != NULL ? name : "");
    name_job(host, job, s);
    int64_t gpus = gpu_list_slurm(host->envp);
    s->gpus = gpus > 0 ? (uint32_t)gpus : 0;
    if (is_task(host, s)) {
        return read_step(host, s, err);
    }
    hostlist_fini(&s->hosts);
    return read_allocation(host, s, err);
}
