/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The physical limit of a launcher: fork and exec N copies of a program, wait for all of them, do
 * nothing else.
 *
 *     bare_spawn N PROGRAM [ARG...]
 *
 * RANK is the only variable it sets. Exit status 0 if all exited with 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    if (count < 1) {
        fprintf(stderr, "usage: bare_spawn N PROGRAM [ARG...]\n");
        return 2;
    }
    for (long i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            char rank[24];
            snprintf(rank, sizeof(rank), "%ld", i);
            setenv("RANK", rank, 1);
            execv(argv[2], argv + 2);
            _exit(127);
        }
        if (pid < 0) {
            perror("bare_spawn: fork");
            return 1;
        }
    }
    int result = 0;
    int status;
    pid_t pid;
    while ((pid = wait(&status)) > 0 || errno == EINTR) {
        if (pid > 0 && status != 0) {
            result = 1;
        }
    }
    return result;
}
