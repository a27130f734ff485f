/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_tree FILE: make a child, a child in a session of its own with a child in turn, and a
 * daemon (forked twice, parent gone). Their pids and its own are written to FILE, one a line, then
 * "ready" to standard error. All ignore SIGTERM but for the one with its own session, which exits.
 * Stays for ever; SIGUSR1 makes it exit 0 and leave the others behind.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int file = -1;

static void on_usr1(int signo)
{
    (void)signo;
    _exit(0);
}

static void tell_pid(void)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "%d\n", (int)getpid());
    if (write(file, line, (size_t)n) != n) {
        _exit(99);
    }
}

static void stay(int done_fd)
{
    tell_pid();
    close(done_fd);
    for (;;) {
        pause();
    }
}

static void stay_in_own_session(int done_fd)
{
    setsid();
    if (fork() == 0) {
        stay(done_fd);
    }
    signal(SIGTERM, SIG_DFL);
    stay(done_fd);
}

int main(int argc, char **argv)
{
    int done[2];
    char c;
    if (argc < 2 || pipe(done) != 0 ||
        (file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0) {
        return 99;
    }
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0) {
        stay(done[1]);
    }
    if (fork() == 0) {
        stay_in_own_session(done[1]);
    }
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        if (fork() == 0) {
            stay(done[1]);
        }
        _exit(0);
    }
    waitpid(middle, NULL, 0);
    signal(SIGUSR1, on_usr1);
    tell_pid();
    close(done[1]);
    if (read(done[0], &c, 1) != 0 || write(STDERR_FILENO, "ready\n", 6) != 6) {
        return 99;
    }
    for (;;) {
        pause();
    }
}
