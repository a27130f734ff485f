/* SPDX-License-Identifier: Apache-2.0 */
/* The last decisions about a job: how many are kept, in which order, and what is counted. */
#include "rendezvous/event_ring.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct event_ring ring;

static int teardown(void **state)
{
    (void)state;
    event_ring_fini(&ring);
    return 0;
}

static void test_few(void **state)
{
    (void)state;
    assert_int_equal(event_ring_count(&ring), 0);
    event_ring_add(&ring, 5, 0, EVENT_JOINED, "node1", "node1 joined");
    event_ring_add(&ring, 7, 1, EVENT_ROUND, NULL, "round 1");
    assert_int_equal(event_ring_count(&ring), 2);
    assert_int_equal(event_ring_dropped(&ring), 0);
    const struct event *e = event_ring_at(&ring, 0);
    assert_int_equal(e->at_ms, 5);
    assert_int_equal(e->kind, EVENT_JOINED);
    assert_string_equal(e->node, "node1");
    assert_string_equal(e->text, "node1 joined");
    e = event_ring_at(&ring, 1);
    assert_int_equal(e->round, 1);
    assert_null(e->node);
}

static void test_oldest_make_room(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 3 * EVENT_RING_SIZE + 10; i++) {
        event_ring_add(&ring, i, 0, EVENT_LEFT, "n", "x");
    }
    assert_int_equal(event_ring_count(&ring), EVENT_RING_SIZE);
    assert_int_equal(event_ring_dropped(&ring), 2 * EVENT_RING_SIZE + 10);
    for (uint32_t i = 0; i < EVENT_RING_SIZE; i++) {
        assert_int_equal(event_ring_at(&ring, i)->at_ms, 2 * EVENT_RING_SIZE + 10 + i);
    }
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char text[2 * EVENT_TEXT_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    event_ring_add(&ring, 0, 0, EVENT_END, text, text);
    assert_int_equal(strlen(event_ring_at(&ring, 0)->text), EVENT_TEXT_MAX);
    assert_int_equal(strlen(event_ring_at(&ring, 0)->node), EVENT_TEXT_MAX);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(event_kind_name(EVENT_JOINED), "joined");
    assert_string_equal(event_kind_name(EVENT_END), "end");
    assert_string_equal(event_kind_name((enum event_kind)(EVENT_END + 1)), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_few, teardown),
        cmocka_unit_test_teardown(test_oldest_make_room, teardown),
        cmocka_unit_test_teardown(test_long_texts_are_cut, teardown),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
