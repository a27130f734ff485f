/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a connection is: the kernel's table on paper, then this very process's own sockets.
 */
#include "launcher/proc_owner.h"
#include "muster/mem.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint64_t inode;
    } lines[] = {
        {"   0: 0100007F:9C40 0100007F:7374 01 00000000:00000000 02:00000A3C 00000000  1000        "
         "0 "
         "48213 2 0000000000000000 20 4 30 10 -1",
         48213},
        {"1234: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:7374 01 "
         "00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000",
         99},
        /* the server's end, another client, a listener, one that nobody holds any more, no line */
        {"   1: 0100007F:7374 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 0 0 5 1", 0},
        {"   2: 0100007F:9C41 0100007F:7374 01 00000000:00000000 00:00000000 00000000 0 0 5 1", 0},
        {"   3: 0100007F:9C40 0100007F:7374 0A 00000000:00000000 00:00000000 00000000 0 0 5 1", 0},
        {"   4: 0100007F:9C40 0100007F:7374 06 00000000:00000000 03:00001770 00000000 0 0 0 3", 0},
        {"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid", 0},
        {"", 0},
    };
    for (size_t i = 0; i < MU_COUNT(lines); i++) {
        assert_int_equal(proc_owner_parse_socket(lines[i].line, 40000, 29556), lines[i].inode);
    }
}

static void test_listeners(void **state)
{
    (void)state;
    static const char tail[] =
        ":9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 7 1";
    static const char other[] = "3: 0100007F:9C41 00000000:0000 0A 0:0 00:0 0 0 0 7 1";
    static const char connected[] = "3: 0100007F:9C40 0100007F:7374 01 0:0 00:0 0 0 0 7 1";
    char line[256];
    snprintf(line, sizeof(line), "3: 0100007F%s", tail);
    assert_int_equal(proc_owner_parse_listener(line, 40000), 7);
    snprintf(line, sizeof(line), "3: 00000000000000000000000000000000%s", tail);
    assert_int_equal(proc_owner_parse_listener(line, 40000), 7);
    assert_int_equal(proc_owner_parse_listener(other, 40000), 0);
    assert_int_equal(proc_owner_parse_listener(connected, 40000), 0);
    assert_int_equal(proc_owner_parse_listener("", 40000), 0);
}

static uint16_t port_of(int fd, bool is_local)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int rc = is_local ? getsockname(fd, (struct sockaddr *)&a, &len)
                      : getpeername(fd, (struct sockaddr *)&a, &len);
    assert_int_equal(rc, 0);
    return ntohs(a.sin_port);
}

static int listen_here(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? fd : -1;
}

/* A child that connects, says from which port, and waits to be killed; `forks` generations down. */
static pid_t start_client(uint16_t server, int forks, uint16_t *ret_port, pid_t *ret_pid)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < forks; i++) {
            if (fork() != 0) {
                pause();
            }
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = connect_to(server);
        struct {
            pid_t pid;
            uint16_t port;
        } self = {.pid = getpid(), .port = port_of(fd, true)};
        ssize_t n = write(pipe_fds[1], &self, sizeof(self));
        (void)n;
        for (;;) {
            pause();
        }
    }
    struct {
        pid_t pid;
        uint16_t port;
    } told;
    assert_int_equal(read(pipe_fds[0], &told, sizeof(told)), sizeof(told));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    *ret_port = told.port;
    *ret_pid = told.pid;
    return child;
}

/* `host`: of the kernel's one answer; anything else, and the tables are read. */
static enum ctl_owned_answer find(pid_t root, pid_t pid, const char *host, uint16_t local_port,
                                  uint16_t remote_port)
{
    struct proc_owner_socket wanted = {.local_host = host,
                                       .remote_host = host,
                                       .local_port = local_port,
                                       .remote_port = remote_port};
    return proc_owner_find(root, pid, &wanted);
}

static void test_sockets_of_a_tree(void **state)
{
    (void)state;
    int server = listen_here();
    uint16_t port = port_of(server, true);
    uint16_t theirs;
    pid_t deep;
    pid_t root = start_client(port, 2, &theirs, &deep);
    assert_true(root != deep);
    int mine = connect_to(port);
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "::1", "?"};
    for (size_t i = 0; i < MU_COUNT(hosts); i++) {
        const char *h = hosts[i];
        /* by its pid, without it, and by a wrong one: a pid namespace of its own */
        assert_int_equal(find(root, deep, h, theirs, port), CTL_OWNED_SOCKET);
        assert_int_equal(find(root, 0, h, theirs, port), CTL_OWNED_SOCKET);
        assert_int_equal(find(root, 1, h, theirs, port), CTL_OWNED_SOCKET);
        /* a connection of ours is not theirs, even if it bears the pid of one of them */
        assert_int_equal(find(root, getpid(), h, port_of(mine, true), port), CTL_OWNED_NO);
        assert_int_equal(find(root, deep, h, port_of(mine, true), port), CTL_OWNED_NO);
        /* no such connection here: the pid is all there is */
        assert_int_equal(find(root, deep, h, port_of(mine, true), 1), CTL_OWNED_PID);
        assert_int_equal(find(root, getpid(), h, port_of(mine, true), 1), CTL_OWNED_UNSEEN);
        assert_int_equal(find(root, 0, h, port_of(mine, true), 1), CTL_OWNED_UNSEEN);
        /* the listener is no connection */
        assert_int_equal(find(root, 0, h, port, 1), CTL_OWNED_UNSEEN);
    }
    kill(root, SIGKILL);
    waitpid(root, NULL, 0);
    close(mine);
    close(server);
}

static void test_the_kernel_tells(void **state)
{
    (void)state;
    int server = listen_here();
    int mine = connect_to(port_of(server, true));
    struct proc_owner_socket wanted = {.local_host = "127.0.0.1",
                                       .remote_host = "127.0.0.1",
                                       .local_port = port_of(mine, true),
                                       .remote_port = port_of(server, true)};
    uint64_t inode = proc_owner_ask_socket(&wanted);
    struct stat st;
    assert_int_equal(fstat(mine, &st), 0);
    if (inode == 0) {
        skip(); /* a kernel without tcp_diag */
    }
    assert_int_equal(inode, st.st_ino);
    wanted.local_port = wanted.remote_port;
    assert_int_equal(proc_owner_ask_socket(&wanted), 0);
    wanted.remote_host = "::1";
    assert_int_equal(proc_owner_ask_socket(&wanted), 0);
    close(mine);
    close(server);
}

static void test_who_listens(void **state)
{
    (void)state;
    int fd = listen_here();
    uint16_t port = port_of(fd, true);
    char text[128];
    char want[32];
    snprintf(want, sizeof(want), "pid %d, `", (int)getpid());
    assert_true(proc_owner_listener(port, text, sizeof(text)));
    assert_memory_equal(text, want, strlen(want));
    assert_non_null(strstr(text, "test_proc_owner"));
    close(fd);
    assert_false(proc_owner_listener(port, text, sizeof(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_who_listens),
        cmocka_unit_test(test_sockets_of_a_tree),
        cmocka_unit_test(test_the_kernel_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
