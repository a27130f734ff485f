/* SPDX-License-Identifier: Apache-2.0 */
/* Where the coordinator is looked for: every answer of a rung, in turns and in full ones. */
#include "launcher/ladder.h"
#include "launcher/sched.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ladder l;
static int64_t now;

static int setup(void **state)
{
    (void)state;
    static const char *const places[] = {"a", "b"};
    static const uint16_t ports[] = {1, 2, 3};
    ladder_init(&l, places, MU_COUNT(places), ports, MU_COUNT(ports));
    now = 1000;
    return 0;
}

/*
 * Walk one turn. `answers` says of each rung what is found: 3 letters for each place, of
 * u(nresolved) d(ead) f(ree) s(tranger) q(uiet) l(ater). Returns the rungs that were asked: "a1 a2
 * b1".
 */
static const char *turn(const char *answers)
{
    static const struct {
        char letter;
        enum ladder_answer answer;
    } letters[] = {{'u', LADDER_UNRESOLVED}, {'d', LADDER_DEAD},   {'f', LADDER_FREE},
                   {'s', LADDER_STRANGER},   {'q', LADDER_SILENT}, {'l', LADDER_LATER}};
    static char asked[256];
    struct ladder_rung r;
    asked[0] = '\0';
    ladder_begin(&l, now);
    while (ladder_next(&l, &r)) {
        size_t len = strlen(asked);
        assert_true(len < sizeof(asked) - 8);
        snprintf(asked + len, sizeof(asked) - len, "%s%s%u", len > 0 ? " " : "", l.places[r.place],
                 l.ports[r.port]);
        char letter = answers[r.place * (l.port_count + 1) + r.port];
        for (size_t i = 0; i < MU_COUNT(letters); i++) {
            if (letters[i].letter == letter) {
                ladder_answer(&l, r, letters[i].answer, "because");
            }
        }
    }
    return asked;
}

static void test_free_port_ends_a_turn(void **state)
{
    (void)state;
    assert_string_equal(turn("fff fff"), "a1");
    assert_string_equal(turn("fff fff"), "a1");
}

static void test_strangers_are_stepped_over(void **state)
{
    (void)state;
    assert_string_equal(turn("sff fff"), "a1 a2");
    assert_string_equal(turn("ssf fff"), "a1 a2 a3");
    assert_string_equal(turn("sss fff"), "a1 a2 a3 b1");
    assert_string_equal(turn("sss sss"), "a1 a2 a3 b1 b2 b3");
}

static void test_place_is_skipped(void **state)
{
    (void)state;
    assert_string_equal(turn("uuu sff"), "a1 b1 b2");
    assert_string_equal(turn("uuu sff"), "a1 b1 b2"); /* it costs nothing: it keeps its turn */
    assert_string_equal(turn("ddd sss"), "a1 b1 b2 b3");
    assert_string_equal(turn("ddd sss"), "b1 b2 b3 a1"); /* it costs time: last */
    assert_string_equal(turn("ddd fff"), "b1");          /* or not at all */
}

static void test_dead_place_comes_back(void **state)
{
    (void)state;
    assert_string_equal(turn("ddd sss"), "a1 b1 b2 b3");
    assert_string_equal(turn("fff sss"), "b1 b2 b3 a1");
    assert_string_equal(turn("fff sss"), "a1");
}

static void test_silent_one_is_last(void **state)
{
    (void)state;
    struct ladder_rung first = {.place = 0, .port = 0};
    assert_int_equal(ladder_patience_ms(&l, first), 2000);
    assert_string_equal(turn("qff fff"), "a1 a2");
    assert_int_equal(ladder_patience_ms(&l, first), 5000);
    assert_string_equal(turn("qff fff"), "a2");
    assert_string_equal(turn("qss sss"), "a2 a3 b1 b2 b3 a1");
}

/* Everything is asked after 2 s, 4 s more, 8, 16, 16, ... */
static void test_full_turns(void **state)
{
    (void)state;
    static const int64_t full_s[] = {2, 6, 14, 30, 46, 62};
    size_t next = 0;
    int64_t since = now;
    for (; now <= since + 70 * 1000; now += 500) {
        const char *asked = turn("fff fff");
        if (strcmp(asked, "a1") != 0) {
            assert_string_equal(asked, "a1 a2 a3 b1 b2 b3");
            assert_true(next < MU_COUNT(full_s));
            assert_int_equal((now - since) / 1000, full_s[next++]);
        }
    }
    assert_int_equal(next, MU_COUNT(full_s));
}

static void test_later_stays_on_the_rung(void **state)
{
    (void)state;
    assert_string_equal(turn("slf fff"), "a1 a2");
    assert_string_equal(turn("slf fff"), "a2");
    now += 60 * 1000; /* in a full turn too: it is ours */
    assert_string_equal(turn("slf fff"), "a2");
    assert_string_equal(turn("sff fff"), "a2"); /* it has left */
    assert_string_equal(turn("sff fff"), "a1 a2");
}

static void test_fixed(void **state)
{
    (void)state;
    ladder_fix(&l, (struct ladder_rung){.place = 1, .port = 2});
    now += 60 * 1000;
    assert_string_equal(turn("fff fff"), "b3");
    assert_string_equal(turn("fff ffd"), "b3");
    assert_string_equal(turn("fff ffq"), "b3");
    assert_string_equal(turn("fff ffl"), "b3");
}

/* Our own machine's ports cost nothing to ask, and must be known before one is served. */
static void test_here(void **state)
{
    (void)state;
    assert_int_equal(ladder_strangers(&l, 0), 0);
    ladder_resolved(&l, 0, "10.0.0.1", true);
    assert_string_equal(turn("fsf fff"), "a1 a2 a3 b1");
    assert_int_equal(ladder_strangers(&l, 0), 7);
    assert_int_equal(ladder_strangers(&l, 1), 0);
    assert_string_equal(turn("flf fff"), "a1 a2");
    assert_int_equal(ladder_strangers(&l, 0), 5);
}

static void test_description(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    ladder_resolved(&l, 0, "10.0.0.1", false);
    turn("sqf fff");
    ladder_describe(&l, &b);
    turn("ddd uuu");
    mu_buf_printf(&b, "\n");
    ladder_describe(&l, &b);
    mu_buf_append_u8(&b, '\0');
    assert_string_equal(
        (const char *)b.data,
        "a (10.0.0.1): nothing listens on port 3, another job or program on port 1, something "
        "that does not answer on port 2 (because)\n"
        "a port 1: because; b: because");
    mu_buf_fini(&b);
}

/* What is the same of several places, or of one machine with two names, is said once. */
static void test_description_repeats_nothing(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    ladder_resolved(&l, 0, "10.0.0.1", false);
    ladder_resolved(&l, 1, "10.0.0.9", false);
    turn("fff fff");
    now += 60 * 1000;
    turn("fff fff");
    ladder_describe(&l, &b);
    mu_buf_printf(&b, "\n");
    ladder_resolved(&l, 1, "10.0.0.1", false);
    ladder_describe(&l, &b);
    mu_buf_printf(&b, "\n");
    turn("dff dff");
    ladder_describe(&l, &b);
    mu_buf_append_u8(&b, '\0');
    assert_string_equal((const char *)b.data,
                        "a (10.0.0.1), b (10.0.0.9): nothing listens on ports 1 2 3\n"
                        "a (10.0.0.1): nothing listens on ports 1 2 3\n"
                        "a port 1: because");
    mu_buf_fini(&b);
}

/* ---- the ports of a job ---- */

static void test_ports(void **state)
{
    (void)state;
    uint16_t ports[SCHED_PORTS];
    uint16_t again[SCHED_PORTS];
    for (int job = 0; job < 10000; job++) {
        char seed[32];
        snprintf(seed, sizeof(seed), "%d.0", 4000000 + job);
        sched_ladder(seed, ports);
        sched_ladder(seed, again);
        assert_memory_equal(ports, again, sizeof(ports));
        for (size_t i = 0; i < SCHED_PORTS; i++) {
            assert_true(ports[i] >= 20000 && ports[i] < 32768 && ports[i] != MU_DEFAULT_PORT);
            for (size_t k = 0; k < i; k++) {
                assert_int_not_equal(ports[i], ports[k]);
            }
        }
    }
}

/* 10,000 jobs that follow each other: no part of the range is crowded, or avoided. */
static void test_ports_are_spread(void **state)
{
    (void)state;
    enum { PARTS = 50, JOBS = 10000 };
    int counts[PARTS] = {0};
    for (int job = 0; job < JOBS; job++) {
        char seed[32];
        uint16_t ports[SCHED_PORTS];
        snprintf(seed, sizeof(seed), "%d.0", 100 + job);
        sched_ladder(seed, ports);
        counts[(ports[0] - 20000) * PARTS / 12700]++;
    }
    for (int i = 0; i < PARTS; i++) { /* 200 each; five standard deviations are 70 */
        assert_in_range(counts[i], 130, 270);
    }
}

/* Of all pairs of jobs with the same first port, how many have the same second one? */
static void test_ports_part(void **state)
{
    (void)state;
    enum { JOBS = 10000 };
    uint16_t *ladders = mu_calloc((size_t)JOBS * SCHED_PORTS, sizeof(uint16_t));
    for (int job = 0; job < JOBS; job++) {
        char seed[32];
        snprintf(seed, sizeof(seed), "%d.0", 100 + job);
        sched_ladder(seed, ladders + (size_t)job * SCHED_PORTS);
    }
    unsigned first = 0;
    unsigned second = 0;
    for (size_t i = 0; i < JOBS; i++) {
        for (size_t k = 0; k < i; k++) {
            const uint16_t *a = ladders + i * SCHED_PORTS;
            const uint16_t *b = ladders + k * SCHED_PORTS;
            first += a[0] == b[0];
            second += a[0] == b[0] && a[1] == b[1];
        }
    }
    free(ladders);
    assert_in_range(first, 3500, 4400); /* JOBS * JOBS / 2 / 12697 is 3938 */
    assert_true(second <= 5);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup(t, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_free_port_ends_a_turn),
        TEST(test_strangers_are_stepped_over),
        TEST(test_place_is_skipped),
        TEST(test_dead_place_comes_back),
        TEST(test_silent_one_is_last),
        TEST(test_full_turns),
        TEST(test_later_stays_on_the_rung),
        TEST(test_fixed),
        TEST(test_here),
        TEST(test_description),
        TEST(test_description_repeats_nothing),
        TEST(test_ports),
        TEST(test_ports_are_spread),
        TEST(test_ports_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
