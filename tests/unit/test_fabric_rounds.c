/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/fabric_rounds.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static void test_every_two_meet_once(void **state)
{
    (void)state;
    for (int n = 2; n <= 41; n++) {
        mu_autofree int *met = mu_calloc((size_t)n * (size_t)n, sizeof(*met));
        for (int round = 0; round < fabric_rounds_count(n); round++) {
            int alone = 0;
            for (int node = 0; node < n; node++) {
                int partner = fabric_rounds_partner(n, round, node);
                assert_true(partner >= -1 && partner < n && partner != node);
                if (partner < 0) {
                    alone++;
                    continue;
                }
                assert_int_equal(fabric_rounds_partner(n, round, partner), node);
                met[node * n + partner]++;
            }
            assert_int_equal(alone, n % 2);
        }
        for (int i = 0; i < n * n; i++) {
            assert_int_equal(met[i], i / n == i % n ? 0 : 1);
        }
    }
}

static void test_all_turns_are_all_rounds(void **state)
{
    (void)state;
    for (int n = 2; n <= 300; n++) {
        int m = fabric_rounds_count(n);
        mu_autofree int *seen = mu_calloc((size_t)m, sizeof(*seen));
        for (int turn = 0; turn < m; turn++) {
            int round = fabric_rounds_at(n, turn);
            assert_true(round >= 0 && round < m);
            assert_int_equal(seen[round]++, 0);
        }
    }
}

/* With time for a tenth of the rounds no node's partners are all on one side. */
static void test_first_turns_are_spread(void **state)
{
    (void)state;
    enum { NODES = 1000, TURNS = 100, PARTS = 10 };
    int in_part[PARTS] = {0};
    for (int turn = 0; turn < TURNS; turn++) {
        in_part[fabric_rounds_at(NODES, turn) * PARTS / NODES]++;
    }
    for (int i = 0; i < PARTS; i++) {
        assert_in_range(in_part[i], 7, 13);
    }
}

static void test_very_many_nodes(void **state)
{
    (void)state;
    enum { NODES = 65536 };
    for (int turn = 0; turn < 50; turn++) {
        int round = fabric_rounds_at(NODES, turn);
        for (int node = 0; node < NODES; node += 4095) {
            int partner = fabric_rounds_partner(NODES, round, node);
            assert_in_range(partner, 0, NODES - 1);
            assert_int_equal(fabric_rounds_partner(NODES, round, partner), node);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_two_meet_once),
        cmocka_unit_test(test_all_turns_are_all_rounds),
        cmocka_unit_test(test_first_turns_are_spread),
        cmocka_unit_test(test_very_many_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
