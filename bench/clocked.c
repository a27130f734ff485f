/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a launcher and records (see record.h) when:
 *
 *     clocked PROGRAM [ARG...]
 *
 *     launch   right before fork and exec; PID is the program's
 *     end      when wait4() returned; VALUE is its exit status, 128 + n for signal n
 *
 * It stands between the driver and the launcher because starting a process takes an interpreter
 * longer than the difference that is looked for.
 */
#include "bench/record.h"

#include <errno.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: clocked PROGRAM [ARG...]\n");
        return 2;
    }
    int64_t launch = record_now();
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    if (pid < 0) {
        perror("clocked: fork");
        return 1;
    }
    record("launch", launch, pid, "-");
    int status;
    while (wait4(pid, &status, 0, NULL) < 0) {
        if (errno != EINTR) {
            perror("clocked: wait4");
            return 1;
        }
    }
    int64_t end = record_now();
    char value[16];
    snprintf(value, sizeof(value), "%d",
             WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    record("end", end, pid, value);
    return 0;
}
