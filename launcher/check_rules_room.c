/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there enough of what workers share a node's: CPUs, memory, /dev/shm, disk?
 */
#include "launcher/check_rule.h"

#include <stdlib.h>
#include <string.h>

#define MIB (INT64_C(1024) * 1024)
#define GIB (1024 * MIB)

/* /dev/shm. Containers have 64 MiB unless told otherwise, Linux gives half of the memory. */
#define SHM_MIN      GIB       /* batches of data loaders, gloo: some workers fit in */
#define SHM_MIN_GPUS (8 * GIB) /* a gigabyte for each of eight workers with images or NCCL */
#define SHM_FREE     (256 * MIB)
/* A machine with little memory has a small one, and jobs to match: a quarter is no fault. */
enum { SHM_PART = 4 };

#define DISK_FREE                                                                  \
    (256 * MIB) /* compiled kernels, sockets and tracebacks fit; checkpoints don't \
                 */
enum {
    DISK_INODES = 1000,
    CPUS_PER_WORKER = 2, /* one for Python, one for all the rest of it */
    MEMORY_PERCENT = 90, /* Slurm keeps a few percent for the system even with --mem=0 */
    NAME_SLOW_MS = 2000, /* an answer of /etc/hosts or a name server takes milliseconds */
};

/* Is it of that name? */
static bool is_started_by(const json_t *facts, const char *scheduler)
{
    const char *name = check_rule_text(json_object_get(facts, "scheduler"), "name");
    return name != NULL && strcmp(name, scheduler) == 0;
}

/* Jobs get a part of a node, unless they ask for all of it. */
static bool is_batch(const json_t *facts)
{
    return check_rule_flag(json_object_get(facts, "scheduler"), "is_batch");
}

static int64_t workers_of(const json_t *facts)
{
    int64_t workers = check_rule_int(facts, "workers", 0);
    int64_t gpus = check_rule_gpus(facts);
    workers = workers > 0 ? workers : gpus;
    return workers > 0 ? workers : 1;
}

static const char *how_to_get_cpus(const json_t *facts)
{
    if (is_started_by(facts, "Slurm")) {
        return "--cpus-per-task=N for sbatch and for srun, which does not take it from sbatch "
               "(Slurm 22.05 and later)";
    }
    if (is_started_by(facts, "Open MPI")) {
        return "mpirun --bind-to none: else it binds each process to a core or a socket";
    }
    return "ask the scheduler for more CPUs on each node";
}

static void check_cpus(const struct check_rule *r)
{
    int64_t usable = check_rule_cpus(r->facts);
    int64_t machine = check_rule_int(json_object_get(r->facts, "cpus"), "machine", 0);
    int64_t workers = workers_of(r->facts);
    bool is_given = is_batch(r->facts) || is_started_by(r->facts, "Open MPI");
    if (usable == 0) {
        return;
    }
    if (is_given && usable < machine && usable / CPUS_PER_WORKER < workers) {
        check_rule_say(r, usable < workers ? CHECK_ERROR : CHECK_WARNING, "cpus",
                       "two CPUs or more for each worker: whatever started muster gave it few",
                       how_to_get_cpus(r->facts),
                       "%lld of the machine's %lld CPUs may be used, for %lld worker%s",
                       (long long)usable, (long long)machine, (long long)workers,
                       workers == 1 ? "" : "s");
    } else if (usable < workers) {
        check_rule_say(r, CHECK_WARNING, "cpus", "a CPU or more for each worker",
                       "fewer workers (--nproc-per-node), or more CPUs",
                       "%lld CPU%s for %lld workers", (long long)usable, usable == 1 ? "" : "s",
                       (long long)workers);
    }
}

/* Who has all of a machine's GPUs or CPUs is meant to have its memory too. */
static bool has_whole_machine(const json_t *facts)
{
    const json_t *gpus = json_object_get(facts, "gpus");
    int64_t count = check_rule_gpus(facts);
    if (count > 0) {
        return count >= check_rule_int(gpus, "machine", INT64_MAX);
    }
    return check_rule_cpus(facts) >=
           check_rule_int(json_object_get(facts, "cpus"), "machine", INT64_MAX);
}

static void check_memory(const struct check_rule *r)
{
    const json_t *memory = json_object_get(r->facts, "memory");
    int64_t total = check_rule_int(memory, "total", 0);
    int64_t limit = check_rule_int(memory, "limit", INT64_MAX);
    char limit_text[CHECK_RULE_SIZE];
    char total_text[CHECK_RULE_SIZE];
    /* In containers there is no limit but the one that somebody wrote down. */
    if (!is_batch(r->facts) || total <= 0 || limit < 0 || limit >= total / 100 * MEMORY_PERCENT ||
        !has_whole_machine(r->facts)) {
        return;
    }
    check_rule_say(r, CHECK_WARNING, "memory",
                   "all of it, for the job has the whole machine: else it is out of memory with "
                   "memory free",
                   is_started_by(r->facts, "Slurm") ? "--mem=0 for sbatch and srun"
                                                    : "ask the scheduler for the node's memory",
                   "%s of the machine's %s of memory may be used",
                   check_rule_size(limit, limit_text), check_rule_size(total, total_text));
}

static void check_shm(const struct check_rule *r)
{
    static const char fix_size[] = "containers: --shm-size=16g or --ipc=host (Docker), an emptyDir "
                                   "of medium Memory at /dev/shm (Kubernetes)";
    const json_t *shm = json_object_get(json_object_get(r->facts, "places"), "shm");
    int64_t size = check_rule_int(shm, "size", -1);
    int64_t memory = check_rule_int(json_object_get(r->facts, "memory"), "total", 0);
    int64_t wanted = check_rule_gpus(r->facts) > 0 ? SHM_MIN_GPUS : SHM_MIN;
    const char *error = check_rule_text(shm, "error");
    char text[CHECK_RULE_SIZE];
    if (error != NULL) {
        check_rule_say(r, CHECK_ERROR, "shm", "a tmpfs: workers of a node share memory there",
                       "mount -t tmpfs tmpfs /dev/shm", "/dev/shm cannot be used: %s", error);
    } else if (size < 0) {
        return;
    } else if (json_is_false(json_object_get(shm, "is_writable"))) {
        check_rule_say(r, CHECK_ERROR, "shm", "everybody may write there, as in /tmp",
                       "chmod 1777 /dev/shm", "/dev/shm cannot be written to");
    } else if (json_is_false(json_object_get(shm, "is_memory"))) {
        check_rule_say(r, CHECK_WARNING, "shm", "a tmpfs: what workers share is in memory",
                       "mount -t tmpfs tmpfs /dev/shm", "/dev/shm is on a disk");
    } else if (size < wanted && size < memory / SHM_PART) {
        bool is_short = check_rule_gpus(r->facts) > 1 && size < SHM_MIN; /* NCCL does not start */
        check_rule_say(r, is_short ? CHECK_ERROR : CHECK_WARNING, "shm",
                       wanted == SHM_MIN ? "1 GiB or more: data loaders and gloo use it"
                                         : "8 GiB or more: data loaders and NCCL use it",
                       fix_size, "/dev/shm has %s", check_rule_size(size, text));
    } else if (check_rule_int(shm, "free", size) < SHM_FREE && size >= SHM_PART * SHM_FREE) {
        check_rule_say(r, CHECK_WARNING, "shm", "256 MiB free or more",
                       "remove what earlier jobs left there: ls -l /dev/shm",
                       "/dev/shm is full but for %s",
                       check_rule_size(check_rule_int(shm, "free", size), text));
    }
}

static void check_dir(const struct check_rule *r, const json_t *dir, bool is_seen)
{
    const char *use = check_rule_text(dir, "use");
    const char *path = check_rule_text(dir, "path");
    const char *error = check_rule_text(dir, "error");
    char text[CHECK_RULE_SIZE];
    if (use == NULL || path == NULL) {
        return;
    }
    bool is_log = strcmp(use, "--log-dir") == 0;
    const char *what = is_log ? "log-dir" : "tmpdir";
    int64_t free_bytes = check_rule_int(dir, "free", INT64_MAX);
    int64_t inodes = check_rule_int(dir, "inodes", INT64_MAX);
    if (error != NULL) {
        check_rule_say(r, is_log ? CHECK_ERROR : CHECK_WARNING, what,
                       "a directory that may be written to",
                       is_log ? "make it, or give another --log-dir"
                              : "make it on every node, or unset TMPDIR where the job is submitted",
                       "%s %s cannot be used: %s", use, path, error);
    } else if (is_seen) {
        return; /* on the same file system as the one before */
    } else if (free_bytes < DISK_FREE) {
        check_rule_say(r, CHECK_WARNING, what, "256 MiB or more", "remove what is not needed there",
                       "%s are free in %s %s", check_rule_size(free_bytes, text), use, path);
    } else if (inodes < DISK_INODES) {
        check_rule_say(r, CHECK_WARNING, what, "1000 or more", "remove files there",
                       "%lld more files can be made in %s %s", (long long)inodes, use, path);
    }
}

static void check_places(const struct check_rule *r)
{
    const json_t *places = json_object_get(r->facts, "places");
    const json_t *dirs = json_object_get(places, "dirs");
    if (check_rule_flag(places, "is_late")) {
        check_rule_say(r, CHECK_ERROR, "disk", "an answer within seconds",
                       "see whether a network file system hangs: df, dmesg",
                       "the file system of /dev/shm, TMPDIR or --log-dir does not answer");
    }
    check_shm(r);
    size_t i;
    const json_t *dir;
    json_array_foreach (dirs, i, dir) {
        int64_t device = check_rule_int(dir, "device", -1);
        int64_t first = check_rule_int(json_array_get(dirs, 0), "device", -1);
        check_dir(r, dir, i > 0 && device >= 0 && device == first);
    }
}

static void check_name_service(const struct check_rule *r)
{
    const json_t *name = json_object_get(r->facts, "name");
    int64_t took_ms = check_rule_int(name, "took_ms", 0);
    if (check_rule_flag(name, "is_late") || took_ms >= NAME_SLOW_MS) {
        check_rule_say(r, CHECK_WARNING, "name", "an answer within milliseconds",
                       "see whether the servers of /etc/resolv.conf answer; name the nodes in "
                       "/etc/hosts",
                       "looking up the node's own host name takes seconds");
    }
}

void check_rules_room(const struct check_rule *r)
{
    check_cpus(r);
    check_memory(r);
    check_places(r);
    check_name_service(r);
}
