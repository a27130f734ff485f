/* SPDX-License-Identifier: Apache-2.0 */
/* flood_stderr BYTES: numbered lines of 16 bytes to standard error, BYTES in all, 0: for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096 };

int main(int argc, char **argv)
{
    unsigned long long left = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    int is_endless = left == 0;
    char block[BLOCK + 1];
    unsigned line = 0;
    while (is_endless || left > 0) {
        size_t n = 0;
        while (n < BLOCK && (is_endless || left > 0)) {
            n += (size_t)snprintf(block + n, 17, "%015u\n", line++);
            left -= left < 16 ? left : 16;
        }
        for (size_t at = 0; at < n;) {
            ssize_t k = write(STDERR_FILENO, block + at, n - at);
            if (k <= 0) {
                return 1;
            }
            at += (size_t)k;
        }
    }
    return 0;
}
