/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_out.h"

#include "muster/log.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <cmocka.h>

static uv_loop_t loop;

static struct uv_out *out_new(int fd)
{
    struct mu_err err = MU_ERR_INIT;
    struct uv_out *out = uv_out_new(&loop, fd, &err);
    if (out == NULL) {
        fail_msg("%s", err.text);
    }
    alarm(30);
    return out;
}

static void out_close(struct uv_out *out)
{
    uv_out_close(out);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
}

static size_t read_all(int fd, char *buf, size_t size)
{
    size_t len = 0;
    ssize_t n;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (len < size && (n = read(fd, buf + len, size - len)) > 0) {
        len += (size_t)n;
    }
    return len;
}

static void on_room(void *arg)
{
    *(int *)arg += 1;
}

/* Fill it to the mark, be told once when there is room, lose nothing, leave the flags alone. */
static void queues_and_resumes(int read_fd, int write_fd)
{
    struct uv_out *out = out_new(write_fd);
    int flags = fcntl(write_fd, F_GETFL);
    int rooms = 0;
    struct uv_waiter w = {.fn = on_room, .arg = &rooms};
    struct uv_waiter canceled = {.fn = on_room, .arg = &rooms};
    char line[101];
    unsigned lines = 0;
    while (!uv_out_is_full(out)) {
        snprintf(line, sizeof(line), "%099u\n", lines++);
        uv_out_write(out, line, 100);
    }
    uv_out_wait(out, &w);
    uv_out_wait(out, &w);
    uv_out_wait(out, &canceled);
    uv_waiter_cancel(&canceled);
    assert_false(uv_out_flush_blocking(out, 1, 1));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(rooms, 0);

    size_t total = (size_t)lines * 100;
    char *got = mu_alloc(total + 1);
    size_t len = 0;
    while (len < total) {
        len += read_all(read_fd, got + len, total + 1 - len);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(len, total);
    for (unsigned i = 0; i < lines; i++) {
        snprintf(line, sizeof(line), "%099u\n", i);
        assert_memory_equal(got + (size_t)i * 100, line, 100);
    }
    free(got);
    assert_int_equal(rooms, 1);
    assert_false(uv_out_is_full(out));
    assert_true(uv_out_flush_blocking(out, 0, 0));
    assert_int_equal(uv_out_lost(out), 0);
    assert_int_equal(fcntl(write_fd, F_GETFL), flags);
    assert_int_equal(flags & O_NONBLOCK, 0);
    out_close(out);
}

static void pipe_queues_and_resumes(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    queues_and_resumes(fds[0], fds[1]);
    close(fds[0]);
    close(fds[1]);
}

static void socket_queues_and_resumes(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    queues_and_resumes(fds[0], fds[1]);
    close(fds[0]);
    close(fds[1]);
}

static void terminal_queues_and_resumes(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        skip();
    }
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    struct uv_out *out = out_new(slave);
    while (!uv_out_is_full(out)) {
        uv_out_write(out, "0123456789\n", 11); /* must not block, whatever the terminal holds */
    }
    char data[4096];
    while (!uv_out_flush_blocking(out, 0, 0)) {
        read_all(master, data, sizeof(data));
    }
    assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
    out_close(out);
    close(slave);
    close(master);
}

static void file_is_written_at_once(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-test-out-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    struct uv_out *out = out_new(fd);
    uv_out_write(out, "one\n", 4);
    uv_out_write(out, "two", 3);
    mu_log_set_sink(uv_out_log_sink, out);
    mu_log(MU_LOG_NOTICE, "three");
    mu_log(MU_LOG_NOTICE, "four");
    mu_log_set_sink(NULL, NULL);
    char text[128] = "";
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "one\ntwo\nmuster: three\nmuster: four\n");
    out_close(out);
    close(fd);
}

/* A reader that went away, a full disk, a closed descriptor: counted, nothing else. */
static void failures_are_counted(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    struct uv_out *out = out_new(fds[1]);
    uv_out_write(out, "12345", 5);
    uv_out_write(out, "678", 3);
    assert_int_equal(uv_out_lost(out), 8);
    assert_int_equal(uv_out_error(out), EPIPE);
    assert_false(uv_out_flush_blocking(out, 10, 10));
    out_close(out);
    close(fds[1]);

    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    out = out_new(full);
    uv_out_write(out, "12345", 5);
    assert_int_equal(uv_out_error(out), ENOSPC);
    assert_int_equal(uv_out_lost(out), 5);
    out_close(out);
    close(full);

    out = out_new(full);
    uv_out_write(out, "12345", 5);
    assert_int_equal(uv_out_error(out), EBADF);
    out_close(out);
}

/* The reader leaves while output is queued. */
static void queue_dies_with_reader(void **state)
{
    (void)state;
    int fds[2];
    int rooms = 0;
    struct uv_waiter w = {.fn = on_room, .arg = &rooms};
    assert_int_equal(pipe(fds), 0);
    struct uv_out *out = out_new(fds[1]);
    while (!uv_out_is_full(out)) {
        uv_out_write(out, "0123456789\n", 11);
    }
    uv_out_wait(out, &w);
    close(fds[0]);
    while (rooms == 0) {
        uv_run(&loop, UV_RUN_ONCE); /* the paused readers go on: their output is dropped */
    }
    assert_int_equal(uv_out_error(out), EPIPE);
    assert_true(uv_out_lost(out) > 0);
    out_close(out);
    close(fds[1]);
}

/* Read what has come and forget it, but for the end. */
static void keep_end(int fd, char *end, size_t size, size_t *len)
{
    static char block[65536];
    size_t n;
    while ((n = read_all(fd, block, sizeof(block))) > 0) {
        size_t part = n < size ? n : size;
        size_t kept = *len < size - part ? *len : size - part;
        memmove(end, end + *len - kept, kept);
        memcpy(end + kept, block + n - part, part);
        *len = kept + part;
    }
}

static void endless_queue_is_cut(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct uv_out *out = out_new(fds[1]);
    static char block[65536];
    memset(block, 'x', sizeof(block));
    uint64_t written = 0;
    while (uv_out_lost(out) == 0) {
        uv_out_write(out, block, sizeof(block));
        written += sizeof(block);
        assert_true(written < UINT64_C(1) << 30);
    }
    assert_int_equal(uv_out_total(out), written);
    char expected[64];
    snprintf(expected, sizeof(expected), "muster: warn: %zu bytes", sizeof(block));
    char end[256];
    size_t len = 0;
    while (memmem(end, len, expected, strlen(expected)) == NULL) {
        keep_end(fds[0], end, sizeof(end), &len);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(uv_out_error(out), 0);
    out_close(out);
    close(fds[0]);
    close(fds[1]);
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
        cmocka_unit_test(pipe_queues_and_resumes),     cmocka_unit_test(socket_queues_and_resumes),
        cmocka_unit_test(terminal_queues_and_resumes), cmocka_unit_test(file_is_written_at_once),
        cmocka_unit_test(failures_are_counted),        cmocka_unit_test(queue_dies_with_reader),
        cmocka_unit_test(endless_queue_is_cut),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
