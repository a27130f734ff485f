/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes of three streams in any pieces, with anybody else's writes between them, on one console
 * and through a filter.
 *
 * The first byte of a step says what happens: bits 0-1 the stream, 3: somebody else; bits 2-3 how:
 * 0 flush, else as many bytes as the next byte says, those times 64 for 3. Bytes 1 and 2 are the
 * marks below and do not come from streams.
 */
#include "launcher/line_filter.h"
#include "launcher/line_stream.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

enum { STREAMS = 3, MARK = 1, FOREIGN = 2 };

struct state {
    struct mu_buf console;
    struct line_stream streams[STREAMS];
    struct mu_buf given[STREAMS]; /* without line ends */
    struct mu_buf shown[STREAMS]; /* likewise, and without prefixes */
    int last;
};

static const char *const prefixes[STREAMS] = {"\x01"
                                              "0:",
                                              "\x01"
                                              "1:",
                                              "\x01"
                                              "2:"};

static void append_plain(struct mu_buf *b, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n' && data[i] != '\r') {
            mu_buf_append_u8(b, (uint8_t)data[i]);
        }
    }
}

static struct line_place place_of(const struct state *s, int stream)
{
    const struct mu_buf *c = &s->console;
    return (struct line_place){.is_own = s->last == stream,
                               .is_fresh = c->len == 0 || c->data[c->len - 1] == '\n'};
}

/* What a stream has just written: prefixes stand at beginnings of lines and are its own. */
static void look(struct state *s, int stream, size_t from)
{
    const struct mu_buf *c = &s->console;
    for (size_t i = from; i < c->len; i++) {
        if (c->data[i] != MARK) {
            append_plain(&s->shown[stream], (const char *)c->data + i, 1);
            continue;
        }
        MU_REQUIRE(i == 0 || c->data[i - 1] == '\n' || c->data[i - 1] == '\r');
        MU_REQUIRE(c->len - i >= 3 && memcmp(c->data + i, prefixes[stream], 3) == 0);
        i += 2;
    }
    s->last = c->len > from ? stream : s->last;
    /* In order, and nothing is missing but what is held. */
    size_t shown = s->shown[stream].len;
    struct mu_buf held = {0};
    append_plain(&held, (const char *)s->streams[stream].held.data, s->streams[stream].held.len);
    MU_REQUIRE(shown + held.len == s->given[stream].len);
    MU_REQUIRE(shown == 0 || memcmp(s->shown[stream].data, s->given[stream].data, shown) == 0);
    MU_REQUIRE(s->streams[stream].held.len < LINE_STREAM_MAX);
    mu_buf_fini(&held);
}

/* No line has text of two streams. */
static void check_lines(const struct mu_buf *c)
{
    uint8_t owner = 0;
    bool has_foreign = false;
    for (size_t i = 0; i < c->len; i++) {
        if (c->data[i] == '\n') {
            owner = 0;
            has_foreign = false;
        } else if (c->data[i] == FOREIGN) {
            has_foreign = true;
        } else if (c->data[i] == MARK) {
            MU_REQUIRE(!has_foreign);
            MU_REQUIRE(owner == 0 || owner == c->data[i + 1]);
            owner = c->data[i + 1];
        }
    }
}

/* The filter finds the same lines whatever the pieces. */
static void check_filter(const uint8_t *data, size_t len, size_t step)
{
    struct line_filter f;
    struct line_filter_stream whole = {0};
    struct line_filter_stream pieces = {0};
    struct mu_buf a = {0};
    struct mu_buf b = {0};
    line_filter_init(&f, "a,xy");
    line_filter_add(&whole, &f, "p", (const char *)data, len, &a);
    line_filter_end(&whole, &f, "p", &a);
    for (size_t at = 0; at < len; at += step) {
        size_t n = step < len - at ? step : len - at;
        line_filter_add(&pieces, &f, "p", (const char *)data + at, n, &b);
    }
    line_filter_end(&pieces, &f, "p", &b);
    MU_REQUIRE(len >= LINE_STREAM_MAX ||
               (a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0)));
    line_filter_stream_fini(&whole);
    line_filter_stream_fini(&pieces);
    line_filter_fini(&f);
    mu_buf_fini(&a);
    mu_buf_fini(&b);
}

static void write_stream(struct state *s, int stream, const uint8_t *data, size_t len, size_t times)
{
    struct mu_buf bytes = {0};
    for (size_t k = 0; k < times; k++) {
        mu_buf_append(&bytes, data, len);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] = bytes.data[i] == MARK || bytes.data[i] == FOREIGN ? '\r' : bytes.data[i];
    }
    size_t from = s->console.len;
    append_plain(&s->given[stream], (const char *)bytes.data, bytes.len);
    line_stream_add(&s->streams[stream], place_of(s, stream),
                    bytes.len > 0 ? (const char *)bytes.data : "", bytes.len, &s->console);
    look(s, stream, from);
    mu_buf_fini(&bytes);
}

static void step(struct state *s, uint8_t op, const uint8_t *data, size_t len)
{
    enum { FLUSH = 0, MANY = 3, TIMES = 64 };
    int stream = op & 3;
    int how = (op >> 2) & 3;
    if (stream == STREAMS) {
        mu_buf_append(&s->console, "\x02\n", how == FLUSH ? 2 : 1);
        s->last = -1;
    } else if (how == FLUSH) {
        size_t from = s->console.len;
        line_stream_flush(&s->streams[stream], place_of(s, stream), &s->console);
        MU_REQUIRE(!line_stream_is_holding(&s->streams[stream]));
        look(s, stream, from);
    } else {
        write_stream(s, stream, data, len, how == MANY ? TIMES : 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { CONSOLE_MAX = 1024 * 1024 };
    struct state s = {.last = -1};
    for (int i = 0; i < STREAMS; i++) {
        s.streams[i].prefix = mu_slice_of(prefixes[i]);
    }
    size_t at = 0;
    while (size - at >= 2 && s.console.len < CONSOLE_MAX) {
        uint8_t op = data[at];
        size_t len = data[at + 1];
        at += 2;
        len = len < size - at ? len : size - at;
        bool takes = (op & 3) != STREAMS && ((op >> 2) & 3) != 0;
        step(&s, op, data + at, takes ? len : 0);
        at += takes ? len : 0;
    }
    check_lines(&s.console);
    check_filter(data, size, size > 0 ? 1 + data[0] % 7 : 1);
    for (int i = 0; i < STREAMS; i++) {
        line_stream_fini(&s.streams[i]);
        mu_buf_fini(&s.given[i]);
        mu_buf_fini(&s.shown[i]);
    }
    mu_buf_fini(&s.console);
    return 0;
}
