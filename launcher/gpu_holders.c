/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_holders.h"

#include "launcher/proc_tree.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_WORKERS = 4 * MU_MAX_LOCAL_WORLD, /* of the last rounds */
    MAX_ENVIRON = 256 * 1024,
    MAX_TOLD = 4, /* holders; of the others the number is told */
    COMMAND_LEN = 80,
};
#define MIB           (UINT64_C(1) << 20)
#define TOLERANCE_MIN (256 * MIB)

enum whose { OF_NOBODY_SEEN, OF_OTHERS, OF_WORKER_ENDED, OF_WORKER, OF_WORKERS_CHILD };

struct worker {
    pid_t pid;
    uint64_t start_time; /* 0: it had ended before it was looked at */
};

/* Of one GPU. */
struct record {
    char name[sizeof(((struct gpu_use *)NULL)->name)];
    uint64_t before; /* bytes of which it was not known whose they are */
    uint64_t least;  /* of these in this wait */
    bool is_growing; /* in this wait */
};

struct gpu_holders {
    struct host_view host;
    char *mark; /* owned; how an entry of a worker's environment begins; NULL: none does */
    struct worker *workers; /* a ring */
    size_t worker_count;    /* ever added */
    struct record *records;
    size_t record_count;
};

struct gpu_holders *gpu_holders_new(const struct host_view *host, const char *run_path)
{
    struct gpu_holders *h = mu_alloc(sizeof(*h));
    h->host = *host;
    h->mark = run_path != NULL ? mu_asprintf("TORCHELASTIC_ERROR_FILE=%s/", run_path) : NULL;
    h->workers = mu_calloc(MAX_WORKERS, sizeof(*h->workers));
    return h;
}

void gpu_holders_free(struct gpu_holders *h)
{
    if (h != NULL) {
        free(h->mark);
        free(h->workers);
        free(h->records);
        free(h);
    }
}

/* ---- whose process is it? ---- */

static bool read_stat(const struct gpu_holders *h, pid_t pid, struct proc_stat *ret_stat)
{
    char text[1024];
    ssize_t len = host_view_bytes(&h->host, text, sizeof(text), "/proc/%d/stat", (int)pid);
    return len > 0 && proc_tree_parse_stat(text, (size_t)len, ret_stat) == 0 &&
           proc_tree_is_alive(ret_stat);
}

void gpu_holders_add_worker(struct gpu_holders *h, pid_t pid)
{
    struct proc_stat st = {0};
    h->workers[h->worker_count++ % MAX_WORKERS] =
        (struct worker){.pid = pid, .start_time = read_stat(h, pid, &st) ? st.start_time : 0};
}

/* The latest worker that had this pid. */
static const struct worker *find_worker(const struct gpu_holders *h, pid_t pid)
{
    size_t known = h->worker_count < MAX_WORKERS ? h->worker_count : MAX_WORKERS;
    for (size_t i = 1; i <= known; i++) {
        const struct worker *w = &h->workers[(h->worker_count - i) % MAX_WORKERS];
        if (w->pid == pid) {
            return w;
        }
    }
    return NULL;
}

static bool has_mark(const struct gpu_holders *h, pid_t pid)
{
    if (h->mark == NULL) {
        return false;
    }
    mu_autofree char *env = mu_alloc(MAX_ENVIRON);
    ssize_t len = host_view_bytes(&h->host, env, MAX_ENVIRON, "/proc/%d/environ", (int)pid);
    bool has = false;
    for (ssize_t at = 0; at < len && !has; at += (ssize_t)strlen(env + at) + 1) {
        has = strncmp(env + at, h->mark, strlen(h->mark)) == 0;
    }
    return has;
}

static enum whose find_whose(const struct gpu_holders *h, pid_t pid)
{
    struct proc_stat st;
    const struct worker *w = find_worker(h, pid);
    if (!read_stat(h, pid, &st)) {
        return w != NULL ? OF_WORKER_ENDED : OF_NOBODY_SEEN;
    }
    if (w != NULL && w->start_time == st.start_time) {
        return OF_WORKER;
    }
    return has_mark(h, pid) ? OF_WORKERS_CHILD : OF_OTHERS;
}

/* ---- what nobody is seen to have ---- */

static uint64_t unseen_of(const struct gpu_holders *h, const struct gpu_use *use)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < use->process_count; i++) {
        if (find_whose(h, use->processes[i].pid) != OF_NOBODY_SEEN) {
            seen += use->processes[i].bytes;
        }
    }
    return use->used > seen ? use->used - seen : 0;
}

void gpu_holders_set_before(struct gpu_holders *h, const struct gpu_memory *memory)
{
    free(h->records);
    h->records = mu_calloc(memory->count, sizeof(*h->records));
    h->record_count = 0;
    for (size_t i = 0; i < memory->count; i++) {
        const struct gpu_use *use = &memory->items[i];
        if (use->is_known) {
            struct record *r = &h->records[h->record_count++];
            memcpy(r->name, use->name, sizeof(r->name));
            r->before = unseen_of(h, use);
        }
    }
}

void gpu_holders_begin(struct gpu_holders *h)
{
    for (size_t i = 0; i < h->record_count; i++) {
        h->records[i].least = UINT64_MAX;
        h->records[i].is_growing = false;
    }
}

static uint64_t tolerance_of(uint64_t bytes)
{
    return bytes / 20 > TOLERANCE_MIN ? bytes / 20 : TOLERANCE_MIN;
}

/* Bytes more than before the first round; 0 where that is not known. */
static uint64_t find_unseen(struct gpu_holders *h, const struct gpu_use *use)
{
    struct record *r = NULL;
    for (size_t i = 0; i < h->record_count; i++) {
        r = strcmp(h->records[i].name, use->name) == 0 ? &h->records[i] : r;
    }
    if (r == NULL) {
        return 0;
    }
    uint64_t bytes = unseen_of(h, use);
    r->least = bytes < r->least ? bytes : r->least;
    r->is_growing |= bytes - r->least > TOLERANCE_MIN;
    bool is_held =
        !r->is_growing && bytes > r->before && bytes - r->before > tolerance_of(r->before);
    return is_held ? bytes - r->before : 0;
}

/* ---- who has it, in words ---- */

struct telling {
    struct mu_buf *text;
    size_t holders;
};

static void begin_holder(struct telling *t, uint64_t bytes, const struct gpu_use *use)
{
    bool is_small = bytes < 1024 * MIB;
    if (t->holders > 0) {
        mu_buf_printf(t->text, "; ");
    }
    if (bytes > 0) {
        mu_buf_printf(t->text, is_small ? "%.0f MiB" : "%.1f GiB",
                      (double)bytes / (double)(is_small ? MIB : 1024 * MIB));
    } else {
        mu_buf_printf(t->text, "memory");
    }
    mu_buf_printf(t->text, " on %s", use->name);
}

/* "process 4711 (python3 train.py)" */
static void tell_process(const struct gpu_holders *h, pid_t pid, struct mu_buf *text)
{
    char command[COMMAND_LEN];
    ssize_t len = host_view_bytes(&h->host, command, sizeof(command), "/proc/%d/cmdline", (int)pid);
    while (len > 0 && command[len - 1] == '\0') {
        len--;
    }
    mu_buf_printf(text, " held by process %d", (int)pid);
    if (len <= 0) {
        return;
    }
    for (ssize_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)command[i];
        if (c == '\0') {
            command[i] = ' ';
        } else if (c < ' ' || c == 0x7f) {
            command[i] = '?'; /* it goes to a terminal */
        }
    }
    mu_buf_printf(text, " (%.*s)", (int)len, command);
}

static void tell_holder(const struct gpu_holders *h, struct telling *t, const struct gpu_use *use,
                        const struct gpu_process *process, enum whose whose)
{
    static const char *const relations[] = {
        [OF_WORKER_ENDED] = ", a worker of an earlier round that has ended",
        [OF_WORKER] = ", a worker of an earlier round",
        [OF_WORKERS_CHILD] = ", started by a worker of an earlier round",
    };
    if (t->holders < MAX_TOLD) {
        begin_holder(t, process->bytes, use);
        tell_process(h, process->pid, t->text);
        mu_buf_printf(t->text, "%s", relations[whose]);
    }
    t->holders++;
}

static uint64_t judge_gpu(struct gpu_holders *h, const struct gpu_use *use, struct telling *t)
{
    uint64_t held = 0;
    for (size_t i = 0; i < use->process_count; i++) {
        enum whose whose = find_whose(h, use->processes[i].pid);
        if (whose != OF_NOBODY_SEEN && whose != OF_OTHERS) {
            held += use->processes[i].bytes > 0 ? use->processes[i].bytes : 1;
            tell_holder(h, t, use, &use->processes[i], whose);
        }
    }
    uint64_t unseen = find_unseen(h, use);
    if (unseen > 0 && t->holders < MAX_TOLD) {
        begin_holder(t, unseen, use);
        mu_buf_printf(t->text, " held by processes that cannot be seen from here");
    }
    t->holders += unseen > 0;
    return held + unseen;
}

uint64_t gpu_holders_judge(struct gpu_holders *h, const struct gpu_memory *memory,
                           struct mu_buf *text)
{
    struct telling t = {.text = text};
    uint64_t held = 0;
    for (size_t i = 0; i < memory->count; i++) {
        held += memory->items[i].is_known ? judge_gpu(h, &memory->items[i], &t) : 0;
    }
    if (t.holders > MAX_TOLD) {
        mu_buf_printf(text, "; and by %zu more", t.holders - MAX_TOLD);
    }
    return held;
}
