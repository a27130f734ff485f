/* SPDX-License-Identifier: Apache-2.0 */
/* Places: a table of candidates and the names expected at places 0, 1, ..., spares after '|'. */
#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX_CANDIDATES = 6, NONE = RANK_NONE };

struct place_case {
    const char *label;
    uint32_t places;
    struct rank_candidate candidates[MAX_CANDIDATES]; /* previous, wanted, sched, name, pid, id */
    const char *expected;
};

static const struct place_case cases[] = {
    {"natural order of names",
     3,
     {{NONE, NONE, NONE, "node10", 1, 0, 0, 0},
      {NONE, NONE, NONE, "node2", 1, 1, 0, 0},
      {NONE, NONE, NONE, "node1", 1, 2, 0, 0}},
     "node1 node2 node10"},
    {"the scheduler's order comes before names",
     3,
     {{NONE, NONE, 2, "a", 1, 0, 0, 0},
      {NONE, NONE, 0, "c", 1, 1, 0, 0},
      {NONE, NONE, 1, "b", 1, 2, 0, 0}},
     "c b a"},
    {"who has a scheduler position comes before who has none",
     3,
     {{NONE, NONE, NONE, "a", 1, 0, 0, 0},
      {NONE, NONE, 7, "b", 1, 1, 0, 0},
      {NONE, NONE, NONE, "c", 1, 2, 0, 0}},
     "b a c"},
    {"an explicit rank comes before both",
     3,
     {{NONE, 2, 0, "a", 1, 0, 0, 0},
      {NONE, NONE, 1, "b", 1, 1, 0, 0},
      {NONE, 0, NONE, "c", 1, 2, 0, 0}},
     "c b a"},
    {"a survivor comes before an explicit rank",
     2,
     {{NONE, 0, NONE, "a", 1, 0, 0, 0}, {0, NONE, NONE, "b", 1, 1, 0, 0}},
     "b a"},
    {"a newcomer fills the hole",
     3,
     {{0, NONE, NONE, "a", 1, 0, 0, 0},
      {2, NONE, NONE, "c", 1, 1, 0, 0},
      {NONE, NONE, NONE, "z", 1, 2, 0, 0}},
     "a z c"},
    {"survivors move up when there are fewer places",
     2,
     {{1, NONE, NONE, "b", 1, 0, 0, 0}, {3, NONE, NONE, "d", 1, 1, 0, 0}},
     "d b"},
    {"who finds no place is a spare",
     2,
     {{NONE, NONE, NONE, "c", 1, 0, 0, 0},
      {NONE, NONE, NONE, "b", 1, 1, 0, 0},
      {NONE, NONE, NONE, "a", 1, 2, 0, 0}},
     "a b | c"},
    {"a wanted rank beyond the places is only a preference",
     2,
     {{NONE, 9, NONE, "a", 1, 0, 0, 0}, {NONE, NONE, NONE, "b", 1, 1, 0, 0}},
     "a b"},
    {"two agents of one host are told apart by pid",
     2,
     {{NONE, NONE, NONE, "host", 20, 0, 0, 0}, {NONE, NONE, NONE, "host", 10, 1, 0, 0}},
     "host host"},
    {"fewer candidates than places", 9, {{NONE, NONE, NONE, "a", 1, 0, 0, 0}}, "a"},
    {"nobody", 4, {{0}}, ""},
};

static uint32_t count_of(const struct place_case *c)
{
    uint32_t count = 0;
    while (count < MAX_CANDIDATES && c->candidates[count].name != NULL) {
        count++;
    }
    return count;
}

static void check(const struct place_case *c, const uint32_t *order, uint32_t count)
{
    struct rank_candidate candidates[MAX_CANDIDATES];
    for (uint32_t i = 0; i < count; i++) {
        candidates[i] = c->candidates[order[i]];
    }
    rank_assign(candidates, count, c->places, NULL, 0);
    char got[256] = "";
    for (uint32_t i = 0; i < count; i++) {
        bool is_spare = candidates[i].node_rank == RANK_NONE;
        if (!is_spare) {
            assert_int_equal(candidates[i].node_rank, i);
        }
        size_t at = strlen(got);
        snprintf(got + at, sizeof(got) - at, "%s%s%s", i > 0 ? " " : "", is_spare ? "| " : "",
                 candidates[i].name);
    }
    if (strcmp(got, c->expected) != 0) {
        fail_msg("%s: expected '%s', got '%s'", c->label, c->expected, got);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        static const uint32_t orders[][MAX_CANDIDATES] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
        uint32_t count = count_of(&cases[i]);
        check(&cases[i], orders[0], count);
        if (count == 3) { /* the order of arrival makes no difference */
            check(&cases[i], orders[1], count);
            check(&cases[i], orders[2], count);
        }
    }
}

static void test_pids_of_one_host(void **state)
{
    (void)state;
    struct rank_candidate c[] = {{NONE, NONE, NONE, "host", 20, 0, 0, 0},
                                 {NONE, NONE, NONE, "host", 10, 1, 0, 0}};
    rank_assign(c, 2, 2, NULL, 0);
    assert_int_equal(c[0].pid, 10);
    assert_int_equal(c[1].pid, 20);
}

/* ---- who comes back ---- */

struct return_case {
    const char *label;
    uint32_t places;
    struct rank_candidate candidates[MAX_CANDIDATES];
    struct rank_lost lost[MAX_CANDIDATES];
    const char *expected; /* pids, spares after '|' */
};

static const struct return_case returns[] = {
    {"before another newcomer, whatever else that has",
     3,
     {{0, NONE, NONE, "a", 1, 0, 0, 0},
      {NONE, 1, 0, "b", 2, 1, 0, 0},
      {NONE, NONE, NONE, "z", 3, 2, 0, 0},
      {2, NONE, NONE, "c", 4, 3, 0, 0}},
     {{"z", 1}},
     "1 3 4 | 2"},
    {"two nodes come back, each to its own place",
     3,
     {{NONE, NONE, NONE, "b", 1, 0, 0, 0},
      {NONE, NONE, NONE, "a", 2, 1, 0, 0},
      {1, NONE, NONE, "c", 3, 2, 0, 0}},
     {{"a", 2}, {"b", 0}},
     "1 3 2"},
    {"two agents of one name: the lower pid inherits",
     2,
     {{0, NONE, NONE, "host", 1, 0, 0, 0},
      {NONE, NONE, NONE, "host", 3, 1, 0, 0},
      {NONE, NONE, NONE, "host", 2, 2, 0, 0}},
     {{"host", 1}},
     "1 2 | 3"},
    {"two lost ones of one name: the lower place is inherited first",
     3,
     {{0, NONE, NONE, "a", 1, 0, 0, 0}, {NONE, NONE, NONE, "host", 2, 1, 0, 0}},
     {{"host", 2}, {"host", 1}},
     "1 2"},
    {"a survivor of that name keeps its own place",
     3,
     {{0, NONE, NONE, "host", 1, 0, 0, 0},
      {2, NONE, NONE, "host", 2, 1, 0, 0},
      {NONE, NONE, NONE, "host", 3, 2, 0, 0}},
     {{"host", 1}},
     "1 3 2"},
    {"its place is no more: still before another newcomer",
     2,
     {{0, NONE, NONE, "a", 1, 0, 0, 0},
      {NONE, NONE, NONE, "b", 2, 1, 0, 0},
      {NONE, NONE, NONE, "z", 3, 2, 0, 0}},
     {{"z", 5}},
     "1 3 | 2"},
    {"nobody comes back: the last moves into the hole, the others stay",
     3,
     {{0, NONE, NONE, "a", 1, 0, 0, 0},
      {2, NONE, NONE, "c", 2, 1, 0, 0},
      {3, NONE, NONE, "d", 3, 2, 0, 0}},
     {{"b", 1}},
     "1 3 2"},
};

static void check_return(const struct return_case *r, bool is_reversed)
{
    struct rank_candidate c[MAX_CANDIDATES];
    struct rank_lost lost[MAX_CANDIDATES];
    uint32_t count = 0;
    uint32_t lost_count = 0;
    while (count < MAX_CANDIDATES && r->candidates[count].name != NULL) {
        count++;
    }
    while (lost_count < MAX_CANDIDATES && r->lost[lost_count].name != NULL) {
        lost_count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        c[i] = r->candidates[is_reversed ? count - 1 - i : i];
    }
    for (uint32_t i = 0; i < lost_count; i++) {
        lost[i] = r->lost[is_reversed ? lost_count - 1 - i : i];
    }
    rank_assign(c, count, r->places, lost, lost_count);
    char got[256] = "";
    for (uint32_t i = 0; i < count; i++) {
        size_t at = strlen(got);
        snprintf(got + at, sizeof(got) - at, "%s%s%u", i > 0 ? " " : "",
                 c[i].node_rank == RANK_NONE ? "| " : "", c[i].pid);
    }
    if (strcmp(got, r->expected) != 0) {
        fail_msg("%s: expected '%s', got '%s'", r->label, r->expected, got);
    }
}

static void test_returns(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(returns); i++) {
        check_return(&returns[i], false);
        check_return(&returns[i], true);
    }
}

/* Any claims at all give a permutation. */
static void test_always_a_permutation(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int run = 0; run < 2000; run++) {
        struct rank_candidate c[40];
        bool seen[40] = {false};
        seed = seed * 1664525 + 1013904223;
        uint32_t count = seed >> 8 & 31U;
        uint32_t places = seed >> 16 & 31U;
        for (uint32_t i = 0; i < count; i++) {
            seed = seed * 1664525 + 1013904223;
            c[i] = (struct rank_candidate){.previous = (int32_t)(seed >> 8 & 15U) - 1,
                                           .wanted = (int32_t)(seed >> 12 & 15U) - 1,
                                           .sched = (int32_t)(seed >> 16 & 15U) - 1,
                                           .name = "n",
                                           .id = i};
        }
        struct rank_lost lost[] = {{"n", 3}, {"m", 1}, {"n", (int32_t)(seed >> 20 & 15U)}};
        rank_assign(c, count, places, lost, seed >> 24 & 3U);
        uint32_t expected = count < places ? count : places;
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(c[i].node_rank, i < expected ? (int32_t)i : RANK_NONE);
            assert_false(seen[c[i].id]);
            seen[c[i].id] = true;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_pids_of_one_host),
        cmocka_unit_test(test_returns),
        cmocka_unit_test(test_always_a_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
