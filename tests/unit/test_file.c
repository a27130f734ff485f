/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/file.h"

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
    snprintf(dir, sizeof(dir), "/tmp/muster-file-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void write_file(size_t len)
{
    mu_autofree char *data = mu_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)('a' + i % 26);
    }
    mu_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
}

static void test_beginning(void **state)
{
    (void)state;
    char text[5] = "xxxx";
    write_file(0);
    assert_int_equal(mu_file_read(path, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    write_file(3);
    assert_int_equal(mu_file_read(path, text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    write_file(5);
    assert_int_equal(mu_file_read(path, text, sizeof(text)), 4);
    assert_string_equal(text, "abcd");
}

/* Around every size at which the buffer grows, and the limit. */
static void test_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 9999, 10000, 10001};
    static const size_t limits[] = {0, 1, 4095, 4096, 10000};
    for (size_t i = 0; i < MU_COUNT(sizes); i++) {
        write_file(sizes[i]);
        for (size_t k = 0; k < MU_COUNT(limits); k++) {
            size_t len = 12345;
            mu_autofree char *text = mu_file_text(path, limits[k], &len);
            if (sizes[i] > limits[k]) {
                assert_null(text);
                assert_int_equal(errno, EFBIG);
                assert_int_equal(len, 12345);
                continue;
            }
            assert_non_null(text);
            assert_int_equal(len, sizes[i]);
            assert_int_equal(strlen(text), len);
            assert_true(len == 0 || text[len - 1] == (char)('a' + (len - 1) % 26));
        }
    }
    mu_autofree char *mounts = mu_file_text("/proc/self/mountinfo", 1 << 20, NULL);
    assert_non_null(strstr(mounts, " /proc "));
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    char text[8];
    assert_int_equal(mu_file_read(path, text, sizeof(text)), -1);
    assert_int_equal(errno, ENOENT);
    assert_null(mu_file_text(path, 100, NULL));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mu_file_read(dir, text, sizeof(text)), -1);
    assert_int_equal(errno, EISDIR);
    assert_null(mu_file_text(dir, 100, NULL));
    assert_int_equal(errno, EISDIR);
    assert_null(mu_file_text("/dev/zero", 100000, NULL));
    assert_int_equal(errno, EFBIG);
    /* A FIFO: nobody writes, then somebody who says nothing. */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mu_file_read(path, text, sizeof(text)), 0);
    mu_autoclose int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(mu_file_read(path, text, sizeof(text)), -1);
    assert_int_equal(errno, EAGAIN);
    assert_null(mu_file_text(path, 100, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
