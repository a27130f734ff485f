/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping trees, and who dies with whom. */
#include "tests/unit/procs_rig.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uv_loop_t loop;

static pid_t shepherd_of(const struct rig *r, uint32_t rank)
{
    struct proc_stat st;
    assert_int_equal(proc_tree_read_stat(r->pids[rank], &st), 0);
    assert_int_not_equal(st.ppid, getpid());
    return st.ppid;
}

static void start_tree(struct rig *r, struct rig_tree *t)
{
    rig_init(r, &loop);
    rig_tree_init(t);
    rig_add(r, "fork_tree", t->path, NULL);
    rig_start(r);
    rig_until_text(r, 0, "ready");
    rig_tree_read(t);
}

/* SIGTERM reaches the session a grandchild made; SIGKILL gets those that ignored it. */
static void term_then_kill(void **state)
{
    (void)state;
    struct rig r;
    struct rig_tree t;
    start_tree(&r, &t);
    assert_int_equal(rig_tree_living(&t, false), RIG_TREE);
    uv_procs_signal(r.procs, SIGTERM);
    while (rig_tree_living(&t, true) == RIG_TREE) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rig_tree_living(&t, true), RIG_TREE - 1);
    assert_int_equal(r.exited, 0);
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
    assert_int_equal(rig_tree_living(&t, false), 0);
    assert_no_children();
}

static void ignored_term_then_kill(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "ignore_term", NULL, NULL);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    rig_until_text(&r, 1, "ready");
    uv_procs_signal(r.procs, SIGTERM);
    RIG_UNTIL(&r, r.exited == 1);
    assert_outcome(r.outcomes[1], OUTCOME_EXITED, SIGTERM);
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
    assert_int_equal(r.leftovers, 0);
}

/* Its workers' deaths are seen by nobody else. */
static void stopped_shepherd_goes_on(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    kill(shepherd_of(&r, 0), SIGSTOP);
    kill(r.pids[0], SIGKILL);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
    assert_no_children();
}

/* Two groups of two processes: each process sees the signal once. */
static void signal_comes_once(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", "count", NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    uv_procs_signal(r.procs, SIGTERM);
    rig_until_text(&r, 0, "TTTT");
    uv_procs_pass_signal(r.procs, SIGUSR1);
    RIG_UNTIL(&r, r.leftovers == 1);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, SIGUSR1);
    assert_string_equal(r.tail[0], "ready\nTTTT");
    assert_int_equal(r.leftover.count, 3);
    assert_false(r.leftover.is_after_kill);
    assert_string_equal(r.leftover.comm, "sleeper");
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    assert_no_children();
}

/* A pid that is not of the round's tree is nobody's business, one that is gets its signal alone. */
static void one_process_of_the_tree(void **state)
{
    (void)state;
    struct rig a;
    struct rig b;
    struct rig_tree tree_a;
    struct rig_tree tree_b;
    start_tree(&a, &tree_a);
    start_tree(&b, &tree_b);
    for (size_t i = 0; i < RIG_TREE; i++) {
        uv_procs_signal_process(a.procs, tree_b.procs[i].pid, SIGKILL);
    }
    uv_procs_signal_process(a.procs, shepherd_of(&a, 0), SIGKILL);
    pid_t worker = uv_procs_pid(a.procs, 0);
    assert_int_equal(worker, a.pids[0]);
    size_t other = tree_a.procs[0].pid == worker ? 1 : 0;
    uv_procs_signal_process(a.procs, tree_a.procs[other].pid, SIGKILL);
    while (rig_tree_living(&tree_a, true) == RIG_TREE) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rig_tree_living(&tree_a, true), RIG_TREE - 1);
    assert_int_equal(a.exited, 0);
    uv_procs_signal_process(a.procs, worker, SIGKILL);
    RIG_UNTIL(&a, a.exited == 1);
    assert_outcome(a.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
    assert_int_equal(rig_tree_living(&tree_b, false), RIG_TREE);
    uv_procs_kill(a.procs);
    uv_procs_kill(b.procs);
    RIG_UNTIL(&a, a.gone > 0 && b.gone > 0);
    uv_procs_close(a.procs);
    rig_close(&b);
    assert_no_children();
}

static void stopped_worker_gets_term(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", "stop", NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    struct proc_stat st = {.state = 'R'};
    while (st.state != 'T') {
        assert_int_equal(proc_tree_read_stat(r.pids[0], &st), 0);
    }
    uv_procs_signal(r.procs, SIGTERM);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, SIGTERM);
}

/* The worker ends by itself and leaves a tree that holds its pipe open. */
static void leftover_is_reported(void **state)
{
    (void)state;
    struct rig r;
    struct rig_tree t;
    start_tree(&r, &t);
    uv_procs_pass_signal(r.procs, SIGUSR1);
    RIG_UNTIL(&r, r.leftovers > 0);
    assert_int_equal(r.exited, 1);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, 0);
    assert_int_equal(r.leftover.count, RIG_TREE - 1);
    assert_int_equal(r.gone, 0);
    uv_procs_signal(r.procs, SIGTERM);
    while (rig_tree_living(&t, true) > RIG_TREE - 2) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rig_tree_living(&t, true), RIG_TREE - 2);
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    assert_int_equal(r.leftovers, 1);
    assert_int_equal(rig_tree_living(&t, false), 0);
    assert_no_children();
}

static void killed_shepherd(void **state)
{
    (void)state;
    struct rig r;
    struct rig_tree t = {0};
    rig_init(&r, &loop);
    rig_tree_init(&t);
    rig_add(&r, "fork_tree", t.path, NULL);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_add(&r, "exit_with", "3", NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    rig_until_text(&r, 1, "ready");
    RIG_UNTIL(&r, r.exited == 1);
    rig_tree_read(&t);
    kill(shepherd_of(&r, 0), SIGKILL);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
    assert_outcome(r.outcomes[1], OUTCOME_SIGNALED, SIGKILL);
    assert_outcome(r.outcomes[2], OUTCOME_EXITED, 3);
    assert_int_equal(rig_tree_living(&t, false), 0);
    assert_no_children();
}

/* Another round's shepherd is not taken for an orphan. */
static void killed_shepherd_spares_others(void **state)
{
    (void)state;
    struct rig a;
    struct rig b;
    rig_init(&a, &loop);
    rig_init(&b, &loop);
    rig_add(&a, "sleeper", NULL, NULL);
    rig_add(&b, "sleeper", NULL, NULL);
    rig_start(&a);
    rig_start(&b);
    rig_until_text(&a, 0, "ready");
    rig_until_text(&b, 0, "ready");
    kill(shepherd_of(&a, 0), SIGKILL);
    RIG_UNTIL(&a, a.gone > 0);
    assert_int_equal(b.exited, 0);
    uv_procs_signal(b.procs, SIGTERM);
    RIG_UNTIL(&b, b.gone > 0);
    assert_outcome(b.outcomes[0], OUTCOME_EXITED, SIGTERM);
    uv_procs_close(a.procs);
    rig_close(&b);
}

static void stopped_shepherd_obeys(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    kill(shepherd_of(&r, 0), SIGSTOP);
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGKILL);
}

/*
 * This process is a subreaper, as the agent's parent it gets the shepherd once that is alone, and
 * it kills nobody: when it has no children left the shepherd did all the work.
 */
static void until_no_children(void)
{
    while (waitpid(-1, NULL, 0) > 0) {
    }
    assert_no_children();
}

/* Give up a round that is still there: its shepherd clears up alone. */
static void closed_early(void **state)
{
    (void)state;
    struct rig r;
    struct rig_tree t;
    start_tree(&r, &t);
    rig_close(&r);
    alarm(RIG_WATCHDOG_S);
    until_no_children();
    assert_int_equal(rig_tree_living(&t, false), 0);
    assert_int_equal(r.exited + r.gone, 0);
    alarm(0);
}

/* Close inside the first callback, the second, ... and nothing is called or touched afterwards. */
static void closed_in_any_callback(void **state)
{
    (void)state;
    unsigned callbacks = UINT_MAX;
    for (unsigned at = 1; at <= callbacks; at++) {
        for (int is_lost = 0; is_lost < 2; is_lost++) {
            struct rig r;
            rig_init(&r, &loop);
            r.close_at = at;
            rig_add(&r, "exit_with", "0", "text");
            rig_add(&r, "/nonexistent/program", NULL, NULL);
            rig_add(&r, "sleeper", "count", NULL);
            rig_start(&r);
            RIG_UNTIL(&r, r.callbacks >= at || (r.exited == 2 && r.running == 1));
            if (r.callbacks < at && is_lost) {
                kill(shepherd_of(&r, 2), SIGKILL);
            } else if (r.callbacks < at) {
                rig_until_text(&r, 2, "ready");
                uv_procs_pass_signal(r.procs, SIGUSR1);
                RIG_UNTIL(&r, r.callbacks >= at || r.leftovers > 0);
                if (r.callbacks < at) {
                    uv_procs_kill(r.procs);
                }
            }
            RIG_UNTIL(&r, r.callbacks >= at || r.gone > 0);
            if (r.callbacks < at) {
                callbacks = is_lost ? callbacks : 0; /* the end of the longer of the two */
                uv_procs_close(r.procs);
            }
            uv_run(&loop, UV_RUN_DEFAULT);
            until_no_children();
        }
    }
    alarm(0);
}

/* SIGKILL to the process that plays the agent takes everything it started with it. */
static void killed_agent(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig_tree *t =
            mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int ready[2];
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        alarm(RIG_WATCHDOG_S);
        pid_t agent = fork();
        if (agent == 0) {
            struct rig r;
            assert_int_equal(uv_loop_fork(&loop), 0);
            start_tree(&r, t);
            if (write(ready[1], "x", 1) == 1) {
                uv_run(&loop, UV_RUN_DEFAULT);
            }
            _exit(1);
        }
        char c;
        close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        close(ready[0]);
        assert_int_equal(rig_tree_living(t, true), RIG_TREE);
        kill(agent, SIGKILL);
        assert_int_equal(waitpid(agent, NULL, 0), agent);
        until_no_children();
        assert_int_equal(rig_tree_living(t, false), 0);
        munmap(t, sizeof(*t));
        alarm(0);
    }
}

enum { NOBODY = 61234 }; /* a number no other process runs as */

/*
 * Run `fn` in a process of an unprivileged user; its exit status is 0 if `fn` returns true. What
 * root is not bound by can be tested there. A pid that `fn` writes to victim_fd is killed by root.
 */
typedef bool (*nobody_fn)(const char *program, int victim_fd);
static int run_as_nobody(nobody_fn fn, const char *program)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    alarm(RIG_WATCHDOG_S);
    pid_t pid = fork();
    if (pid == 0) {
        if (uv_loop_fork(&loop) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) != 0) {
            _exit(2);
        }
        _exit(fn(program, fds[1]) ? 0 : 1);
    }
    int status;
    pid_t victim;
    close(fds[1]);
    if (read(fds[0], &victim, sizeof(victim)) == sizeof(victim)) {
        kill(victim, SIGKILL);
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    until_no_children();
    alarm(0);
    return status;
}

/* Room for the shepherd and one worker: the others fail with their stage and errno. */
static bool fork_fails(const char *program, int victim_fd)
{
    (void)victim_fd;
    struct rig r;
    struct rlimit limit = {3, 3};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) {
        return false;
    }
    rig_init(&r, &loop);
    rig_add(&r, program, "1000", NULL);
    rig_add(&r, program, "1000", NULL);
    rig_add(&r, program, "1000", NULL);
    rig_start(&r);
    RIG_UNTIL(&r, r.exited == 2);
    for (size_t i = 1; i < 3; i++) {
        if (r.outcomes[i].kind != OUTCOME_EXEC_FAILED || r.outcomes[i].code != EAGAIN ||
            r.outcomes[i].stage != OUTCOME_STAGE_FORK) {
            return false;
        }
    }
    RIG_UNTIL(&r, r.running == 1);
    uv_procs_kill(r.procs);
    rig_until_gone(&r);
    return r.outcomes[0].kind == OUTCOME_SIGNALED && r.started == 1;
}

static void no_more_processes(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(run_as_nobody(fork_fails, "/bin/sleep"), 0);
}

/* What a kill cannot get rid of is reported, and the round ends when it ends. */
static bool kill_is_refused(const char *program, int victim_fd)
{
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, program, "root", NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    uv_procs_kill(r.procs);
    RIG_UNTIL(&r, r.leftovers == 1);
    bool is_good = r.leftover.count == 1 && r.leftover.pid == r.pids[0] && r.exited == 0 &&
                   r.leftover.is_after_kill && strcmp(r.leftover.comm, "rooted") == 0;
    is_good = is_good && write(victim_fd, &r.pids[0], sizeof(r.pids[0])) > 0;
    rig_until_gone(&r);
    return is_good && r.outcomes[0].kind == OUTCOME_SIGNALED;
}

static void unkillable_is_reported(void **state)
{
    (void)state;
    char dir[] = "/tmp/muster-test-root-XXXXXX";
    char from[PATH_MAX];
    char to[PATH_MAX];
    static char program[1 << 20];
    if (geteuid() != 0) {
        skip();
    }
    rig_worker_path("sleeper", from);
    assert_non_null(mkdtemp(dir));
    snprintf(to, sizeof(to), "%s/rooted", dir);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(in, program, sizeof(program));
    assert_true(size > 0 && size < (ssize_t)sizeof(program));
    int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(out, program, (size_t)size), size);
    assert_int_equal(fchmod(out, 04755), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    close(in);
    close(out);
    assert_int_equal(run_as_nobody(kill_is_refused, to), 0);
    unlink(to);
    rmdir(dir);
}

enum chaos {
    CHAOS_WORKER,   /* SIGKILL to one worker, then a stop order and a kill */
    CHAOS_STOP,     /* stop order, then kill */
    CHAOS_KILL,     /* kill */
    CHAOS_SHEPHERD, /* SIGKILL to the shepherd */
    CHAOS_CLOSE,    /* abandon */
    CHAOS_COUNT,
};

static void wreak(struct rig *r, enum chaos chaos, unsigned victim)
{
    switch (chaos) {
    case CHAOS_WORKER:
        kill(r->pids[victim % r->count], SIGKILL);
        RIG_UNTIL(r, r->exited > 0);
        uv_procs_signal(r->procs, SIGTERM);
        uv_procs_kill(r->procs);
        break;
    case CHAOS_STOP:
        uv_procs_signal(r->procs, SIGTERM);
        uv_procs_kill(r->procs);
        break;
    case CHAOS_KILL:
        uv_procs_kill(r->procs);
        break;
    case CHAOS_SHEPHERD:
        kill(shepherd_of(r, 0), SIGKILL);
        break;
    case CHAOS_CLOSE:
    case CHAOS_COUNT:
        break;
    }
}

static void random_kills(void **state)
{
    (void)state;
    size_t before = count_fds();
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (int i = 0; i < 100; i++) {
        struct rig r;
        enum chaos chaos = (enum chaos)(rand_r(&seed) % CHAOS_COUNT);
        rig_init(&r, &loop);
        rig_add(&r, "sleeper", NULL, NULL);
        rig_add(&r, "ignore_term", NULL, NULL);
        rig_add(&r, "sleeper", "count", NULL);
        rig_add(&r, "sleeper", "stop", NULL);
        rig_start(&r);
        /* Before anything is known, when the pids are, or when the programs run. */
        unsigned when = (unsigned)rand_r(&seed) % 3;
        if (chaos == CHAOS_WORKER || chaos == CHAOS_SHEPHERD || when > 0) {
            RIG_UNTIL(&r, r.started == r.count);
        }
        if (when > 1) {
            RIG_UNTIL(&r, r.running > 0);
        }
        wreak(&r, chaos, (unsigned)rand_r(&seed));
        if (chaos == CHAOS_CLOSE) {
            rig_close(&r);
            until_no_children();
        } else {
            rig_until_gone(&r);
            assert_no_children();
        }
    }
    assert_int_equal(count_fds(), before);
}

static int setup(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    uv_signal_t warm_up; /* the loop opens its signal pipe with the first one */
    uv_signal_init(&loop, &warm_up);
    uv_close((uv_handle_t *)&warm_up, NULL);
    return uv_run(&loop, UV_RUN_DEFAULT);
}

static int teardown(void **state)
{
    (void)state;
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_then_kill),
        cmocka_unit_test(ignored_term_then_kill),
        cmocka_unit_test(signal_comes_once),
        cmocka_unit_test(one_process_of_the_tree),
        cmocka_unit_test(stopped_worker_gets_term),
        cmocka_unit_test(leftover_is_reported),
        cmocka_unit_test(killed_shepherd),
        cmocka_unit_test(killed_shepherd_spares_others),
        cmocka_unit_test(stopped_shepherd_obeys),
        cmocka_unit_test(stopped_shepherd_goes_on),
        cmocka_unit_test(closed_early),
        cmocka_unit_test(closed_in_any_callback),
        cmocka_unit_test(killed_agent),
        cmocka_unit_test(no_more_processes),
        cmocka_unit_test(unkillable_is_reported),
        cmocka_unit_test(random_kills),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
