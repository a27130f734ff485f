/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/line_stream.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STREAMS = 3 };

/* A console and who wrote there last. */
struct console {
    struct mu_buf text;
    struct line_stream streams[STREAMS];
    int last; /* -1: nobody, or another program */
};

static void console_init(struct console *c)
{
    static const char *const prefixes[STREAMS] = {"[0]:", "[1]:", ""};
    *c = (struct console){.last = -1};
    for (int i = 0; i < STREAMS; i++) {
        c->streams[i].prefix = mu_slice_of(prefixes[i]);
    }
}

static struct line_place place_of(const struct console *c, int stream)
{
    return (struct line_place){.is_own = c->last == stream,
                               .is_fresh =
                                   c->text.len == 0 || c->text.data[c->text.len - 1] == '\n'};
}

static void add(struct console *c, int stream, const char *text)
{
    size_t before = c->text.len;
    line_stream_add(&c->streams[stream], place_of(c, stream), text, strlen(text), &c->text);
    c->last = c->text.len > before ? stream : c->last;
}

static void flush(struct console *c, int stream)
{
    size_t before = c->text.len;
    line_stream_flush(&c->streams[stream], place_of(c, stream), &c->text);
    c->last = c->text.len > before ? stream : c->last;
}

static void foreign(struct console *c, const char *text)
{
    mu_buf_append(&c->text, text, strlen(text));
    c->last = -1;
}

static void expect(struct console *c, const char *text)
{
    mu_buf_append_u8(&c->text, '\0');
    assert_string_equal((char *)c->text.data, text);
    mu_buf_fini(&c->text);
    for (int i = 0; i < STREAMS; i++) {
        line_stream_fini(&c->streams[i]);
    }
    console_init(c);
}

static void lines_get_a_prefix(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    add(&c, 0, "one\ntwo\n\nthr");
    add(&c, 1, "uno\n");
    add(&c, 0, "ee\n");
    add(&c, 2, "bare\n");
    expect(&c, "[0]:one\n[0]:two\n[0]:\n[1]:uno\n[0]:three\nbare\n");
    add(&c, 0, "bytes \xff\x01 stay\n");
    expect(&c, "[0]:bytes \xff\x01 stay\n");
}

static void a_held_beginning_is_shown_and_continued(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    add(&c, 0, "Loading");
    assert_int_equal(c.text.len, 0);
    assert_true(line_stream_is_holding(&c.streams[0]));
    flush(&c, 0);
    assert_false(line_stream_is_holding(&c.streams[0]));
    flush(&c, 0);
    add(&c, 0, ".");
    add(&c, 0, ".");
    assert_false(line_stream_is_holding(&c.streams[0])); /* it stands open: no need to wait */
    add(&c, 0, " done\nnext\n");
    expect(&c, "[0]:Loading.. done\n[0]:next\n");
}

static void an_open_line_is_ended_for_others(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    add(&c, 0, "Password? ");
    flush(&c, 0);
    add(&c, 1, "uno\n");
    add(&c, 0, "rest\nmore\n");
    expect(&c, "[0]:Password? \n[1]:uno\n[0]:rest\n[0]:more\n");

    /* Its own end comes too late, and is not needed. */
    add(&c, 0, "open");
    flush(&c, 0);
    add(&c, 1, "uno\n");
    add(&c, 0, "\nmore\n");
    expect(&c, "[0]:open\n[1]:uno\n[0]:more\n");

    /* Another program's half line. */
    foreign(&c, "warning: ...");
    add(&c, 0, "line\n");
    foreign(&c, "x\n");
    add(&c, 0, "line\n");
    expect(&c, "warning: ...\n[0]:line\nx\n[0]:line\n");
}

static void progress_bars_redraw(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    add(&c, 0, "10%\r");
    add(&c, 0, "20%\r");
    add(&c, 0, "30%\ndone\n");
    expect(&c, "[0]:10%\r[0]:20%\r[0]:30%\n[0]:done\n");

    /* As tqdm does it: first the return, then the bar. */
    add(&c, 0, "\r10%");
    flush(&c, 0);
    add(&c, 0, "\r20%");
    flush(&c, 0);
    add(&c, 0, "\n");
    expect(&c, "[0]:10%\r[0]:20%\n");

    add(&c, 0, "one\n\r");
    add(&c, 1, "uno\n\r\r");
    add(&c, 0, "\rtwo\n");
    expect(&c, "[0]:one\n[1]:uno\n[0]:two\n");

    /* Two of them take turns: each bar gets a line of its own. */
    add(&c, 0, "10%\r");
    add(&c, 1, "11%\r");
    add(&c, 0, "20%\r");
    add(&c, 0, "30%\r");
    expect(&c, "[0]:10%\r\n[1]:11%\r\n[0]:20%\r[0]:30%\r");
}

static void return_and_newline_are_one_end(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    add(&c, 0, "one\r\ntwo\r\n");
    expect(&c, "[0]:one\r\n[0]:two\r\n");
    add(&c, 0, "one\r");
    add(&c, 0, "\ntwo\r");
    add(&c, 1, "uno\n");
    add(&c, 0, "\nthree\n");
    expect(&c, "[0]:one\r\n[0]:two\r\n[1]:uno\n[0]:three\n");
    add(&c, 0, "a\r");
    add(&c, 0, "\r");
    add(&c, 0, "\n");
    expect(&c, "[0]:a\r\n");
    add(&c, 0, "a\r\r\n\n");
    expect(&c, "[0]:a\r[0]:\r\n[0]:\n");
}

static void long_lines_come_in_pieces(void **state)
{
    (void)state;
    struct console c;
    console_init(&c);
    char piece[1001];
    memset(piece, 'x', 1000);
    piece[1000] = '\0';
    size_t added = 0;
    while (c.text.len == 0) {
        add(&c, 0, piece);
        added += 1000;
        assert_true(c.streams[0].held.len < LINE_STREAM_MAX);
        assert_true(added < 2 * (size_t)LINE_STREAM_MAX);
    }
    assert_true(added >= LINE_STREAM_MAX);
    add(&c, 0, "end\n");
    assert_int_equal(c.text.len, 4 + added + 4);
    assert_memory_equal(c.text.data, "[0]:xxxx", 8);
    assert_memory_equal(c.text.data + c.text.len - 5, "xend\n", 5);
    assert_int_equal(c.streams[0].held.cap, 0); /* nothing large is kept */
    foreign(&c, "");
    mu_buf_fini(&c.text);
    line_stream_fini(&c.streams[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_get_a_prefix),
        cmocka_unit_test(a_held_beginning_is_shown_and_continued),
        cmocka_unit_test(an_open_line_is_ended_for_others),
        cmocka_unit_test(progress_bars_redraw),
        cmocka_unit_test(return_and_newline_are_one_end),
        cmocka_unit_test(long_lines_come_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
