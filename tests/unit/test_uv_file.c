/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_file.h"

#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <cmocka.h>

static uv_loop_t loop;

struct failures {
    int count;
    int error;
};

static void on_failed(void *arg, const char *path, int error)
{
    struct failures *f = arg;
    assert_non_null(path);
    f->count++;
    f->error = error;
}

static struct uv_file *open_file(const char *path, size_t high, struct failures *failures)
{
    struct uv_file_spec spec = {.path = path, .high = high, .failed = on_failed, .arg = failures};
    struct mu_err err = MU_ERR_INIT;
    struct uv_file *f = uv_file_open(&loop, &spec, &err);
    if (f == NULL) {
        fail_msg("%s", err.text);
    }
    alarm(30);
    return f;
}

static void temporary(char *path)
{
    snprintf(path, 64, "/tmp/muster-test-file-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "old", 3), 3);
    close(fd);
}

static void on_room(void *arg)
{
    *(int *)arg += 1;
}

static void everything_is_written_in_order(void **state)
{
    (void)state;
    char path[64];
    temporary(path);
    struct failures failures = {0};
    struct uv_file *f = open_file(path, 10000, &failures);
    int rooms = 0;
    struct uv_waiter w = {.fn = on_room, .arg = &rooms};
    size_t total = 0;
    char line[32];
    while (!uv_file_is_full(f)) { /* the loop does not run, so nothing is done with it */
        int n = snprintf(line, sizeof(line), "%zu\n", total);
        uv_file_write(f, line, (size_t)n);
        total += (size_t)n;
    }
    uv_file_wait(f, &w);
    while (rooms == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_false(uv_file_is_full(f));
    uv_file_write(f, "end\n", 4);
    uv_file_close(f); /* with writes under way */
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *got = mu_alloc(total + 5);
    assert_int_equal(read(fd, got, total + 5), total + 4);
    for (size_t at = 0; at < total;) {
        int n = snprintf(line, sizeof(line), "%zu\n", at);
        assert_memory_equal(got + at, line, (size_t)n);
        at += (size_t)n;
    }
    assert_memory_equal(got + total, "end\n", 4);
    free(got);
    close(fd);
    unlink(path);
    assert_int_equal(rooms, 1);
    assert_int_equal(failures.count, 0);
}

/* Told once; the rest is counted; nobody is left waiting. */
static void a_full_disk_is_told_once(void **state)
{
    (void)state;
    struct failures failures = {0};
    struct uv_file *f = open_file("/dev/full", 100, &failures);
    int rooms = 0;
    struct uv_waiter w = {.fn = on_room, .arg = &rooms};
    char block[200] = {0};
    uv_file_write(f, block, 150);
    uv_file_write(f, block, 150);
    assert_true(uv_file_is_full(f));
    uv_file_wait(f, &w);
    while (rooms == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(failures.count, 1);
    assert_int_equal(failures.error, ENOSPC);
    uv_file_write(f, block, 200);
    assert_false(uv_file_is_full(f));
    uv_file_close(f);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
    assert_int_equal(failures.count, 1);
}

static void a_limit_on_file_size_is_survived(void **state)
{
    (void)state;
    char path[64];
    temporary(path);
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit low = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
    struct failures failures = {0};
    struct uv_file *f = open_file(path, 100000, &failures);
    setrlimit(RLIMIT_FSIZE, &low);
    char block[1500] = {0};
    uv_file_write(f, block, sizeof(block));
    uv_file_close(f);
    uv_run(&loop, UV_RUN_DEFAULT);
    setrlimit(RLIMIT_FSIZE, &before);
    alarm(0);
    assert_int_equal(failures.count, 1);
    assert_int_equal(failures.error, EFBIG);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 1000);
    unlink(path);
}

static void on_timer(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* A FIFO that nobody reads stands in for a file system that hangs: only its writer waits. */
static void a_write_that_hangs_holds_nobody(void **state)
{
    (void)state;
    enum { BLOCK = 200 * 1024 };
    char path[64];
    temporary(path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct failures failures = {0};
    struct uv_file *f = open_file(path, 1000000, &failures);
    char *block = mu_calloc(BLOCK, 1);
    uv_file_write(f, block, BLOCK);
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_timer, 20, 0);
    uv_run(&loop, UV_RUN_DEFAULT); /* comes back: the loop did not wait for the write */
    uv_close((uv_handle_t *)&timer, NULL);
    uv_file_close(f);
    size_t total = 0;
    while (total < BLOCK) {
        ssize_t n = read(reader, block, BLOCK);
        total += n > 0 ? (size_t)n : 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
    assert_int_equal(total, BLOCK);
    assert_int_equal(failures.count, 0);
    free(block);
    close(reader);
    unlink(path);
}

static void no_file_is_an_error(void **state)
{
    (void)state;
    struct uv_file_spec spec = {.path = "/nonexistent/stdout.log"};
    struct mu_err err = MU_ERR_INIT;
    assert_null(uv_file_open(&loop, &spec, &err));
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/stdout.log"));
    uv_file_close(NULL);
}

static int setup(void **state)
{
    (void)state;
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_written_in_order),
        cmocka_unit_test(a_full_disk_is_told_once),
        cmocka_unit_test(a_limit_on_file_size_is_survived),
        cmocka_unit_test(a_write_that_hangs_holds_nobody),
        cmocka_unit_test(no_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
