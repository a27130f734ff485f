/* SPDX-License-Identifier: Apache-2.0 */
/* Many nodes: looked up by agent id and node rank as they come and go; the ranks of their roles. */
#include "rendezvous/member_impl.h"
#include "tests/unit/member_rig.h"

static int64_t agent(uint64_t agent_id)
{
    const struct member_node *n = member_find_agent(m, agent_id);
    return n != NULL ? (int64_t)n->id : -1;
}

static int64_t wanted(int32_t node_rank)
{
    const struct member_node *n = member_find_wanted(m, node_rank);
    return n != NULL ? (int64_t)n->id : -1;
}

static void test_finds_who_is_here(void **state)
{
    (void)state;
    hello.min_nodes = hello.max_nodes = 3;
    assert_int_equal(agent(100), -1);
    assert_int_equal(wanted(0), -1);
    join("node1");
    hello.node_rank = 2;
    join("node2");
    assert_int_equal(agent(100), 0);
    assert_int_equal(agent(101), 1);
    assert_int_equal(agent(102), -1);
    assert_int_equal(wanted(2), 1);
    assert_int_equal(wanted(1), -1);
    assert_int_equal(wanted(RANK_NONE), -1); /* no node rank is nobody's */
    lose(1);
    assert_int_equal(agent(101), -1);
    assert_int_equal(wanted(2), -1);
    assert_int_equal(agent(100), 0);
}

/* It comes back before its first connection is known to be dead, and keeps its rank. */
static void test_an_agent_takes_its_own_place(void **state)
{
    (void)state;
    hello.node_rank = 1;
    join("node1");
    forget();
    hello.agent_id = 100;
    join("node1");
    expect("0 WELCOME back");
    assert_int_equal(agent(100), 0);
    assert_int_equal(wanted(1), 0);
    lose(0);
    assert_int_equal(agent(100), -1);
    assert_int_equal(wanted(1), -1);
}

/* Who is gone without a part in the round is forgotten when the next one joins, not before. */
static void test_forgets_who_is_gone(void **state)
{
    (void)state;
    hello.min_nodes = 1;
    hello.max_nodes = 2;
    join("node1");
    join("node2");
    assert_int_equal(member_look(m).state, MEMBER_RUNNING);
    join("node3"); /* a spare */
    lose(2);
    assert_int_equal(member_look(m).node_count, 3);
    join("node4");
    assert_int_equal(member_look(m).node_count, 3);
    lose(1); /* has a part in the round: is kept with it */
    join("node5");
    assert_int_equal(member_look(m).node_count, 4);
    hear_stopped(0, 1, 0);
    assert_int_equal(member_look(m).round, 2);
    join("node6");
    assert_int_equal(member_look(m).node_count, 4);
    assert_int_equal(agent(101), -1);
    assert_int_equal(agent(105), 5);
}

/* Two roles in turns: each has ranks of its own, without holes. */
static void test_roles(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    static const uint32_t slots[] = {2, 3, 1, 4};
    hello.min_nodes = hello.max_nodes = 4;
    for (uint32_t i = 0; i < 4; i++) {
        hello.node_rank = (int32_t)i;
        hello.slots = slots[i];
        hello.role = mu_slice_of(i % 2 == 0 ? "actor" : "learner");
        hello.node_name = mu_slice_of("node");
        assert_int_equal(member_join(m, &hello, "10.0.0.1", now, &err), i);
        hello.agent_id++;
    }
    const struct member_effect *e;
    struct mu_buf text = {0};
    while ((e = member_take(m)) != NULL) {
        if (e->kind == MEMBER_SEND && e->msg.type == CTL_ASSIGN) {
            const struct ctl_assign *a = &e->msg.assign;
            mu_buf_printf(&text, "%u/%u %u/%u; ", a->first_rank, a->world_size, a->role_first_rank,
                          a->role_world_size);
        }
    }
    assert_string_equal(rig_text(&text), "0/10 0/3; 2/10 0/7; 5/10 2/3; 6/10 3/7; ");
    mu_buf_fini(&text);
}

static void test_many(void **state)
{
    (void)state;
    enum { NODES = 3000 };
    hello.min_nodes = hello.max_nodes = NODES;
    for (uint32_t i = 0; i < NODES - 1; i++) {
        char name[16];
        snprintf(name, sizeof(name), "node%u", i);
        hello.node_rank = (int32_t)(NODES - 1 - i);
        join(name);
    }
    for (uint32_t i = 0; i < NODES - 1; i += 2) {
        lose(i);
    }
    for (uint32_t i = 0; i < NODES - 1; i++) {
        int64_t expected = i % 2 == 0 ? -1 : (int64_t)i;
        assert_int_equal(agent(100 + i), expected);
        assert_int_equal(wanted((int32_t)(NODES - 1 - i)), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds_who_is_here, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_an_agent_takes_its_own_place, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_forgets_who_is_gone, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_roles, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_many, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
