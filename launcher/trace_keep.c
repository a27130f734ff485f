/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/trace_keep.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LEAD = 256 }; /* of what came before the traceback: whose it is, if not the main thread's */

static const char words[] = "Traceback (most recent call last)";
enum { WORDS = sizeof(words) - 1 };

/* As memmem(), but as fast as memchr() on what hardly ever has a T: every byte passes here. */
static const char *find(const char *data, const char *end)
{
    while (end - data >= WORDS) {
        const char *at = memchr(data, words[0], (size_t)(end - data) - (WORDS - 1));
        if (at == NULL || memcmp(at, words, WORDS) == 0) {
            return at;
        }
        data = at + 1;
    }
    return NULL;
}

void trace_keep_fini(struct trace_keep *k)
{
    free(k->data);
    *k = (struct trace_keep){0};
}

/* A traceback begins at this place of the stream, which `before` or a later piece has. */
static void begin(struct trace_keep *k, const struct tail_ring *before, uint64_t at)
{
    if (k->len > 0 && at < k->start + MU_STDERR_TRACE / 2) {
        return; /* most of it will be kept anyway */
    }
    k->data = k->data != NULL ? k->data : mu_alloc(MU_STDERR_TRACE);
    uint64_t oldest = before->total - before->len;
    k->start = at > LEAD ? at - LEAD : 0;
    k->start = k->start > oldest ? k->start : oldest;
    k->len = 0;
    if (k->start < before->total) {
        k->len = tail_ring_copy(before, k->data, (size_t)(before->total - k->start));
    }
}

/* What of the bytes at `from` of the stream belongs to what is kept. */
static void fill(struct trace_keep *k, uint64_t from, const char *data, size_t len)
{
    uint64_t next = k->start + k->len;
    if (k->data == NULL || k->len == MU_STDERR_TRACE || next < from || next >= from + len) {
        return;
    }
    size_t skip = (size_t)(next - from);
    size_t room = MU_STDERR_TRACE - k->len;
    size_t n = len - skip < room ? len - skip : room;
    memcpy(k->data + k->len, data + skip, n);
    k->len += n;
}

void trace_keep_add(struct trace_keep *k, const struct tail_ring *before, const char *data,
                    size_t len)
{
    /* Across the seam first: the end of what came before, and the beginning of this. */
    char seam[2 * (WORDS - 1)];
    size_t old = tail_ring_copy(before, seam, WORDS - 1);
    size_t new = len < WORDS - 1 ? len : WORDS - 1;
    memcpy(seam + old, data, new);
    const char *hit = find(seam, seam + old + new);
    if (hit != NULL) {
        begin(k, before, before->total - old + (uint64_t)(hit - seam));
    }
    fill(k, before->total, data, len);
    const char *end = data + len;
    const char *from = data;
    while ((hit = find(from, end)) != NULL) {
        begin(k, before, before->total + (uint64_t)(hit - data));
        fill(k, before->total, data, len);
        from = hit + WORDS;
    }
}

size_t trace_keep_copy(const struct trace_keep *k, const struct tail_ring *tail, char *buf)
{
    uint64_t oldest = tail->total - tail->len;
    if (k->len == 0 || k->start >= oldest) {
        return 0;
    }
    uint64_t missing = oldest - k->start;
    size_t n = missing < k->len ? (size_t)missing : k->len;
    memcpy(buf, k->data, n);
    if (missing > k->len) {
        buf[n++] = '\n';
    }
    return n;
}
