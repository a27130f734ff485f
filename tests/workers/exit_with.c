/* SPDX-License-Identifier: Apache-2.0 */
/* exit_with N [TEXT]: write TEXT to standard error, exit with status N. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 2 && write(STDERR_FILENO, argv[2], strlen(argv[2])) < 0) {
        return 99;
    }
    return argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
}
