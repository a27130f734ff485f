/* SPDX-License-Identifier: Apache-2.0 */
/*
 * talker FD BYTES [LINE [SEED]]: numbered lines to a descriptor, BYTES in all, in writes of any
 * size.
 *
 *     RANK NUMBER xxx...x
 *
 * RANK is the environment variable of that name; LINE the length of a line with its newline (100).
 * Blocks of 64 KB are written in one go unless there is a SEED: then writes end anywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 64 * 1024, LINE_MIN = 32, LINE_MAX = 1024 * 1024 };

static void put(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            perror("talker");
            exit(1);
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: talker FD BYTES [LINE [SEED]]\n");
        return 2;
    }
    const char *rank = getenv("RANK");
    int fd = (int)strtol(argv[1], NULL, 10);
    unsigned long long left = strtoull(argv[2], NULL, 10);
    size_t line = argc > 3 ? strtoul(argv[3], NULL, 10) : 100;
    unsigned seed = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    line = line < LINE_MIN ? LINE_MIN : line > LINE_MAX ? LINE_MAX : line;
    char *block = malloc(BLOCK + line);
    if (block == NULL) {
        return 1;
    }
    size_t held = 0;
    for (unsigned long long number = 0; left > 0; number++) {
        char *p = block + held;
        memset(p, 'x', line);
        int n = snprintf(p, line, "%s %llu ", rank != NULL ? rank : "-", number);
        p[n] = 'x';
        p[line - 1] = '\n';
        held += line;
        left -= left < line ? left : line;
        size_t want = seed == 0 ? BLOCK : 1 + (size_t)rand_r(&seed) % BLOCK;
        while (held >= want || (left == 0 && held > 0)) {
            size_t now = held < want ? held : want;
            put(fd, block, now);
            memmove(block, block + now, held - now);
            held -= now;
        }
    }
    free(block);
    return 0;
}
