/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/whole_file.h"

#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char dir[64];
static char path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/muster-whole-file-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/report.json", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing is left beside it */
    return 0;
}

static void expect_content(const char *file, const char *want)
{
    char text[256] = {0};
    mu_autoclose int fd = open(file, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    assert_string_equal(text, want);
}

static void test_new_and_replaced(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(whole_file_write(path, "one\n", &err), 0);
    expect_content(path, "one\n");
    struct stat before;
    struct stat after;
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0644 & ~umask(022));
    assert_int_equal(whole_file_write(path, "2\n", &err), 0);
    expect_content(path, "2\n");
    assert_int_equal(stat(path, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino); /* a reader of the old one has it whole */
}

static void test_link_stays(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *target = mu_asprintf("%s/target", dir);
    assert_int_equal(whole_file_write(target, "old", &err), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(whole_file_write(path, "new", &err), 0);
    expect_content(target, "new");
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(unlink(target), 0);
}

static void test_no_plain_file(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(whole_file_write("/dev/null", "text", &err), 0);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(whole_file_write(path, "text", &err), -1); /* nobody reads: no waiting */
    assert_int_equal(err.sys, ENXIO);
}

static void test_errors(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(whole_file_write("/no/such/directory/file", "text", &err), -1);
    assert_int_equal(err.sys, ENOENT);
    struct mu_err other = MU_ERR_INIT;
    assert_int_equal(whole_file_write(dir, "text", &other), -1);
    assert_int_equal(other.sys, EISDIR);
    struct mu_err full = MU_ERR_INIT;
    assert_int_equal(whole_file_write("/dev/full", "text", &full), -1);
    assert_int_equal(full.sys, ENOSPC);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_new_and_replaced),
        TEST(test_link_stays),
        TEST(test_no_plain_file),
        TEST(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
