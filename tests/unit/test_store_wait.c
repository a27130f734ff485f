/* SPDX-License-Identifier: Apache-2.0 */
/* WAIT, CANCEL_WAIT, BARRIER, blocking queues; clients and stores that go away meanwhile. */
#include "tests/unit/store_peer.h"

static struct store *s;
static struct store_client a;
static struct store_client b;
static struct store_client c;

static int setup(void **state)
{
    (void)state;
    s = store_new(0);
    peer_join(&a, s);
    peer_join(&b, s);
    peer_join(&c, s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_client_fini(&a);
    store_client_fini(&b);
    store_client_fini(&c);
    struct store_stats stats = store_get_stats(s);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.clients, 0);
    store_free(s);
    return 0;
}

static void wait_one(struct store_client *client, const char *key)
{
    peer_send(client, "bis", C10D_WAIT, (int64_t)1, key);
}

static void test_wait_present(void **state)
{
    (void)state;
    peer_send(&a, "bi", C10D_WAIT, (int64_t)0);
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_send(&a, "bss", C10D_SET, "/k", "");
    peer_send(&a, "biss", C10D_WAIT, (int64_t)2, "/k", "/k");
    peer_expect(&a, "b", C10D_WAIT_DONE);
    assert_int_equal(store_get_stats(s).waiting, 0);
}

/* Whatever creates the key releases its waiters, once. */
static void test_what_wakes(void **state)
{
    (void)state;
    wait_one(&a, "/k");
    peer_send(&b, "bss", C10D_SET, "/k", "v");
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_send(&b, "bss", C10D_SET, "/k", "v");
    peer_expect_nothing(&a);

    wait_one(&a, "/append");
    peer_send(&b, "bss", C10D_APPEND, "/append", "v");
    peer_expect(&a, "b", C10D_WAIT_DONE);

    wait_one(&a, "/add");
    peer_send(&b, "bsi", C10D_ADD, "/add", (int64_t)0);
    peer_expect(&a, "b", C10D_WAIT_DONE);

    wait_one(&a, "/multi");
    peer_send(&b, "bissss", C10D_MULTI_SET, (int64_t)2, "/other", "1", "/multi", "2");
    peer_expect(&a, "b", C10D_WAIT_DONE);

    wait_one(&a, "/compare");
    store_out_fini(&b.out);
    peer_send(&b, "bsss", C10D_COMPARE_SET, "/compare", "expected", "v");
    peer_expect_nothing(&a); /* nothing was stored */
    peer_send(&b, "bsss", C10D_COMPARE_SET, "/compare", "", "v");
    peer_expect(&a, "b", C10D_WAIT_DONE);

    wait_one(&a, "/push");
    peer_send(&b, "bss", C10D_QUEUE_PUSH, "/push", "v");
    peer_expect(&a, "b", C10D_WAIT_DONE);

    wait_one(&a, "/barrier");
    peer_send(&b, "bsi", C10D_BARRIER, "/barrier", (int64_t)1);
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

static void test_several_keys(void **state)
{
    (void)state;
    peer_send(&b, "bss", C10D_SET, "/there", "");
    peer_send(&a, "bissss", C10D_WAIT, (int64_t)4, "/p", "/there", "/q", "/p");
    peer_send(&b, "bss", C10D_SET, "/p", ""); /* listed twice: satisfied twice */
    peer_expect_nothing(&a);
    peer_send(&b, "bs", C10D_DELETE_KEY, "/p"); /* and remembered */
    peer_expect(&b, "i", (int64_t)1);
    peer_send(&b, "bss", C10D_SET, "/q", "");
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

/* Queries behind a pending WAIT are answered first. */
static void test_a_wait_does_not_block_its_connection(void **state)
{
    (void)state;
    peer_send(&a, "bisb", C10D_WAIT, (int64_t)1, "/k", C10D_GETNUMKEYS);
    peer_expect(&a, "i", (int64_t)0);
    peer_send(&a, "bss", C10D_SET, "/k", ""); /* even its own */
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

static void test_cancel(void **state)
{
    (void)state;
    peer_send(&a, "biss", C10D_WAIT, (int64_t)2, "/k", "/l");
    peer_send(&b, "bss", C10D_SET, "/k", "");
    peer_send(&a, "b", C10D_CANCEL_WAIT);
    peer_expect(&a, "b", C10D_WAIT_CANCELED);
    peer_send(&b, "bss", C10D_SET, "/l", "");
    peer_expect_nothing(&a);
    assert_int_equal(store_get_stats(s).waiting, 0);
    wait_one(&a, "/m"); /* and the next one works */
    peer_send(&b, "bss", C10D_SET, "/m", "");
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

/* The key was set before the cancellation came: the client is told both. */
static void test_cancel_race(void **state)
{
    (void)state;
    wait_one(&a, "/k");
    peer_send(&b, "bss", C10D_SET, "/k", "");
    peer_send(&a, "b", C10D_CANCEL_WAIT);
    peer_expect(&a, "bb", C10D_WAIT_DONE, C10D_WAIT_CANCELED);
}

static void test_second_wait_replaces_the_first(void **state)
{
    (void)state;
    wait_one(&a, "/first");
    wait_one(&a, "/second");
    assert_int_equal(store_get_stats(s).waiting, 1);
    peer_send(&b, "bss", C10D_SET, "/first", "");
    peer_expect_nothing(&a);
    peer_send(&b, "bss", C10D_SET, "/second", "");
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

static void test_close_in_mid_wait(void **state)
{
    (void)state;
    peer_send(&a, "bisss", C10D_WAIT, (int64_t)3, "/k", "/l", "/k");
    wait_one(&b, "/k");
    peer_send(&c, "bss", C10D_SET, "/l", "");
    store_client_fini(&a);
    memset(&a, 0xEE, sizeof(a)); /* its memory may go */
    peer_send(&c, "bss", C10D_SET, "/k", "");
    peer_expect(&b, "b", C10D_WAIT_DONE);
    peer_join(&a, s);
    assert_int_equal(store_get_stats(s).waiting, 0);
}

static void test_a_refused_client_waits_no_more(void **state)
{
    (void)state;
    wait_one(&a, "/k");
    peer_send_refused(&a, MU_E_PROTOCOL, "unknown", "b", 77);
    peer_send(&b, "bss", C10D_SET, "/k", "");
    peer_expect_nothing(&a);
}

static void test_store_goes_first(void **state)
{
    (void)state;
    struct store *other = store_new(0);
    struct store_client x;
    struct store_client y;
    peer_join(&x, other);
    peer_join(&y, other);
    peer_send(&x, "biss", C10D_WAIT, (int64_t)2, "/k", "/l");
    peer_send(&y, "bub", C10D_PING, 1U, C10D_SET);
    store_free(other);
    assert_null(x.store);
    assert_int_equal(x.waits_left, 0);
    peer_expect(&y, "u", 1U); /* what was answered can still be written */
    peer_send_refused(&x, MU_E_LOST, "closed", "b", C10D_GETNUMKEYS);
    store_client_fini(&x);
    store_client_fini(&y);
    store_free(NULL);
    struct store_client zeroed = {0};
    store_client_fini(&zeroed);
}

static void test_ready_list(void **state)
{
    (void)state;
    assert_null(store_take_ready(s));
    wait_one(&a, "/k");
    wait_one(&b, "/k");
    assert_null(store_take_ready(s));
    peer_send(&c, "bub", C10D_PING, 1U, C10D_GETNUMKEYS);
    peer_send(&c, "bss", C10D_SET, "/k", "");
    assert_ptr_equal(store_take_ready(s), &c); /* once, in the order of the first reply */
    store_client_fini(&a);                     /* leaves the list with its memory */
    assert_ptr_equal(store_take_ready(s), &b);
    assert_null(store_take_ready(s));
    peer_send(&b, "b", C10D_GETNUMKEYS); /* again, though `out` was not emptied */
    assert_ptr_equal(store_take_ready(s), &b);
    assert_null(store_take_ready(s));
    peer_expect(&b, "bi", C10D_WAIT_DONE, (int64_t)1);
    peer_join(&a, s);
}

static void test_queue_wakes_one(void **state)
{
    (void)state;
    wait_one(&a, "/q");
    wait_one(&b, "/q");
    peer_send(&c, "bss", C10D_QUEUE_PUSH, "/q", "1");
    peer_expect(&a, "b", C10D_WAIT_DONE); /* who has waited longest */
    peer_expect_nothing(&b);
    /* Released, it is off the list: a push while it waits elsewhere is for the other. */
    wait_one(&a, "/else");
    peer_send(&c, "bss", C10D_QUEUE_PUSH, "/q", "2");
    peer_expect_nothing(&a);
    peer_expect(&b, "b", C10D_WAIT_DONE);
    /* Both items are there; a thief in between would have left nothing. */
    peer_send(&b, "bsbsbs", C10D_QUEUE_POP, "/q", C10D_QUEUE_POP, "/q", C10D_QUEUE_POP, "/q");
    peer_expect(&b, "isisi", (int64_t)2, "1", (int64_t)1, "2", (int64_t)0);
}

static void test_queue_and_key_share_waiters(void **state)
{
    (void)state;
    peer_send(&c, "bss", C10D_QUEUE_PUSH, "/q", "1");
    peer_send(&a, "biss", C10D_WAIT, (int64_t)2, "/q", "/k"); /* the queue counts as present */
    peer_expect_nothing(&a);
    peer_send(&c, "bss", C10D_SET, "/k", "");
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_send(&a, "biss", C10D_WAIT, (int64_t)2, "/r", "/r");
    wait_one(&b, "/r");
    peer_send(&c, "bss", C10D_QUEUE_PUSH, "/r", "1"); /* both registrations of one client */
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_expect_nothing(&b);
    peer_send(&c, "bss", C10D_SET, "/r", "");
    peer_expect(&b, "b", C10D_WAIT_DONE);
}

static void test_barrier(void **state)
{
    (void)state;
    peer_send(&a, "bsi", C10D_BARRIER, "/br", (int64_t)3);
    peer_send(&b, "bsi", C10D_BARRIER, "/br", (int64_t)3);
    peer_expect_nothing(&a);
    peer_expect_nothing(&b);
    peer_send(&c, "bs", C10D_GET, "/br");
    peer_expect(&c, "s", "2"); /* its counter is a key like others */
    wait_one(&c, "/br");
    peer_expect(&c, "b", C10D_WAIT_DONE);
    peer_send(&c, "bsi", C10D_BARRIER, "/br", (int64_t)3);
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_expect(&b, "b", C10D_WAIT_DONE);
    peer_expect(&c, "b", C10D_WAIT_DONE);
    peer_send(&a, "bsi", C10D_BARRIER, "/br", (int64_t)3); /* never reset */
    peer_expect(&a, "b", C10D_WAIT_DONE);
}

static void test_barrier_cases(void **state)
{
    (void)state;
    /* A cancelled arrival is not subtracted. */
    peer_send(&a, "bsib", C10D_BARRIER, "/x", (int64_t)2, C10D_CANCEL_WAIT);
    peer_expect(&a, "b", C10D_WAIT_CANCELED);
    peer_send(&b, "bsi", C10D_BARRIER, "/x", (int64_t)2);
    peer_expect(&b, "b", C10D_WAIT_DONE);
    peer_expect_nothing(&a);
    /* SET, ADD, APPEND release early; a COMPARE_SET that stores nothing does not. */
    peer_send(&a, "bsi", C10D_BARRIER, "/y", (int64_t)9);
    peer_send(&b, "bsss", C10D_COMPARE_SET, "/y", "no", "v");
    peer_expect_nothing(&a);
    peer_send(&b, "bsi", C10D_ADD, "/y", (int64_t)0);
    peer_expect(&a, "b", C10D_WAIT_DONE);
    /* Deleting the counter leaves the waiters, who then miss arrivals. */
    peer_send(&a, "bsi", C10D_BARRIER, "/z", (int64_t)2);
    peer_send(&b, "bs", C10D_DELETE_KEY, "/z");
    store_out_fini(&b.out);
    peer_send(&b, "bsi", C10D_BARRIER, "/z", (int64_t)2);
    peer_expect_nothing(&a);
    peer_send(&c, "bsi", C10D_BARRIER, "/z", (int64_t)2);
    peer_expect(&a, "b", C10D_WAIT_DONE);
    peer_expect(&b, "b", C10D_WAIT_DONE);
    peer_expect(&c, "b", C10D_WAIT_DONE);
    /* A value that is no counter. */
    peer_send(&a, "bss", C10D_SET, "/w", "word");
    peer_send_refused(&a, MU_E_PROTOCOL, "BARRIER on key '/w'", "bsi", C10D_BARRIER, "/w",
                      (int64_t)2);
}

enum { CROWD = 10000 };

static struct store_client *new_crowd(void)
{
    struct store_client *crowd = mu_calloc(CROWD, sizeof(*crowd));
    for (int i = 0; i < CROWD; i++) {
        peer_join(&crowd[i], s);
        peer_send(&crowd[i], "biss", C10D_WAIT, (int64_t)2, "/go", "/there");
    }
    assert_int_equal(store_get_stats(s).waiting, CROWD);
    return crowd;
}

static void test_one_set_releases_a_crowd(void **state)
{
    (void)state;
    peer_send(&a, "bss", C10D_SET, "/there", "");
    struct store_client *crowd = new_crowd();
    assert_null(store_take_ready(s));
    peer_send(&a, "bss", C10D_SET, "/go", "");
    for (int i = 0; i < CROWD; i++) {
        assert_ptr_equal(store_take_ready(s), &crowd[i]);
        peer_expect(&crowd[i], "b", C10D_WAIT_DONE);
    }
    assert_null(store_take_ready(s));
    assert_int_equal(store_get_stats(s).waiting, 0);
    for (int i = 0; i < CROWD; i++) {
        store_client_fini(&crowd[i]);
    }
    free(crowd);
}

/* A storm of disconnections, from either end of the list and from its middle. */
static void test_a_crowd_leaves(void **state)
{
    (void)state;
    struct store_client *crowd = new_crowd();
    for (int i = 0; i < CROWD; i++) {
        store_client_fini(&crowd[(i * 7919) % CROWD]);
    }
    assert_int_equal(store_get_stats(s).waiting, 0);
    assert_int_equal(store_get_stats(s).bytes, 0);
    free(crowd);
}

static void test_idle_memory(void **state)
{
    (void)state;
    assert_true(sizeof(struct store_client) <= 256);
    peer_piece = 1;
    wait_one(&a, "/k");
    peer_send(&b, "bss", C10D_SET, "/k", "v");
    peer_piece = 0;
    assert_null(a.waits);
    assert_true(a.partial.cap + a.out.bytes.cap <= 512);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_wait_present),
        TEST(test_what_wakes),
        TEST(test_several_keys),
        TEST(test_a_wait_does_not_block_its_connection),
        TEST(test_cancel),
        TEST(test_cancel_race),
        TEST(test_second_wait_replaces_the_first),
        TEST(test_close_in_mid_wait),
        TEST(test_a_refused_client_waits_no_more),
        TEST(test_store_goes_first),
        TEST(test_ready_list),
        TEST(test_queue_wakes_one),
        TEST(test_queue_and_key_share_waiters),
        TEST(test_barrier),
        TEST(test_barrier_cases),
        TEST(test_one_set_releases_a_crowd),
        TEST(test_a_crowd_leaves),
        TEST(test_idle_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
