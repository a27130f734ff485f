/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of the benchmark: as small as a program can be, so that the launcher is what is timed.
 *
 *     stamp
 *
 * Records (see record.h; VALUE is its RANK):
 *     start    as its first act
 *     term     when SIGTERM reaches it; then it dies of it, at once
 *     exit     right before it exits with 0, after BENCH_LIVE_MS milliseconds. 0: it waits for
 *              SIGTERM; but never longer than MAX_LIFE_MS, whatever became of the benchmark
 */
#include "bench/record.h"

#include <errno.h>
#include <signal.h>

enum { MAX_LIFE_MS = 120000 };

int main(void)
{
    int64_t start = record_now();
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    pid_t pid = getpid();
    const char *rank = record_env("RANK", "-1");
    record("start", start, pid, rank);

    long life_ms = strtol(record_env("BENCH_LIVE_MS", "0"), NULL, 10);
    life_ms = life_ms > 0 && life_ms < MAX_LIFE_MS ? life_ms : MAX_LIFE_MS;
    struct timespec life = {.tv_sec = life_ms / 1000, .tv_nsec = life_ms % 1000 * 1000000};
    int signo;
    do {
        signo = sigtimedwait(&term, NULL, &life);
    } while (signo < 0 && errno == EINTR);
    if (signo == SIGTERM) {
        record("term", record_now(), pid, rank);
        raise(SIGTERM);
        sigprocmask(SIG_UNBLOCK, &term, NULL);
    }
    record("exit", record_now(), pid, rank);
    _exit(0);
}
