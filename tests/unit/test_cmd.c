/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "muster/log.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct mu_buf said; /* what went to standard error */

static void listen_in(void *arg, const char *line, size_t len)
{
    mu_buf_append(arg, line, len);
}

static int setup(void **state)
{
    (void)state;
    mu_log_set_sink(listen_in, &said);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mu_log_set_sink(NULL, NULL);
    mu_buf_fini(&said);
    return 0;
}

/* Run `muster word word ...` with standard output sent to `path`. */
static int run_to(const char *path, const char *const *words)
{
    static char name[] = "muster";
    char *argv[8] = {name};
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)(uintptr_t)*words;
    }
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(before >= 0 && fd >= 0);
    dup2(fd, STDOUT_FILENO);
    said.len = 0;
    int status = cmd_main(argc, argv);
    fflush(stdout);
    clearerr(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    close(fd);
    mu_buf_append_u8(&said, '\0');
    return status;
}
#define RUN_TO(path, ...) run_to(path, (const char *const[]){__VA_ARGS__})
#define RUN(...)          RUN_TO("/dev/null", __VA_ARGS__)

#define ASSERT_SAID(text) assert_string_equal((const char *)said.data, text)

static void test_what_only_prints(void **state)
{
    (void)state;
    assert_int_equal(RUN("--help", NULL), 0);
    assert_int_equal(RUN("-h", NULL), 0);
    assert_int_equal(RUN("help", NULL), 0);
    assert_int_equal(RUN("help", "run", NULL), 0);
    assert_int_equal(RUN("help", "version", NULL), 0);
    assert_int_equal(RUN("help", "--man", "run", "options", NULL), 0);
    assert_int_equal(RUN("help", "--completion", "zsh", NULL), 0);
    assert_int_equal(RUN("run", "--help", NULL), 0);
    assert_int_equal(RUN("serve", "-h", NULL), 0);
    assert_int_equal(RUN("status", "--help", NULL), 0);
    assert_int_equal(RUN("--version", NULL), 0);
    assert_int_equal(RUN("version", NULL), 0);
    ASSERT_SAID("");
}

static void test_no_arguments(void **state)
{
    (void)state;
    assert_int_equal(RUN(NULL), 2);
    ASSERT_SAID("Usage: muster run [OPTION]... SCRIPT [ARGUMENT]...\n"
                "       muster help explains the rest\n");
}

/* Linked or copied under that name, muster takes torchrun's place on a command line. */
static void test_called_torchrun(void **state)
{
    (void)state;
    static char name[] = "/opt/bin/torchrun";
    static char option[] = "--nprocs-per-node=8";
    char *argv[] = {name, option, NULL};
    said.len = 0;
    assert_int_equal(cmd_main(2, argv), 2);
    mu_buf_append_u8(&said, '\0');
    ASSERT_SAID("muster: error: unknown option '--nprocs-per-node'; did you mean "
                "'--nproc-per-node'?\n");
}

static void test_unknown_commands(void **state)
{
    (void)state;
    assert_int_equal(RUN("stauts", NULL), 2);
    ASSERT_SAID("muster: error: unknown command 'stauts'; did you mean 'status'?\n");
    assert_int_equal(RUN("frobnicate", NULL), 2);
    ASSERT_SAID("muster: error: unknown command 'frobnicate'; 'muster help' lists all\n");
    assert_int_equal(RUN("", NULL), 2);
    assert_int_equal(RUN("train.py", "--lr", "1", NULL), 2);
    ASSERT_SAID("muster: error: 'train.py' is no command; did you mean 'muster run train.py "
                "...'?\n");
    assert_int_equal(RUN("--nproc-per-node=8", "train.py", NULL), 2);
    ASSERT_SAID("muster: error: '--nproc-per-node=8' is no command; did you mean 'muster run "
                "--nproc-per-node=8 ...'?\n");
    assert_int_equal(RUN("help", "rum", NULL), 2);
    ASSERT_SAID("muster: error: no help on 'rum'; did you mean 'run'?\n");
}

static void test_wrong_options(void **state)
{
    (void)state;
    assert_int_equal(RUN("run", "--nprocs-per-node=8", "train.py", NULL), 2);
    ASSERT_SAID("muster: error: unknown option '--nprocs-per-node'; did you mean "
                "'--nproc-per-node'?\n");
    assert_int_equal(RUN("run", NULL), 2);
    assert_int_equal(RUN("serve", "here", NULL), 2);
    assert_int_equal(RUN("status", NULL), 2);
    assert_int_equal(RUN("help", "--man", "run", NULL), 2);
    assert_int_equal(RUN("help", "--completion", NULL), 2);
}

static void test_output_cannot_be_written(void **state)
{
    (void)state;
    assert_int_equal(RUN_TO("/dev/full", "help", NULL), 1);
    ASSERT_SAID("muster: error: write to standard output: No space left on device\n");
    assert_int_equal(RUN_TO("/dev/full", "run", "--help", NULL), 1);
    assert_int_equal(RUN_TO("/dev/full", "version", NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_only_prints), cmocka_unit_test(test_no_arguments),
        cmocka_unit_test(test_called_torchrun),  cmocka_unit_test(test_unknown_commands),
        cmocka_unit_test(test_wrong_options),    cmocka_unit_test(test_output_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
