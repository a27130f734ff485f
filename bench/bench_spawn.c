/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What starting workers through the shepherd costs over a bare fork + exec loop.
 *
 *     bench_spawn [WORKERS [PROGRAM]]      (8, /bin/true; RUNS runs of each, taken in turns)
 *
 * Both times run from the first system call until every exec is done, seen as the end of a
 * close-on-exec pipe. Then, with WORKERS sleepers: from a worker's death (SIGKILL sent) to
 * `exited`, and from the kill order for the rest to `gone`.
 */
#include "launcher/uv_procs.h"
#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

enum { RUNS = 50 };

struct bench {
    struct worker_command *workers;
    size_t count;
    struct uv_procs *procs;
    pid_t first_pid;
    bool is_death_wanted; /* kill the first worker and time its `exited` */
    uint64_t from;
    uint64_t running_ns;
    uint64_t exited_ns;
    uint64_t gone_ns;
};

static void on_started(void *arg, uint32_t rank, pid_t pid)
{
    struct bench *b = arg;
    if (rank == 0) {
        b->first_pid = pid;
    }
}

static void on_running(void *arg)
{
    struct bench *b = arg;
    b->running_ns = uv_hrtime() - b->from;
    if (b->is_death_wanted) {
        b->from = uv_hrtime();
        kill(b->first_pid, SIGKILL);
    }
}

static void on_exited(void *arg, uint32_t rank, struct outcome o)
{
    struct bench *b = arg;
    (void)o;
    if (b->is_death_wanted && rank == 0) {
        b->exited_ns = uv_hrtime() - b->from;
        b->from = uv_hrtime();
        uv_procs_kill(b->procs);
    }
}

static void on_leftover(void *arg, const struct uv_procs_leftover *left)
{
    (void)arg;
    (void)left;
}

static void on_gone(void *arg)
{
    struct bench *b = arg;
    b->gone_ns = uv_hrtime() - b->from;
    uv_procs_close(b->procs);
}

static const struct uv_procs_handlers handlers = {
    .started = on_started,
    .running = on_running,
    .exited = on_exited,
    .leftover = on_leftover,
    .gone = on_gone,
};

/* As without any option: standard error goes through a pipe; here nobody shows it. */
static struct uv_output *open_output(const struct bench *b, uv_loop_t *loop, struct mu_err *err)
{
    struct output_plan plan = {.count = b->count};
    plan.workers = mu_calloc(b->count, sizeof(*plan.workers));
    for (size_t i = 0; i < b->count; i++) {
        plan.workers[i].streams[1] = (struct output_stream){.route = OUTPUT_CAPTURE};
    }
    struct uv_out *const consoles[OUTPUT_STREAMS] = {NULL, NULL};
    return uv_output_open(loop, &plan, consoles, err);
}

static void run_procs(struct bench *b, uv_loop_t *loop)
{
    struct mu_err err = MU_ERR_INIT;
    b->from = uv_hrtime();
    struct uv_procs_spec spec = {
        .workers = b->workers, .count = b->count, .output = open_output(b, loop, &err)};
    b->procs = spec.output != NULL ? uv_procs_start(loop, &spec, &handlers, b, &err) : NULL;
    if (b->procs == NULL) {
        fprintf(stderr, "bench_spawn: %s\n", err.text);
        exit(1);
    }
    uv_run(loop, UV_RUN_DEFAULT);
}

static uint64_t run_bare(const struct bench *b)
{
    uint64_t from = uv_hrtime();
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        exit(1);
    }
    for (size_t i = 0; i < b->count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execve(b->workers[i].program, b->workers[i].argv, b->workers[i].envp);
            _exit(127);
        }
        if (pid < 0) {
            exit(1);
        }
    }
    close(fds[1]);
    char c;
    while (read(fds[0], &c, 1) < 0 && errno == EINTR) {
    }
    uint64_t ns = uv_hrtime() - from;
    close(fds[0]);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
    }
    return ns;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Returns the median. */
static double print_times(const char *name, uint64_t *ns)
{
    qsort(ns, RUNS, sizeof(*ns), compare);
    uint64_t middle = ns[RUNS / 2];
    double median = (double)middle / 1000;
    printf("%-18s %8.0f (%.0f .. %.0f)\n", name, median, (double)ns[0] / 1000,
           (double)ns[RUNS - 1] / 1000);
    return median;
}

int main(int argc, char **argv)
{
    int64_t count = 8;
    struct mu_err err = MU_ERR_INIT;
    if (argc > 1 && mu_parse_int(argv[1], 1, MU_MAX_LOCAL_WORLD, &count, &err) != 0) {
        fprintf(stderr, "bench_spawn: %s\n", err.text);
        return 2;
    }
    char *program = argc > 2 ? argv[2] : (char[]){"/bin/true"};
    char *const command[] = {program, NULL};
    char *const sleeper[] = {(char[]){"/bin/sleep"}, (char[]){"1000"}, NULL};
    struct bench b = {.count = (size_t)count};
    b.workers = mu_calloc(b.count, sizeof(*b.workers));
    uv_loop_t loop;
    uv_loop_init(&loop);
    uint64_t bare[RUNS];
    uint64_t procs[RUNS];
    uint64_t death[RUNS];
    uint64_t gone[RUNS];
    for (int i = 0; i < RUNS; i++) {
        for (size_t k = 0; k < b.count; k++) {
            b.workers[k] = (struct worker_command){
                .program = program, .argv = command, .envp = environ, .mem_node = -1};
        }
        b.is_death_wanted = false;
        bare[i] = run_bare(&b);
        run_procs(&b, &loop);
        procs[i] = b.running_ns;
        for (size_t k = 0; k < b.count; k++) {
            b.workers[k] = (struct worker_command){
                .program = sleeper[0], .argv = sleeper, .envp = environ, .mem_node = -1};
        }
        b.is_death_wanted = true;
        run_procs(&b, &loop);
        death[i] = b.exited_ns;
        gone[i] = b.gone_ns;
    }
    uv_loop_close(&loop);
    free(b.workers);
    printf("%lld x %s, median of %d (min .. max), microseconds\n", (long long)count, program, RUNS);
    double bare_us = print_times("bare fork+exec", bare);
    double procs_us = print_times("uv_procs running", procs);
    printf("%-18s %8.2f, %+.0f us\n", "ratio", procs_us / bare_us, procs_us - bare_us);
    print_times("death to exited", death);
    print_times("kill to gone", gone);
    return 0;
}
