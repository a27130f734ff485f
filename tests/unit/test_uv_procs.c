/* SPDX-License-Identifier: Apache-2.0 */
/* Starting workers, how they end, what they write. */
#include "tests/unit/procs_rig.h"

#include "muster/limits.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uv_loop_t loop;

static void all_exit_codes(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first += RIG_MAX) {
        struct rig r;
        char codes[RIG_MAX][8];
        rig_init(&r, &loop);
        for (int i = 0; i < RIG_MAX; i++) {
            snprintf(codes[i], sizeof(codes[i]), "%d", first + i);
            rig_add(&r, "exit_with", codes[i], NULL);
        }
        rig_start(&r);
        rig_until_gone(&r);
        assert_int_equal(r.started, RIG_MAX);
        assert_int_equal(r.running, 1);
        for (int i = 0; i < RIG_MAX; i++) {
            assert_outcome(r.outcomes[i], OUTCOME_EXITED, first + i);
        }
    }
    assert_no_children();
}

static void wait_for_state(pid_t pid, char state)
{
    struct proc_stat st;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        assert_int_equal(proc_tree_read_stat(pid, &st), 0);
    } while (st.state != state);
}

/*
 * The kernel resets a connection whose other end goes with something unread: what the shepherd had
 * reported by then counts all the same.
 */
static void reports_outlive_an_unread_order(void **state)
{
    (void)state;
    struct rig r;
    struct proc_stat st;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    rig_until_text(&r, 1, "ready");
    pid_t shepherd = uv_procs_root(r.procs);
    kill(r.pids[0], SIGUSR1);
    while (proc_tree_read_stat(r.pids[0], &st) == 0) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    wait_for_state(shepherd, 'S'); /* it has reaped, reported, and waits again */
    kill(shepherd, SIGSTOP);
    wait_for_state(shepherd, 'T');
    uv_procs_lease(r.procs, 60000);
    kill(shepherd, SIGKILL);
    wait_for_state(shepherd, 'Z');
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, SIGUSR1);
    assert_outcome(r.outcomes[1], OUTCOME_SIGNALED, SIGKILL);
    assert_no_children();
}

static bool is_deadly(int signo)
{
    static const int harmless[] = {SIGCHLD, SIGCONT, SIGSTOP,  SIGTSTP, SIGTTIN,
                                   SIGTTOU, SIGURG,  SIGWINCH, 32,      33};
    for (size_t i = 0; i < MU_COUNT(harmless); i++) {
        if (harmless[i] == signo) {
            return false;
        }
    }
    return true;
}

static void all_signals(void **state)
{
    (void)state;
    struct rig r;
    char numbers[RIG_MAX][8];
    int signos[RIG_MAX];
    rig_init(&r, &loop);
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        if (is_deadly(signo)) {
            signos[r.count] = signo;
            snprintf(numbers[r.count], sizeof(numbers[0]), "%d", signo);
            rig_add(&r, "crash", numbers[r.count], NULL);
        }
    }
    rig_start(&r);
    rig_until_gone(&r);
    assert_true(r.count > 50);
    for (size_t i = 0; i < r.count; i++) {
        assert_outcome(r.outcomes[i], OUTCOME_SIGNALED, signos[i]);
    }
}

/* A file in a fresh directory; returns its path in `path`. */
static void make_file(const char *dir, const char *name, const char *text, mode_t mode, char *path)
{
    snprintf(path, PATH_MAX, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void exec_failures(void **state)
{
    (void)state;
    char dir[] = "/tmp/muster-test-exec-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char plain[PATH_MAX];
    char garbage[PATH_MAX];
    char lost_interpreter[PATH_MAX];
    make_file(dir, "plain", "text", 0600, plain);
    make_file(dir, "garbage", "\x01\x02\x03", 0700, garbage);
    make_file(dir, "interp", "#!/nonexistent/interpreter\n", 0700, lost_interpreter);
    char below_file[PATH_MAX + 8];
    snprintf(below_file, sizeof(below_file), "%s/x", plain);

    const struct {
        const char *program;
        const char *script;
        enum outcome_stage stage;
        int code;
        int exit_status;
    } cases[] = {
        {"/nonexistent/program", NULL, OUTCOME_STAGE_PROGRAM, ENOENT, 127},
        {below_file, NULL, OUTCOME_STAGE_PROGRAM, ENOTDIR, 127},
        {plain, NULL, OUTCOME_STAGE_PROGRAM, EACCES, 126},
        {dir, NULL, OUTCOME_STAGE_PROGRAM, EACCES, 126},
        {garbage, NULL, OUTCOME_STAGE_PROGRAM, ENOEXEC, 126},
        {lost_interpreter, NULL, OUTCOME_STAGE_PROGRAM, ENOENT, 127},
        {"/bin/true", "/nonexistent/train.py", OUTCOME_STAGE_SCRIPT, ENOENT, 127},
        {"/bin/true", below_file, OUTCOME_STAGE_SCRIPT, ENOTDIR, 127},
    };
    struct rig r;
    rig_init(&r, &loop);
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        rig_add(&r, cases[i].program, NULL, NULL);
        r.commands[i].script = cases[i].script;
    }
    size_t honest = r.count;
    rig_add(&r, "exit_with", "127", NULL);
    rig_add(&r, "/bin/true", NULL, NULL);
    r.commands[honest + 1].script = plain;
    rig_start(&r);
    rig_until_gone(&r);
    assert_int_equal(r.running, 1);
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        assert_outcome(r.outcomes[i], OUTCOME_EXEC_FAILED, cases[i].code);
        assert_int_equal(r.outcomes[i].stage, cases[i].stage);
        assert_int_equal(outcome_exit_status(r.outcomes[i]), cases[i].exit_status);
    }
    assert_outcome(r.outcomes[honest], OUTCOME_EXITED, 127);
    assert_outcome(r.outcomes[honest + 1], OUTCOME_EXITED, 0);
    unlink(plain);
    unlink(garbage);
    unlink(lost_interpreter);
    rmdir(dir);
}

/* What this process blocks, ignores and has open must not reach a worker. */
static void workers_start_clean(void **state)
{
    (void)state;
    sigset_t set;
    sigset_t before;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(dup2(fds[0], 200), 200);

    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "sleeper", "check", NULL);
    rig_add(&r, "sleeper", "check", NULL);
    rig_start(&r);
    rig_until_text(&r, 0, "ready");
    rig_until_text(&r, 1, "ready");
    uv_procs_signal(r.procs, SIGTERM);
    rig_until_gone(&r);
    assert_outcome(r.outcomes[0], OUTCOME_EXITED, SIGTERM);
    assert_outcome(r.outcomes[1], OUTCOME_EXITED, SIGTERM);

    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(200);
    close(fds[0]);
    close(fds[1]);
}

static void tail_is_complete_at_exit(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct rig r;
        rig_init(&r, &loop);
        rig_add(&r, "crash", "segv", NULL);
        rig_add(&r, "crash", "abort", NULL);
        rig_add(&r, "exit_with", "3", "last words");
        rig_add(&r, "exit_with", "0", NULL);
        rig_start(&r);
        rig_until_gone(&r);
        assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGSEGV);
        assert_outcome(r.outcomes[1], OUTCOME_SIGNALED, SIGABRT);
        assert_string_equal(r.tail[0], "about to crash\n");
        assert_string_equal(r.tail[1], "about to crash\n");
        assert_string_equal(r.tail[2], "last words");
        assert_string_equal(r.tail[3], "");
    }
}

static void long_tail_is_the_end(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &loop);
    rig_add(&r, "flood_stderr", "1000000", NULL);
    rig_start(&r);
    RIG_UNTIL(&r, r.gone > 0);
    char *tail = mu_alloc(MU_STDERR_TAIL + 1);
    assert_int_equal(uv_procs_stderr_tail(r.procs, 0, tail, MU_STDERR_TAIL + 1), MU_STDERR_TAIL);
    for (unsigned i = 0; i < MU_STDERR_TAIL / 16; i++) {
        char line[17];
        snprintf(line, sizeof(line), "%015u\n", 1000000 / 16 - MU_STDERR_TAIL / 16 + i);
        assert_memory_equal(tail + (size_t)i * 16, line, 16);
    }
    free(tail);
    rig_close(&r);
}

/* ---- output through the agent ---- */

struct sink {
    uv_poll_t poll;
    int fds[2];
    size_t total;
    bool is_good; /* every worker's lines came in order: one worker only */
    char line[16];
};

static void on_sink(uv_poll_t *poll, int status, int events)
{
    struct sink *s = poll->data;
    (void)status;
    (void)events;
    char data[65536];
    ssize_t n = read(s->fds[0], data, sizeof(data));
    for (ssize_t i = 0; i < n; i++) {
        s->line[s->total % 16] = data[i];
        if (++s->total % 16 == 0) {
            char expected[17];
            snprintf(expected, sizeof(expected), "%015zu\n", s->total / 16 - 1);
            s->is_good = s->is_good && memcmp(expected, s->line, 16) == 0;
        }
    }
}

static void sink_open(struct sink *s, struct rig *r)
{
    *s = (struct sink){.is_good = true};
    assert_int_equal(pipe2(s->fds, O_CLOEXEC), 0);
    r->out = uv_out_new(r->loop, s->fds[1], NULL);
    assert_non_null(r->out);
    assert_int_equal(uv_poll_init(r->loop, &s->poll, s->fds[0]), 0);
    s->poll.data = s;
}

static void sink_close(struct sink *s, struct rig *r)
{
    uv_close((uv_handle_t *)&s->poll, NULL);
    close(s->fds[0]);
    close(s->fds[1]);
    uv_out_close(r->out);
    uv_run(r->loop, UV_RUN_DEFAULT);
}

static void all_output_arrives(void **state)
{
    (void)state;
    struct rig r;
    struct sink s;
    const size_t bytes = 16 * 1000000;
    rig_init(&r, &loop);
    sink_open(&s, &r);
    uv_poll_start(&s.poll, UV_READABLE, on_sink);
    rig_add(&r, "flood_stderr", "16000000", NULL);
    rig_start(&r);
    RIG_UNTIL(&r, r.gone > 0);
    RIG_UNTIL(&r, s.total >= bytes);
    assert_int_equal(s.total, bytes);
    assert_true(s.is_good);
    assert_int_equal(uv_out_lost(r.out), 0);
    uv_procs_close(r.procs);
    sink_close(&s, &r);
    alarm(0);
}

/* Nobody reads: the flooding worker waits, everything else goes on. */
static void blocked_output_stalls_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct sink s;
    rig_init(&r, &loop);
    sink_open(&s, &r);
    rig_add(&r, "flood_stderr", "0", NULL);
    rig_add(&r, "sleeper", NULL, NULL);
    rig_start(&r);
    RIG_UNTIL(&r, uv_out_is_full(r.out));
    rig_until_text(&r, 1, "ready");
    uv_procs_pass_signal(r.procs, SIGUSR1);
    RIG_UNTIL(&r, r.exited == 2);
    assert_outcome(r.outcomes[0], OUTCOME_SIGNALED, SIGUSR1);
    assert_outcome(r.outcomes[1], OUTCOME_EXITED, SIGUSR1);
    RIG_UNTIL(&r, r.gone > 0);
    uv_procs_close(r.procs);
    assert_int_equal(uv_out_lost(r.out), 0);
    assert_int_equal(fcntl(s.fds[1], F_GETFL) & O_NONBLOCK, 0);
    sink_close(&s, &r);
    alarm(0);
}

static void fds_and_zombies(void **state)
{
    (void)state;
    size_t before = count_fds();
    for (int i = 0; i < 50; i++) {
        struct rig r;
        rig_init(&r, &loop);
        rig_add(&r, "exit_with", "0", "bye");
        rig_add(&r, "/nonexistent/program", NULL, NULL);
        rig_add(&r, "crash", "abort", NULL);
        rig_start(&r);
        rig_until_gone(&r);
        assert_no_children();
    }
    assert_int_equal(count_fds(), before);
}

static void limits_are_errors(void **state)
{
    (void)state;
    struct worker_command none = {0};
    struct mu_err err = MU_ERR_INIT;
    struct uv_procs_spec spec = {.workers = &none, .count = 0};
    assert_null(uv_procs_start(&loop, &spec, &rig_handlers, NULL, &err));
    assert_int_equal(err.code, MU_E_LIMIT);
    spec.count = MU_MAX_LOCAL_WORLD + 1;
    assert_null(uv_procs_start(&loop, &spec, &rig_handlers, NULL, &err));
    assert_int_equal(err.code, MU_E_LIMIT);

    /* Not enough descriptors: an error, and nothing stays behind. */
    size_t before = count_fds();
    int last = dup(0);
    close(last);
    struct rlimit limit;
    struct rlimit low;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t extra = 0; extra < 9; extra++) {
        low = (struct rlimit){(rlim_t)last + extra, limit.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        struct worker_command workers[4] = {{0}};
        spec = (struct uv_procs_spec){.workers = workers, .count = 4};
        spec.output = rig_open_output(&loop, spec.count, NULL, &err);
        assert_true(spec.output == NULL ||
                    uv_procs_start(&loop, &spec, &rig_handlers, NULL, &err) == NULL);
        assert_int_equal(err.sys, EMFILE);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
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
        cmocka_unit_test(all_exit_codes),
        cmocka_unit_test(reports_outlive_an_unread_order),
        cmocka_unit_test(all_signals),
        cmocka_unit_test(exec_failures),
        cmocka_unit_test(workers_start_clean),
        cmocka_unit_test(tail_is_complete_at_exit),
        cmocka_unit_test(long_tail_is_the_end),
        cmocka_unit_test(all_output_arrives),
        cmocka_unit_test(blocked_output_stalls_nothing),
        cmocka_unit_test(fds_and_zombies),
        cmocka_unit_test(limits_are_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
