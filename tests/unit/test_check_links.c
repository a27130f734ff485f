/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what nodes found of each other to sentences. A case draws who dials (lines) and who is
 * dialed (columns): '.' fast, 's' 200 ms, 'x' no answer, 'r' refused, 'u' no route, 'e' reset,
 * '-' not tried. Node k is called "n<k>".
 */
#include "launcher/check_links.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_NODES = 80, FAST_US = 80, SLOW_US = 200000 };

struct picture {
    struct check_links links;
    char names[MAX_NODES][8];
};

static void picture_init(struct picture *p, size_t count)
{
    check_links_init(&p->links, count);
    p->links.door = "10.0.0.1:29500";
    for (size_t i = 0; i < count; i++) {
        snprintf(p->names[i], sizeof(p->names[i]), "n%zu", i);
        p->links.nodes[i] = (struct check_links_node){.name = p->names[i],
                                                      .address = "10.0.0.9",
                                                      .has_reported = true,
                                                      .door = CHECK_LINK_OK};
        for (size_t k = 0; k < count; k++) {
            if (i != k) {
                *check_links_at(&p->links, i, k) =
                    (struct check_link){.state = CHECK_LINK_OK, .rtt_us = FAST_US};
            }
        }
    }
}

static void draw(struct picture *p, const char *lines)
{
    static const char states[] = "-.ruxe";
    static const enum check_link_state meant[] = {CHECK_LINK_UNTRIED, CHECK_LINK_OK,
                                                  CHECK_LINK_REFUSED, CHECK_LINK_NO_ROUTE,
                                                  CHECK_LINK_SILENT,  CHECK_LINK_RESET};
    size_t count = strcspn(lines, " ");
    picture_init(p, count);
    for (size_t i = 0; i < count * count; i++) {
        char c = lines[i / count * (count + 1) + i % count];
        struct check_link *link = &p->links.links[i];
        const char *at = strchr(states, c == 's' ? '.' : c);
        assert_non_null(at);
        link->state = i / count == i % count ? CHECK_LINK_UNTRIED : meant[at - states];
        link->rtt_us = c == 's' ? SLOW_US : FAST_US;
    }
}

/* "severity node what: found" of all, a line each. */
static char *told(const struct check_findings *list)
{
    struct mu_buf out = {0};
    for (size_t i = 0; i < list->count; i++) {
        const struct check_finding *f = &list->items[i];
        mu_buf_printf(&out, "%s %s %s: %s\n", f->severity == CHECK_ERROR ? "E" : "W",
                      f->node != NULL ? f->node : "*", f->what, f->found);
    }
    return mu_buf_take_text(&out);
}

/* Everything of the picture, which is freed. */
static char *judge(struct picture *p)
{
    struct check_findings list = {0};
    check_reach_judge(&p->links, &list);
    check_pace_judge(&p->links, &list);
    char *text = told(&list);
    check_findings_fini(&list);
    check_links_fini(&p->links);
    return text;
}

static const struct {
    const char *label;
    const char *lines;
    const char *expected;
} cases[] = {
    {"healthy", ".... .... .... ....", ""},
    {"a node alone", ".", ""},
    {"a node that nobody reaches", "...x ...x ...x ....",
     "E n3 reach: no other node can connect to it at 10.0.0.9: no answer (what it connects to "
     "itself answers)\n"},
    {"one that rejects", "...r ...r ...r ....",
     "E n3 reach: no other node can connect to it at 10.0.0.9: refused (what it connects to itself "
     "answers)\n"},
    {"a node that reaches nobody", ".... xxxx .... ....",
     "E n1 reach: it can connect to no other node: no answer (others connect to it)\n"},
    {"a node cut off in both directions", "..u. ..u. uuuu ..u.",
     "E n2 reach: it and the other nodes cannot connect to each other, at 10.0.0.9: no route\n"},
    {"two of three that let nobody in", ".xx ..x .x.",
     "E n1 reach: no other node can connect to it at 10.0.0.9: no answer (what it connects to "
     "itself answers)\n"
     "E n2 reach: no other node can connect to it at 10.0.0.9: no answer (what it connects to "
     "itself answers)\n"},
    {"nobody lets anybody in", ".xx x.x xx.",
     "E * reach: no node can connect to any other, but for the coordinator's port: no answer\n"},
    {"one pair, both ways", "..x. .... x... ....",
     "E n0 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"
     "E n2 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"},
    {"two pairs, both ways", ".x.. x... ...r ..r.",
     "E n0 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"
     "E n1 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"
     "E n2 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: refused\n"
     "E n3 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: refused\n"},
    {"one pair, one way", "..e. .... .... ....",
     "E n2 reach: n0 cannot connect to it at 10.0.0.9: reset (the other way works)\n"},
    {"several, but not all", "....x ....x ....x ..... .....",
     "E n4 reach: n0, n1 and n2 cannot connect to it at 10.0.0.9: no answer (the other way "
     "works)\n"},
    {"two nodes, one way", ".x ..",
     "E n1 reach: n0 cannot connect to it at 10.0.0.9: no answer (the other way works)\n"},
    {"two nodes", ".x x.",
     "E n0 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"
     "E n1 reach: they cannot connect to each other, at 10.0.0.9 and 10.0.0.9: no answer\n"},
    {"what was not tried says nothing", "...x ...- .... ....",
     "E n3 reach: n0 cannot connect to it at 10.0.0.9: no answer (the other way works)\n"},
    {"a slow node", "...s ...s ...s ssss",
     "W n3 delay: a round trip between it and every other node takes 200 ms, 0.08 ms between the "
     "others\n"},
    {"slow in one direction only is a busy machine", "...s ...s ...s ....", ""},
    {"a slow pair", ".s.. s... .... ....",
     "W n0 delay: a round trip between it and n1 takes 200 ms, 0.08 ms between the others\n"},
    {"two slow nodes of five", "...ss ...ss ...ss sssss sssss",
     "W n3 delay: a round trip between it and every other node takes 200 ms, 0.08 ms between the "
     "others\n"
     "W n4 delay: a round trip between it and every other node takes 200 ms, 0.08 ms between the "
     "others\n"},
    {"all slow", ".ss s.s ss.", "W * delay: a round trip between any two nodes takes 200 ms\n"},
    {"two nodes, slow", ".s s.", "W n0 delay: a round trip between it and n1 takes 200 ms\n"},
    {"slow, and nobody gets in", "...x ...x ...x sss.",
     "E n3 reach: no other node can connect to it at 10.0.0.9: no answer (what it connects to "
     "itself answers)\n"
     "W n3 delay: a round trip between it and every other node takes 200 ms, 0.08 ms between the "
     "others\n"},
};

static void test_pictures(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct picture p;
        draw(&p, cases[i].lines);
        char *text = judge(&p);
        if (strcmp(text, cases[i].expected) != 0) {
            fail_msg("%s:\n%s", cases[i].label, text);
        }
        free(text);
    }
}

static void expect_told(struct picture *p, const char *expected)
{
    char *text = judge(p);
    assert_string_equal(text, expected);
    free(text);
}

static void test_door(void **state)
{
    (void)state;
    struct picture p;
    draw(&p, "... ... ...");
    p.links.nodes[2].door = CHECK_LINK_SILENT;
    expect_told(&p, "E n2 coordinator: it cannot connect to the coordinator's port, "
                    "10.0.0.1:29500: no answer\n");
}

static void test_loopback_address(void **state)
{
    (void)state;
    struct picture p;
    struct check_findings list = {0};
    draw(&p, "..r ..r ...");
    p.links.nodes[2].address = "127.0.1.1";
    check_reach_judge(&p.links, &list);
    assert_int_equal(list.count, 1);
    assert_non_null(strstr(list.items[0].fix, "/etc/hosts"));
    check_findings_fini(&list);
    check_links_fini(&p.links);
}

/* Every node's clock, in seconds; links see differences, half a round trip wrong. */
static void set_clocks(struct picture *p, const double *seconds)
{
    for (size_t from = 0; from < p->links.count; from++) {
        for (size_t to = 0; to < p->links.count; to++) {
            struct check_link *k = check_links_at(&p->links, from, to);
            k->clock_us = (int64_t)((seconds[to] - seconds[from]) * 1e6) + k->rtt_us / 2;
        }
    }
}

static void test_clocks(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        double seconds[4];
        const char *expected;
    } table[] = {
        {".... .... .... ....", {5, 5.3, 4.9, 5}, ""},
        {".... .... .... ....",
         {0, 0, 3600, 0},
         "E n2 clock: its clock is 60 min 0 s ahead of most others\n"},
        {".... .... .... ....",
         {-86400, 0, 0.2, 0.1},
         "E n0 clock: its clock is 24 h 0 min behind most others\n"},
        {".... .... .... ....",
         {0, 2.5, 0, 0},
         "W n1 clock: its clock is 2.5 s ahead of most others\n"},
        {".. ..", {0, -90}, "W n1 clock: its clock is 90.0 s behind that of n0\n"},
        {".x.. .... .... ....",
         {0, -90, 0, 0},
         "E n1 reach: n0 cannot connect to it at 10.0.0.9: no answer (the other way works)\n"
         "W n1 clock: its clock is 90.0 s behind most others\n"},
    };
    for (size_t i = 0; i < MU_COUNT(table); i++) {
        struct picture p;
        draw(&p, table[i].lines);
        set_clocks(&p, table[i].seconds);
        expect_told(&p, table[i].expected);
    }
}

static void test_a_long_way_is_no_wrong_clock(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p, 3);
    for (size_t i = 0; i < 9; i++) {
        p.links.links[i].rtt_us = 3000000;
    }
    set_clocks(&p, (const double[]){0, 0.9, 0}); /* 2.4 s with the error of half a round trip */
    expect_told(&p, "W * delay: a round trip between any two nodes takes 3000 ms\n");
}

static void test_many_are_summed_up(void **state)
{
    (void)state;
    struct picture p;
    picture_init(&p, 60);
    for (size_t from = 0; from < 40; from++) { /* no node explains a checkered pattern */
        for (size_t to = from % 2; to < 40; to += 2) {
            if (from != to) {
                check_links_at(&p.links, from, to)->state = CHECK_LINK_SILENT;
            }
        }
    }
    struct check_findings list = {0};
    check_reach_judge(&p.links, &list);
    assert_in_range(list.count, 2, 20);
    assert_non_null(strstr(list.items[0].found, " and 15 more cannot connect to it"));
    assert_non_null(strstr(list.items[list.count - 1].found, "more pairs of nodes"));
    check_findings_fini(&list);
    check_links_fini(&p.links);
}

static void test_plan(void **state)
{
    (void)state;
    uint32_t peers[1000];
    assert_int_equal(check_links_plan(0, 1, peers), 0);
    assert_int_equal(check_links_plan(2, 4, peers), 3);
    assert_int_equal(peers[0], 3);
    assert_int_equal(peers[1], 0);
    assert_int_equal(check_links_plan(63, 64, peers), 63);
    assert_int_equal(check_links_plan(0, 1000, peers), 999);
    assert_int_equal(check_links_plan(5, 1000, peers), 11); /* 1, 2, ... 512 further on, and 0 */
    assert_int_equal(peers[9], 517);
    assert_int_equal(peers[10], 0);
    assert_int_equal(check_links_plan(999, 1000, peers), 10); /* 0 is among them */
    for (size_t count = 1; count <= 200; count++) {
        for (size_t rank = 0; rank < count; rank++) {
            size_t n = check_links_plan(rank, count, peers);
            assert_true(n < count || count == 1);
            for (size_t i = 0; i < n; i++) {
                assert_true(peers[i] < count && peers[i] != rank);
                for (size_t k = 0; k < i; k++) {
                    assert_true(peers[i] != peers[k]);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_door),
        cmocka_unit_test(test_loopback_address),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_a_long_way_is_no_wrong_clock),
        cmocka_unit_test(test_many_are_summed_up),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
