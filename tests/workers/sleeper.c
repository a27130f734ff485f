/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sleeper [check|stop|count|root]: say "ready", stay for ever; SIGTERM exits 15, SIGUSR1 exits 10.
 * check: exit 90 if signals are blocked or ignored, 91 if any descriptor above 2 is open, 92 if it
 * does not lead its session. stop: then stop itself. count: make a child and, in a session
 * of their own, two more; all four write "T" for every SIGTERM instead of exiting. root: become
 * root for good (installed set-user-ID), so that the user who started it cannot kill it; its pid
 * goes to standard error before "ready".
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void on_term(int signo)
{
    _exit(signo);
}

static int check_inheritance(void)
{
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        struct sigaction action;
        if (sigaction(signo, NULL, &action) == 0 &&
            (action.sa_handler != SIG_DFL || sigismember(&set, signo) == 1)) {
            return 90;
        }
    }
    for (int fd = 3; fd < 256; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            return 91;
        }
    }
    return getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 92;
}

static void on_counted_term(int signo)
{
    if (write(STDERR_FILENO, "T", 1) != 1) {
        _exit(signo);
    }
}

static void stay(int done_fd)
{
    close(done_fd);
    for (;;) {
        pause();
    }
}

static void make_counting_tree(void)
{
    int done[2];
    char c;
    signal(SIGTERM, on_counted_term);
    if (pipe(done) != 0) {
        _exit(99);
    }
    if (fork() == 0) {
        stay(done[1]);
    }
    if (fork() == 0) {
        setsid();
        fork();
        stay(done[1]);
    }
    close(done[1]);
    if (read(done[0], &c, 1) != 0) {
        _exit(99);
    }
}

int main(int argc, char **argv)
{
    static const char text[] = "ready\n";
    int bad = argc > 1 && strcmp(argv[1], "check") == 0 ? check_inheritance() : 0;
    if (bad != 0) {
        return bad;
    }
    if (argc > 1 && strcmp(argv[1], "root") == 0) {
        char line[32];
        int n = snprintf(line, sizeof(line), "%d\n", (int)getpid());
        if (setresuid(0, 0, 0) != 0 || write(STDERR_FILENO, line, (size_t)n) != n) {
            return 99;
        }
    }
    signal(SIGTERM, on_term);
    signal(SIGUSR1, on_term);
    if (argc > 1 && strcmp(argv[1], "count") == 0) {
        make_counting_tree();
    }
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        return 99;
    }
    if (argc > 1 && strcmp(argv[1], "stop") == 0) {
        raise(SIGSTOP);
    }
    for (;;) {
        pause();
    }
}
