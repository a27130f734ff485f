/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/proc_tree.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <cmocka.h>

/* Fields 4 to 22 and some, as they come after the state. */
#define TAIL \
    " 10 11 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 98765 1000 200 18446744073709551615 1 1 0\n"

static int parse(const char *text, struct proc_stat *st)
{
    return proc_tree_parse_stat(text, strlen(text), st);
}

static void parses(void **state)
{
    (void)state;
    const struct {
        const char *text;
        const char *comm;
        char st;
    } cases[] = {
        {"42 (python3) S" TAIL, "python3", 'S'},
        {"42 () Z" TAIL, "", 'Z'},
        {"42 (a b) R" TAIL, "a b", 'R'},
        {"42 (evil) R 1 (x) D" TAIL, "evil) R 1 (x", 'D'},
        {"42 (() S) T" TAIL, "() S", 'T'},
        {"42 (new\nline) t" TAIL, "new\nline", 't'},
        {"42 ()))) S" TAIL, ")))", 'S'},
        {"42 (kworker/u8:0-kvfree_rcu_reclaim) I" TAIL, "kworker/u8:0-kv", 'I'},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct proc_stat st;
        assert_int_equal(parse(cases[i].text, &st), 0);
        assert_string_equal(st.comm, cases[i].comm);
        assert_int_equal(st.state, cases[i].st);
        assert_int_equal(st.pid, 42);
        assert_int_equal(st.ppid, 10);
        assert_int_equal(st.pgrp, 11);
        assert_int_equal(st.session, 12);
        assert_int_equal(st.threads, 3);
        assert_int_equal(st.start_time, 98765);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "42",
        "42 ",
        "42 (",
        "42 (x",
        "42 (x)",
        "42 (x) S",
        "42 (x) S ",
        "x (y) S" TAIL,
        "42 [y] S" TAIL,
        "42 (x) S 1 2 3",
        "42 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
        "42 (x) S a" TAIL,
        "42 (x)  S" TAIL,
    };
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        struct proc_stat st = {.pid = 7};
        assert_int_equal(parse(texts[i], &st), -1);
        assert_int_equal(st.pid, 7);
    }
    /* Every beginning of a good one: no read past the end (the sanitizer looks), no wrong yes. */
    static const char good[] = "42 (a) b) S" TAIL;
    size_t enough = (size_t)(strstr(good, "98765") - good) + 1;
    for (size_t len = 0; len < sizeof(good); len++) {
        char *copy = mu_alloc(len);
        memcpy(copy, good, len);
        struct proc_stat st;
        assert_int_equal(proc_tree_parse_stat(copy, len, &st), len >= enough ? 0 : -1);
        free(copy);
    }
}

static void reads_itself(void **state)
{
    (void)state;
    char name[16];
    struct proc_stat st;
    prctl(PR_GET_NAME, name);
    prctl(PR_SET_NAME, ") Z 1 (x");
    assert_int_equal(proc_tree_read_stat(getpid(), &st), 0);
    prctl(PR_SET_NAME, name);
    assert_string_equal(st.comm, ") Z 1 (x");
    assert_int_equal(st.pid, getpid());
    assert_int_equal(st.ppid, getppid());
    assert_int_equal(st.pgrp, getpgrp());
    assert_int_equal(st.session, getsid(0));
    assert_int_equal(st.state, 'R');
    assert_true(proc_tree_is_alive(&st));
    assert_int_equal(proc_tree_read_stat(0x3fffffff, &st), -1);
}

static bool has(const struct proc_stat *list, size_t count, pid_t pid)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += list[i].pid == pid ? 1 : 0;
    }
    return n == 1;
}

/* A child, its child, and a zombie: found by both methods, each once. */
static void finds_descendants(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    alarm(30);
    pid_t zombie = fork();
    if (zombie == 0) {
        _exit(0);
    }
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild > 0 && write(fds[1], &grandchild, sizeof(grandchild)) > 0) {
            pause();
        }
        while (grandchild == 0) {
            pause();
        }
        _exit(1);
    }
    pid_t grandchild;
    assert_int_equal(read(fds[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT), 0);

    const enum proc_tree_method methods[] = {PROC_TREE_AUTO, PROC_TREE_CHILDREN, PROC_TREE_SCAN};
    for (size_t i = 0; i < MU_COUNT(methods); i++) {
        struct proc_stat list[8];
        size_t n = proc_tree_descendants(getpid(), methods[i], list, MU_COUNT(list));
        assert_int_equal(n, 3);
        assert_true(has(list, n, zombie) && has(list, n, child) && has(list, n, grandchild));
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(proc_tree_is_alive(&list[k]), list[k].pid != zombie);
        }
        n = proc_tree_children(getpid(), methods[i], list, MU_COUNT(list));
        assert_int_equal(n, 2);
        assert_true(has(list, n, zombie) && has(list, n, child));
        assert_int_equal(proc_tree_descendants(getpid(), methods[i], list, 2), 2);
        assert_int_equal(proc_tree_children(getpid(), methods[i], list, 1), 1);
        assert_int_equal(proc_tree_descendants(getpid(), methods[i], list, 0), 0);
        assert_int_equal(proc_tree_descendants(grandchild, methods[i], list, 8), 0);
    }
    kill(grandchild, SIGKILL);
    kill(child, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    close(fds[0]);
    close(fds[1]);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses),
        cmocka_unit_test(reads_itself),
        cmocka_unit_test(finds_descendants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
