/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large values are shared between the store and the replies that are still to be sent.
 */
#include "tests/unit/store_peer.h"

enum { LARGE = 100000 };

static struct store *s;
static struct store_client a;
static struct store_client b;

static int set_up(void **state)
{
    (void)state;
    s = store_new(4 * LARGE);
    a = (struct store_client){0};
    b = (struct store_client){0};
    peer_join(&a, s);
    peer_join(&b, s);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_client_fini(&a);
    store_client_fini(&b);
    store_free(s);
    return 0;
}

static void set_large(struct store_client *c, const char *key, char fill)
{
    char *value = mu_alloc(LARGE + 1);
    memset(value, fill, LARGE);
    peer_send(c, "bss", C10D_SET, key, value);
    free(value);
}

static void expect_large(struct store_client *c, char fill)
{
    struct mu_buf replies = store_replies(c);
    assert_int_equal(replies.len, 8 + LARGE);
    for (size_t i = 8; i < replies.len; i++) {
        assert_int_equal(replies.data[i], fill);
    }
    mu_buf_fini(&replies);
}

static void test_readers_share_one_copy(void **state)
{
    (void)state;
    set_large(&a, "/k", 'x');
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_send(&b, "bs", C10D_GET, "/k");
    assert_ptr_equal(a.out.pieces[0].value, b.out.pieces[0].value);
    assert_true(store_out_own(&a.out) < 64);
    expect_large(&a, 'x');
    expect_large(&b, 'x');
    assert_int_equal(store_get_stats(s).unread, 0);
}

/* What was asked for is what was there then, whatever becomes of the key. */
static void test_replies_do_not_change(void **state)
{
    (void)state;
    set_large(&a, "/k", 'x');
    peer_send(&b, "bs", C10D_GET, "/k");
    set_large(&a, "/k", 'y');
    assert_true(store_get_stats(s).unread > LARGE);
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_send(&a, "bss", C10D_APPEND, "/k", "z");
    expect_large(&b, 'x');
    expect_large(&a, 'y');
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_send(&a, "bs", C10D_DELETE_KEY, "/k");
    struct mu_buf replies = store_replies(&a);
    assert_int_equal(replies.len, 8 + LARGE + 1 + 8);
    assert_int_equal(replies.data[8 + LARGE - 1], 'y');
    assert_int_equal(replies.data[8 + LARGE], 'z');
    assert_int_equal(replies.data[8 + LARGE + 1], 1);
    mu_buf_fini(&replies);
    assert_int_equal(store_get_stats(s).unread, 0);
    assert_int_equal(store_get_stats(s).bytes, 0);
}

/* Values that only unread replies hold count against the limit, and for nothing once read. */
static void test_unread_values_are_limited(void **state)
{
    (void)state;
    for (char fill = 'a'; fill < 'd'; fill++) {
        set_large(&a, "/k", fill);
        peer_send(&b, "bs", C10D_GET, "/k");
    }
    assert_true(store_get_stats(s).unread > 2 * LARGE);
    struct store_client c = {0};
    peer_join(&c, s);
    char *value = mu_alloc(LARGE + 1);
    memset(value, 'v', LARGE);
    peer_send_refused(&c, MU_E_LIMIT, "the store is full", "bss", C10D_SET, "/other", value);
    store_client_fini(&c);
    store_out_fini(&b.out);
    assert_int_equal(store_get_stats(s).unread, 0);
    peer_send(&a, "bss", C10D_SET, "/other", value);
    free(value);
}

/* A value that is replaced while replies refer to it stays as well, and has to have room. */
static void test_replaced_values_are_limited(void **state)
{
    (void)state;
    char *value = mu_alloc(LARGE + 1);
    memset(value, 'v', LARGE);
    const char *const keys[] = {"/1", "/2"};
    for (size_t i = 0; i < MU_COUNT(keys); i++) {
        set_large(&a, keys[i], 'x');
        peer_send(&b, "bs", C10D_GET, keys[i]);
    }
    set_large(&a, "/1", 'y');
    uint64_t held = store_get_stats(s).bytes + store_get_stats(s).unread;
    struct store_client c[4] = {0};
    for (size_t i = 0; i < MU_COUNT(c); i++) {
        peer_join(&c[i], s);
    }
    const char *full = "the store is full";
    peer_send_refused(&c[0], MU_E_LIMIT, full, "bss", C10D_SET, "/2", value);
    peer_send_refused(&c[1], MU_E_LIMIT, full, "bss", C10D_APPEND, "/2", "z");
    memset(value, 'x', LARGE);
    peer_send_refused(&c[2], MU_E_LIMIT, full, "bsss", C10D_COMPARE_SET, "/2", value, value);
    assert_int_equal(store_get_stats(s).bytes + store_get_stats(s).unread, held);
    peer_send(&c[3], "bss", C10D_SET, "/2", "short"); /* for which there is room */
    store_out_fini(&b.out);
    peer_send(&c[3], "bss", C10D_SET, "/2", value);
    free(value);
    for (size_t i = 0; i < MU_COUNT(c); i++) {
        store_client_fini(&c[i]);
    }
}

static void test_queued_values_are_shared(void **state)
{
    (void)state;
    char *value = mu_alloc(LARGE + 1);
    memset(value, 'q', LARGE);
    peer_send(&a, "bss", C10D_QUEUE_PUSH, "/q", value);
    free(value);
    peer_send(&b, "bs", C10D_QUEUE_POP, "/q");
    assert_true(store_get_stats(s).unread > LARGE);
    struct mu_buf replies = store_replies(&b);
    assert_int_equal(replies.len, 8 + 8 + LARGE);
    assert_int_equal(replies.data[16], 'q');
    mu_buf_fini(&replies);
    assert_int_equal(store_get_stats(s).unread, 0);
}

/* A store may go before what it held has been sent. */
static void test_store_goes_first(void **state)
{
    (void)state;
    set_large(&a, "/k", 'x');
    set_large(&a, "/l", 'y');
    peer_send(&b, "bsbs", C10D_GET, "/k", C10D_GET, "/l");
    set_large(&a, "/l", 'z');
    struct store_out out = b.out;
    b.out = (struct store_out){0};
    store_client_fini(&a);
    store_client_fini(&b);
    store_free(s);
    struct mu_slice slices[5];
    assert_int_equal(store_out_slices(&out, 0, slices), 4);
    assert_int_equal(slices[1].len, LARGE);
    assert_int_equal(slices[1].ptr[0], 'x');
    assert_int_equal(slices[3].ptr[LARGE - 1], 'y');
    store_out_fini(&out);
    s = store_new(0);
}

/* Wherever sending stopped, it goes on with the next byte. */
static void test_slices_skip_what_was_sent(void **state)
{
    (void)state;
    set_large(&a, "/k", 'x');
    peer_send(&a, "bsbsbs", C10D_GET, "/none", C10D_GET, "/k", C10D_GET, "/none");
    struct mu_slice slices[3];
    assert_true(store_out_count(&a.out) <= MU_COUNT(slices));
    size_t len = store_out_len(&a.out);
    assert_int_equal(len, 8 + 8 + LARGE + 8);
    for (size_t skip = 0; skip <= len; skip += skip < 40 || skip + 40 > len ? 1 : 997) {
        size_t count = store_out_slices(&a.out, skip, slices);
        size_t rest = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(slices[i].len > 0);
            rest += slices[i].len;
        }
        assert_int_equal(rest, len - skip);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readers_share_one_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replies_do_not_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unread_values_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replaced_values_are_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queued_values_are_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slices_skip_what_was_sent, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
