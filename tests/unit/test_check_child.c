/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_child.h"

#include "muster/clock.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONG_MS = 30 * 1000 };

static void say(const void *arg, struct mu_buf *out)
{
    mu_buf_printf(out, "%s %d", (const char *)arg, signal(SIGPIPE, SIG_DFL) == SIG_DFL);
}

static void hang(const void *arg, struct mu_buf *out)
{
    (void)arg;
    (void)out;
    signal(SIGTERM, SIG_IGN);
    for (;;) {
        pause();
    }
}

static void talk(const void *arg, struct mu_buf *out)
{
    (void)out;
    char line[256];
    memset(line, 'x', sizeof(line));
    for (size_t i = 0; i < *(const size_t *)arg; i += sizeof(line)) {
        if (write(STDOUT_FILENO, line, sizeof(line)) < 0) {
            return;
        }
    }
}

static void assert_out(const struct check_child *c, const char *text)
{
    const struct mu_buf *out = &check_child_answer(c)->out;
    assert_int_equal(out->len, strlen(text));
    assert_memory_equal(out->data, text, out->len);
}

static void test_answers(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    const char *argv[] = {"/bin/sh", "-c", "echo $WORD; echo why >&2; exit 3", NULL};
    char word[] = "WORD=hello";
    char *envp[] = {word, NULL};
    struct check_child *children[] = {check_child_call(say, "first", LONG_MS),
                                      check_child_exec(argv, envp, LONG_MS)};
    check_child_wait(children, 2);
    assert_out(children[0], "first 1");
    assert_out(children[1], "hello\n");
    const struct check_answer *program = check_child_answer(children[1]);
    assert_true(program->is_done && !program->is_late);
    assert_int_equal(WEXITSTATUS(program->status), 3);
    assert_int_equal(program->err.len, 4);
    check_child_free(children[0]);
    check_child_free(children[1]);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_no_such_program(void **state)
{
    (void)state;
    const char *argv[] = {"/no/such/program", NULL};
    char *envp[] = {NULL};
    struct check_child *c = check_child_exec(argv, envp, LONG_MS);
    check_child_wait(&c, 1);
    assert_true(check_child_answer(c)->is_done);
    assert_int_equal(WEXITSTATUS(check_child_answer(c)->status), 127);
    check_child_free(c);
}

/* The one that hangs costs its own deadline and nobody else's answer. */
static void test_deadline(void **state)
{
    (void)state;
    struct check_child *children[] = {check_child_call(hang, NULL, 200),
                                      check_child_call(say, "quick", LONG_MS)};
    int64_t before_ms = mu_clock_ms();
    check_child_wait(children, 2);
    int64_t took_ms = mu_clock_ms() - before_ms;
    assert_true(took_ms >= 150 && took_ms < LONG_MS / 2);
    assert_true(check_child_answer(children[0])->is_late);
    assert_false(check_child_answer(children[0])->is_done);
    assert_out(children[1], "quick 1");
    check_child_free(children[0]);
    check_child_free(children[1]);
}

/* Whoever is late goes with all that it started. */
static void test_deadline_takes_the_group(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", "sleep 1000 & echo $!; wait", NULL};
    char path[] = "PATH=/usr/bin:/bin";
    char *envp[] = {path, NULL};
    struct check_child *c = check_child_exec(argv, envp, 1000);
    check_child_wait(&c, 1);
    assert_true(check_child_answer(c)->is_late);
    mu_autofree char *text =
        mu_strndup((const char *)check_child_answer(c)->out.data, check_child_answer(c)->out.len);
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    assert_true(pid > 1);
    char state_path[64];
    char line[256] = "";
    snprintf(state_path, sizeof(state_path), "/proc/%d/stat", (int)pid);
    for (int i = 0; i < 500; i++) { /* an orphan: whoever adopted it may take a moment to reap it */
        FILE *f = fopen(state_path, "re");
        if (f == NULL || fgets(line, sizeof(line), f) == NULL || strstr(line, ") Z") != NULL) {
            line[0] = '\0';
        }
        if (f != NULL) {
            fclose(f);
        }
        if (line[0] == '\0') {
            break;
        }
        usleep(10 * 1000);
    }
    assert_string_equal(line, "");
    check_child_free(c);
}

static void test_output_has_a_limit(void **state)
{
    (void)state;
    size_t fits = CHECK_CHILD_MAX_OUT;
    size_t endless = SIZE_MAX;
    struct check_child *children[] = {check_child_call(talk, &fits, LONG_MS),
                                      check_child_call(talk, &endless, LONG_MS)};
    check_child_wait(children, 2);
    assert_true(check_child_answer(children[0])->is_done);
    assert_int_equal(check_child_answer(children[0])->out.len, CHECK_CHILD_MAX_OUT);
    assert_false(check_child_answer(children[1])->is_done);
    assert_false(check_child_answer(children[1])->is_late);
    check_child_free(children[0]);
    check_child_free(children[1]);
}

static void test_not_waited_for(void **state)
{
    (void)state;
    check_child_free(check_child_call(hang, NULL, LONG_MS));
    check_child_free(NULL);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_deadline_takes_the_group),
        cmocka_unit_test(test_output_has_a_limit),
        cmocka_unit_test(test_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
