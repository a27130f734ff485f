/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of the end-to-end tests. It writes what it was given to the directory E2E_DIR and then
 * does what that directory tells it.
 *
 *     e2e_worker [--grandchild] [--ignore-term] [--stderr TEXT] [ARG...]
 *
 * Written, complete when they appear (TURN is 0 for the first worker of a rank, 1 for the one after
 * a restart, and so on, whatever muster counts):
 *     TURN.RANK.env          "pid=...", "ppid=...", "argv=..." lines, then the environment
 *     TURN.RANK.child        pid of the grandchild (in a session of its own), with --grandchild
 *     TURN.RANK.signal       one line per SIGTERM, SIGINT, SIGUSR1 or SIGUSR2 received
 * Read:
 *     go                     exit 0
 *     exit.TURN.RANK         exit with the status written in it
 *     segv.TURN.RANK         die of SIGSEGV
 *
 * The grandchild ignores SIGTERM and SIGHUP and runs for ever. SIGTERM and SIGINT end the worker as
 * they end any program, after the line in the .signal file, unless --ignore-term.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *dir;
static char turn[24];
static const char *rank;
static bool ignore_term;
static int signal_fd = -1;

static const char *env_or(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value != NULL ? value : fallback;
}

static void die(const char *what)
{
    fprintf(stderr, "e2e_worker: %s: %s\n", what, strerror(errno));
    exit(99);
}

static void path_of(char *path, size_t size, const char *suffix)
{
    if (snprintf(path, size, "%s/%s.%s.%s", dir, turn, rank, suffix) >= (int)size) {
        errno = ENAMETOOLONG;
        die(dir);
    }
}

/* One byte more in count.RANK for each worker of this rank. */
static void take_turn(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/count.%s", dir, rank);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    struct stat st;
    if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) != 0) {
        die(path);
    }
    close(fd);
    snprintf(turn, sizeof(turn), "%lld", (long long)st.st_size - 1);
}

static void write_env(int argc, char **argv)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    path_of(path, sizeof(path), "env");
    path_of(temporary, sizeof(temporary), "env-part");
    FILE *f = fopen(temporary, "w");
    if (f == NULL) {
        die(temporary);
    }
    fprintf(f, "pid=%d\nppid=%d\n", (int)getpid(), (int)getppid());
    for (int i = 1; i < argc; i++) {
        fprintf(f, "argv=%s\n", argv[i]);
    }
    for (char **e = environ; *e != NULL; e++) {
        fprintf(f, "%s\n", *e);
    }
    if (fclose(f) != 0 || rename(temporary, path) != 0) {
        die(path);
    }
}

/* Async-signal-safe: one write, then the signal's own effect. */
static void on_signal(int signo)
{
    char line[] = "00\n";
    line[0] = (char)('0' + signo / 10);
    line[1] = (char)('0' + signo % 10);
    int saved = errno;
    if (write(signal_fd, line, sizeof(line) - 1) < 0) {
        _exit(98);
    }
    errno = saved;
    if ((signo == SIGTERM || signo == SIGINT) && !ignore_term) {
        signal(signo, SIG_DFL);
        raise(signo);
    }
}

static void watch_signals(void)
{
    char path[PATH_MAX];
    path_of(path, sizeof(path), "signal");
    signal_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (signal_fd < 0) {
        die(path);
    }
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction action = {.sa_handler = on_signal};
        if (sigaction(signals[i], &action, NULL) != 0) {
            die("sigaction");
        }
    }
}

/* A process in a session of its own: no signal to the worker's group or session reaches it. */
static void make_grandchild(void)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    path_of(path, sizeof(path), "child");
    path_of(temporary, sizeof(temporary), "child-part");
    pid_t pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid > 0) {
        return;
    }
    if (setsid() < 0) {
        die("setsid");
    }
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    FILE *f = fopen(temporary, "w");
    if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0 ||
        rename(temporary, path) != 0) {
        die(path);
    }
    for (;;) {
        pause();
    }
}

static bool is_told(const char *what)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, what);
    return access(path, F_OK) == 0;
}

/* The file WHAT.TURN.RANK: -1 if there is none, else the number in it (0 if empty). */
static int told_number(const char *what)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s.%s.%s", dir, what, turn, rank);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return -1;
    }
    char text[16] = "";
    bool has_text = fgets(text, sizeof(text), f) != NULL;
    fclose(f);
    return has_text ? (int)strtol(text, NULL, 10) : 0;
}

static void obey(void)
{
    for (;;) {
        if (is_told("go")) {
            exit(0);
        }
        int status = told_number("exit");
        if (status >= 0) {
            exit(status);
        }
        if (told_number("segv") >= 0) {
            struct rlimit no_core = {0};
            setrlimit(RLIMIT_CORE, &no_core);
            signal(SIGSEGV, SIG_DFL); /* a sanitizer would catch it */
            raise(SIGSEGV);
        }
        struct timespec pause_time = {.tv_nsec = 20L * 1000 * 1000};
        nanosleep(&pause_time, NULL);
    }
}

int main(int argc, char **argv)
{
    dir = env_or("E2E_DIR", NULL);
    rank = env_or("RANK", "none");
    if (dir == NULL) {
        fprintf(stderr, "e2e_worker: E2E_DIR is not set\n");
        return 99;
    }
    take_turn();
    bool wants_grandchild = false;
    for (int i = 1; i < argc; i++) {
        wants_grandchild = wants_grandchild || strcmp(argv[i], "--grandchild") == 0;
        ignore_term = ignore_term || strcmp(argv[i], "--ignore-term") == 0;
        if (strcmp(argv[i], "--stderr") == 0 && i + 1 < argc) {
            fprintf(stderr, "%s rank=%s\n", argv[i + 1], rank);
        }
    }
    watch_signals();
    if (wants_grandchild) {
        make_grandchild();
    }
    write_env(argc, argv);
    obey();
}
