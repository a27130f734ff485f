/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader at the end of the pipe: what came from chatters, and when.
 *
 *     listener FILE
 *
 * reads standard input to its end and writes one line to FILE: bytes, nanoseconds from the first
 * byte to the last, lines that said when they were written, and the median, the 99th percentile and
 * the largest of their delays in nanoseconds.
 */
#include "bench/record.h"

enum { MAX_DELAYS = 4 * 1024 * 1024, BUFFER = 1024 * 1024 };

static int64_t *delays;
static size_t count;

static int compare(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Delays of the whole lines in data; returns how many bytes those were. */
static size_t take_lines(const char *data, size_t len, int64_t now)
{
    size_t used = 0;
    const char *end;
    while ((end = memchr(data + used, '\n', len - used)) != NULL) {
        const char *at = memchr(data + used, '@', (size_t)(end - data) - used);
        if (at != NULL && count < MAX_DELAYS) {
            delays[count++] = now - strtoll(at + 1, NULL, 10);
        }
        used = (size_t)(end - data) + 1;
    }
    return used;
}

int main(int argc, char **argv)
{
    static char buffer[BUFFER];
    size_t held = 0;
    int64_t first = 0;
    int64_t last = 0;
    unsigned long long bytes = 0;
    delays = malloc(MAX_DELAYS * sizeof(*delays));
    if (argc != 2 || delays == NULL) {
        fprintf(stderr, "usage: listener FILE\n");
        return 2;
    }
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer + held, sizeof(buffer) - held);
        if (n <= 0) {
            break;
        }
        last = record_now();
        first = first != 0 ? first : last;
        bytes += (unsigned long long)n;
        held += (size_t)n;
        size_t used = take_lines(buffer, held, last);
        used = used > 0 || held < sizeof(buffer) ? used : held;
        memmove(buffer, buffer + used, held - used);
        held -= used;
    }
    qsort(delays, count, sizeof(*delays), compare);
    FILE *f = fopen(argv[1], "we");
    if (f == NULL) {
        perror(argv[1]);
        return 1;
    }
    fprintf(f, "%llu %" PRId64 " %zu %" PRId64 " %" PRId64 " %" PRId64 "\n", bytes, last - first,
            count, count > 0 ? delays[count / 2] : 0, count > 0 ? delays[count * 99 / 100] : 0,
            count > 0 ? delays[count - 1] : 0);
    free(delays);
    return fclose(f) == 0 ? 0 : 1;
}
