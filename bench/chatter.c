/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that writes lines of 100 bytes.
 *
 *     chatter flood FD BYTES           BYTES in all, in blocks of 64 KB, as fast as it can
 *     chatter lines FD COUNT PAUSE     COUNT lines, PAUSE microseconds apart; each says when it was
 *                                      written: "@NANOSECONDS " of CLOCK_MONOTONIC
 */
#include "bench/record.h"

#include <errno.h>

enum { LINE = 100, LINES = 655 };

static void put(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            _exit(1);
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

static void flood(int fd, long long bytes)
{
    static char block[LINE * LINES];
    memset(block, 'x', sizeof(block));
    for (size_t i = LINE - 1; i < sizeof(block); i += LINE) {
        block[i] = '\n';
    }
    for (; bytes > 0; bytes -= (long long)sizeof(block)) {
        put(fd, block, bytes < (long long)sizeof(block) ? (size_t)bytes : sizeof(block));
    }
}

static void write_lines(int fd, long long count, long long pause_us)
{
    int64_t next = record_now();
    for (long long i = 0; i < count; i++) {
        next += pause_us * 1000;
        struct timespec until = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        char line[LINE + 1];
        memset(line, 'x', LINE);
        int n = snprintf(line, sizeof(line), "@%" PRId64 " ", record_now());
        line[n] = 'x';
        line[LINE - 1] = '\n';
        put(fd, line, LINE);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "flood") == 0) {
        flood((int)strtol(argv[2], NULL, 10), strtoll(argv[3], NULL, 10));
    } else if (argc == 5 && strcmp(argv[1], "lines") == 0) {
        write_lines((int)strtol(argv[2], NULL, 10), strtoll(argv[3], NULL, 10),
                    strtoll(argv[4], NULL, 10));
    } else {
        fprintf(stderr, "usage: chatter flood FD BYTES | lines FD COUNT PAUSE\n");
        return 2;
    }
    return 0;
}
