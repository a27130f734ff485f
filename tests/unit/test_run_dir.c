/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/run_dir.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/muster-test-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

/* That nothing but what a test removed itself is left. */
static int teardown(void **state)
{
    (void)state;
    return rmdir(root);
}

static char *in_root(const char *name)
{
    return mu_asprintf("%s/%s", root, name);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void make_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static void test_layout(void **state)
{
    (void)state;
    mu_autofree char *logs = in_root("a/b/logs");
    struct mu_err err = MU_ERR_INIT;
    struct run_dir *dir = run_dir_new(logs, "job7", NULL, &err);
    assert_non_null(dir);
    mu_autofree char *prefix = mu_asprintf("%s/job7_", logs);
    assert_int_equal(strncmp(run_dir_path(dir), prefix, strlen(prefix)), 0);
    assert_int_equal(strlen(run_dir_path(dir)), strlen(prefix) + 8);
    assert_true(is_dir(run_dir_path(dir)));

    char *attempt = NULL;
    assert_int_equal(run_dir_add_attempt(dir, 3, 2, &attempt, &err), 0);
    mu_autofree char *expected = mu_asprintf("%s/attempt_3", run_dir_path(dir));
    assert_string_equal(attempt, expected);
    mu_autofree char *zero = mu_asprintf("%s/0", attempt);
    mu_autofree char *one = mu_asprintf("%s/1", attempt);
    mu_autofree char *two = mu_asprintf("%s/2", attempt);
    assert_true(is_dir(zero));
    assert_true(is_dir(one));
    assert_false(is_dir(two));
    free(attempt);

    mu_autofree char *path = mu_strdup(run_dir_path(dir));
    run_dir_free(dir);
    assert_false(is_dir(path));
    assert_true(is_dir(logs)); /* it was named by the user: it stays */
    mu_autofree char *b = in_root("a/b");
    mu_autofree char *a = in_root("a");
    assert_int_equal(rmdir(logs) + rmdir(b) + rmdir(a), 0);
}

static void test_runs_do_not_share(void **state)
{
    (void)state;
    struct run_dir *a = run_dir_new(root, "job7", NULL, NULL);
    struct run_dir *b = run_dir_new(root, "job7", NULL, NULL);
    assert_string_not_equal(run_dir_path(a), run_dir_path(b));
    run_dir_free(a);
    run_dir_free(b);
    run_dir_free(NULL);
}

static void test_temporary(void **state)
{
    (void)state;
    struct run_dir *dir = run_dir_new(NULL, "none", root, NULL);
    assert_non_null(dir);
    mu_autofree char *prefix = in_root("muster_");
    assert_int_equal(strncmp(run_dir_path(dir), prefix, strlen(prefix)), 0);
    assert_non_null(strstr(run_dir_path(dir), "/none_"));
    assert_int_equal(mode_of(run_dir_path(dir)), 0700);
    char *attempt = NULL;
    assert_int_equal(run_dir_add_attempt(dir, 0, 3, &attempt, NULL), 0);
    free(attempt);
    run_dir_free(dir); /* teardown finds root empty */
}

static void test_what_was_written_stays(void **state)
{
    (void)state;
    struct run_dir *dir = run_dir_new(root, "j", NULL, NULL);
    char *first = NULL;
    char *second = NULL;
    assert_int_equal(run_dir_add_attempt(dir, 0, 2, &first, NULL), 0);
    assert_int_equal(run_dir_add_attempt(dir, 1, 2, &second, NULL), 0);
    mu_autofree char *path = mu_strdup(run_dir_path(dir));
    mu_autofree char *empty = mu_asprintf("%s/0", first);
    mu_autofree char *used = mu_asprintf("%s/1", first);
    mu_autofree char *report = mu_asprintf("%s/error.json", used);
    make_file(report);
    run_dir_free(dir);
    assert_int_equal(access(report, F_OK), 0);
    assert_false(is_dir(empty));
    assert_false(is_dir(second));
    assert_int_equal(unlink(report) + rmdir(used) + rmdir(first) + rmdir(path), 0);
    free(first);
    free(second);
}

/* A round that cost no restart has the number of the one before. */
static void test_an_attempt_is_never_reused(void **state)
{
    (void)state;
    struct run_dir *dir = run_dir_new(root, "j", NULL, NULL);
    static const char *const names[] = {"/attempt_0", "/attempt_0_1", "/attempt_0_2"};
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        char *attempt = NULL;
        assert_int_equal(run_dir_add_attempt(dir, 0, 1, &attempt, NULL), 0);
        assert_string_equal(strrchr(attempt, '/'), names[i]);
        free(attempt);
    }
    run_dir_free(dir);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct run_dir *dir = run_dir_new("/dev/null", "j", NULL, NULL);
    assert_non_null(dir);
    assert_null(run_dir_path(dir));
    char *attempt = root;
    assert_int_equal(run_dir_add_attempt(dir, 0, 8, &attempt, NULL), 0);
    assert_null(attempt);
    run_dir_free(dir);
}

static void test_odd_run_ids(void **state)
{
    (void)state;
    static const char *const ids[] = {"a/b", "../../x", "..", "", " ", "/"};
    for (size_t i = 0; i < MU_COUNT(ids); i++) {
        struct run_dir *dir = run_dir_new(root, ids[i], NULL, NULL);
        assert_non_null(dir);
        const char *name = strrchr(run_dir_path(dir), '/');
        assert_int_equal(strlen(run_dir_path(dir)) - strlen(name), strlen(root));
        run_dir_free(dir);
    }
    char longest[MU_MAX_NAME + 1];
    memset(longest, 'x', MU_MAX_NAME);
    longest[MU_MAX_NAME] = '\0';
    struct run_dir *dir = run_dir_new(root, longest, NULL, NULL);
    assert_non_null(dir);
    run_dir_free(dir);
}

static void test_relative_log_dir(void **state)
{
    (void)state;
    mu_autofree char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(root), 0);
    struct run_dir *dir = run_dir_new("logs/./x/", "j", NULL, NULL);
    assert_int_equal(chdir(before), 0);
    mu_autofree char *prefix = in_root("logs/x/j_");
    assert_int_equal(strncmp(run_dir_path(dir), prefix, strlen(prefix)), 0);
    run_dir_free(dir);
    mu_autofree char *x = in_root("logs/x");
    mu_autofree char *logs = in_root("logs");
    assert_int_equal(rmdir(x) + rmdir(logs), 0);
}

static void test_failures(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *file = in_root("file");
    mu_autofree char *below = in_root("file/logs");
    make_file(file);

    mu_autofree char *in_the_way =
        mu_asprintf("make directory %s: a file that is no directory is in the way", file);
    assert_null(run_dir_new(file, "j", NULL, &err));
    assert_string_equal(err.text, in_the_way);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_null(run_dir_new(below, "j", NULL, &err));
    assert_string_equal(err.text, in_the_way);

    assert_null(run_dir_new("", "j", NULL, &err));
    assert_int_equal(err.code, MU_E_USAGE);
    assert_null(run_dir_new("/proc/nothing/here", "j", NULL, &err));
    assert_int_equal(err.code, MU_E_SYSTEM);
    assert_non_null(strstr(err.text, "make directory /proc/nothing: "));
    unlink(file);

    /* the directory goes away while the job runs */
    struct run_dir *dir = run_dir_new(root, "j", NULL, NULL);
    assert_int_equal(rmdir(run_dir_path(dir)), 0);
    char *attempt = root;
    assert_int_equal(run_dir_add_attempt(dir, 0, 1, &attempt, &err), -1);
    assert_ptr_equal(attempt, root);
    assert_int_equal(err.sys, ENOENT);
    run_dir_free(dir);
}

/* As Python does, and so torchrun. */
static void test_unusable_tmpdir(void **state)
{
    (void)state;
    static const char *const places[] = {"/nonexistent", "/proc", ""};
    for (size_t i = 0; i < MU_COUNT(places); i++) {
        struct run_dir *dir = run_dir_new(NULL, "j", places[i], NULL);
        assert_non_null(dir);
        assert_int_equal(strncmp(run_dir_path(dir), "/tmp/muster_", 12), 0);
        run_dir_free(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_runs_do_not_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_temporary, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_written_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_attempt_is_never_reused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_run_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_relative_log_dir, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test(test_unusable_tmpdir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
