/* SPDX-License-Identifier: Apache-2.0 */
/* What each query does, what is refused, and what the store holds. Waiting: test_store_wait.c */
#include "tests/unit/store_peer.h"

#include "muster/limits.h"
#include "rendezvous/store_counter.h"

static struct store *s;
static struct store_client a;
static struct store_client b;

static int setup(void **state)
{
    (void)state;
    s = store_new(0);
    peer_join(&a, s);
    peer_join(&b, s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_client_fini(&a);
    store_client_fini(&b);
    store_free(s);
    return 0;
}

static void test_set_get(void **state)
{
    (void)state;
    peer_send(&a, "bss", C10D_SET, "/k", "one");
    peer_send(&b, "bs", C10D_GET, "/k");
    peer_expect(&b, "s", "one");
    peer_send(&b, "bss", C10D_SET, "/k", "a longer value than before");
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_expect(&a, "s", "a longer value than before");
    peer_send(&b, "bss", C10D_SET, "/k", "");
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_expect(&a, "s", "");
    peer_send(&a, "bs", C10D_GET, "/missing");
    peer_expect(&a, "s", "");
    assert_int_equal(store_get_stats(s).keys, 1);
}

/* Bytes are bytes: NUL, 0xff, nothing at all. */
static void test_any_bytes(void **state)
{
    (void)state;
    peer_send(&a, "x",
              "01"
              "0300000000000000"
              "00ff00"
              "0200000000000000"
              "0000");
    peer_send(&a, "x",
              "03"
              "0300000000000000"
              "00ff00");
    peer_expect(&a, "x", "02000000000000000000");
    peer_send(&a, "bss", C10D_SET, "", "empty key");
    peer_send(&a, "bs", C10D_GET, "");
    peer_expect(&a, "s", "empty key");
}

static void test_compare_set(void **state)
{
    (void)state;
    static const struct {
        const char *stored; /* NULL: absent */
        const char *expected;
        const char *reply;
        const char *after; /* NULL: absent */
    } rows[] = {
        {NULL, "", "new", "new"},   {NULL, "x", "x", NULL},         {"old", "old", "new", "new"},
        {"old", "x", "old", "old"}, {"old", "", "old", "old"},      {"", "", "new", "new"},
        {"", "x", "", ""},          {"old", "older", "old", "old"},
    };
    for (size_t i = 0; i < MU_COUNT(rows); i++) {
        peer_send(&a, "bs", C10D_DELETE_KEY, "/k");
        if (rows[i].stored != NULL) {
            peer_send(&a, "bss", C10D_SET, "/k", rows[i].stored);
        }
        store_out_fini(&a.out);
        peer_send(&a, "bsss", C10D_COMPARE_SET, "/k", rows[i].expected, "new");
        peer_expect(&a, "s", rows[i].reply);
        peer_send(&a, "bisbs", C10D_CHECK, (int64_t)1, "/k", C10D_GET, "/k");
        peer_expect(&a, "bs", rows[i].after == NULL, rows[i].after != NULL ? rows[i].after : "");
    }
}

static void test_add(void **state)
{
    (void)state;
    static const struct {
        const char *stored; /* NULL: absent */
        int64_t delta;
        int64_t sum;
        const char *text; /* NULL: refused */
    } rows[] = {
        {NULL, 5, 5, "5"},
        {NULL, 0, 0, "0"},
        {NULL, INT64_MIN, INT64_MIN, "-9223372036854775808"},
        {"5", -7, -2, "-2"},
        {"12abc", 1, 13, "13"},
        {"0x10", 1, 1, "1"},
        {" 12", 1, 13, "13"},
        {"\t\n\v\f\r 12", 1, 13, "13"},
        {"007", 1, 8, "8"},
        {"+3", 1, 4, "4"},
        {"-3", 1, -2, "-2"},
        {"9223372036854775807", 1, INT64_MIN, "-9223372036854775808"},
        {"-9223372036854775808", -1, INT64_MAX, "9223372036854775807"},
        {"9223372036854775808", 0, 0, NULL},
        {"-9223372036854775809", 0, 0, NULL},
        {"99999999999999999999999", 0, 0, NULL},
        {"abc", 0, 0, NULL},
        {"-", 0, 0, NULL},
        {"- 1", 0, 0, NULL},
        {"+-1", 0, 0, NULL},
        {"", 0, 0, NULL},
        {" ", 0, 0, NULL},
    };
    for (size_t i = 0; i < MU_COUNT(rows); i++) {
        struct store_client c;
        peer_join(&c, s);
        peer_send(&b, "bs", C10D_DELETE_KEY, "/n");
        if (rows[i].stored != NULL) {
            peer_send(&b, "bss", C10D_SET, "/n", rows[i].stored);
        }
        store_out_fini(&b.out);
        if (rows[i].text != NULL) {
            peer_send(&c, "bsi", C10D_ADD, "/n", rows[i].delta);
            peer_expect(&c, "i", rows[i].sum);
        } else {
            peer_send_refused(&c, MU_E_PROTOCOL, "ADD on key '/n' whose value", "bsi", C10D_ADD,
                              "/n", rows[i].delta);
        }
        peer_send(&b, "bs", C10D_GET, "/n");
        peer_expect(&b, "s", rows[i].text != NULL ? rows[i].text : rows[i].stored);
        store_client_fini(&c);
    }
}

/* A number that is followed by other bytes ends there, NUL or not. */
static void test_counter_ends_where_its_bytes_end(void **state)
{
    (void)state;
    int64_t v = 0;
    assert_int_equal(store_counter_parse((struct mu_slice){.ptr = "57", .len = 1}, &v), 0);
    assert_int_equal(v, 5);
    assert_int_equal(store_counter_parse((struct mu_slice){.ptr = "5\0006", .len = 3}, &v), 0);
    assert_int_equal(v, 5);
}

static void test_check(void **state)
{
    (void)state;
    peer_send(&a, "bi", C10D_CHECK, (int64_t)0);
    peer_expect(&a, "b", C10D_CHECK_READY);
    peer_send(&a, "bssbss", C10D_SET, "/k", "", C10D_QUEUE_PUSH, "/q", "");
    peer_send(&a, "biss", C10D_CHECK, (int64_t)2, "/k", "/q");
    peer_expect(&a, "b", C10D_CHECK_READY);
    peer_send(&a, "bisss", C10D_CHECK, (int64_t)3, "/k", "/zz", "/q");
    peer_expect(&a, "b", C10D_CHECK_NOT_READY);
    peer_send(&a, "bs", C10D_QUEUE_POP, "/q");
    store_out_fini(&a.out);
    peer_send(&a, "bis", C10D_CHECK, (int64_t)1, "/q");
    peer_expect(&a, "b", C10D_CHECK_NOT_READY);
}

static void test_append(void **state)
{
    (void)state;
    peer_send(&a, "bssbssbss", C10D_APPEND, "/a", "", C10D_APPEND, "/a", "po", C10D_APPEND, "/a",
              "tato");
    peer_send(&b, "bs", C10D_GET, "/a");
    peer_expect(&b, "s", "potato");
    for (int i = 0; i < 1000; i++) {
        peer_send(&a, "bss", C10D_APPEND, "/long", "0123456789");
    }
    peer_send(&b, "bs", C10D_GET, "/long");
    struct mu_buf replies = store_replies(&b);
    assert_int_equal(replies.len, 8 + 10000);
    assert_memory_equal(replies.data + 8 + 9990, "0123456789", 10);
    mu_buf_fini(&replies);
}

static void test_multi(void **state)
{
    (void)state;
    peer_send(&a, "bissssss", C10D_MULTI_SET, (int64_t)3, "/x", "1", "/y", "2", "/x", "3");
    peer_send(&b, "bisss", C10D_MULTI_GET, (int64_t)3, "/y", "/none", "/x");
    peer_expect(&b, "sss", "2", "", "3"); /* the last of two wins, the missing one is empty */
    assert_int_equal(store_get_stats(s).keys, 2);
    peer_send(&b, "bi", C10D_MULTI_GET, (int64_t)0);
    peer_expect_nothing(&b);
}

static void test_delete_and_count(void **state)
{
    (void)state;
    peer_send(&a, "bss", C10D_SET, "/k", "v");
    peer_send(&a, "bssb", C10D_QUEUE_PUSH, "/k", "item", C10D_GETNUMKEYS);
    peer_expect(&a, "i", (int64_t)1); /* queues are not counted */
    peer_send(&a, "bsbs", C10D_DELETE_KEY, "/k", C10D_DELETE_KEY, "/k");
    peer_expect(&a, "ii", (int64_t)1, (int64_t)0);
    peer_send(&a, "bbs", C10D_GETNUMKEYS, C10D_QUEUE_LEN, "/k");
    peer_expect(&a, "ii", (int64_t)0, (int64_t)1); /* and not deleted with the key */
    peer_send(&a, "bs", C10D_GET, "/k");
    peer_expect(&a, "s", "");
}

static void test_queue(void **state)
{
    (void)state;
    peer_send(&a, "bsbs", C10D_QUEUE_LEN, "/q", C10D_QUEUE_POP, "/q");
    peer_expect(&a, "ii", (int64_t)0, (int64_t)0);
    peer_send(&a, "bssbssbss", C10D_QUEUE_PUSH, "/q", "1", C10D_QUEUE_PUSH, "/q", "",
              C10D_QUEUE_PUSH, "/q", "3");
    peer_send(&b, "bs", C10D_QUEUE_LEN, "/q");
    peer_expect(&b, "i", (int64_t)3);
    peer_send(&b, "bsbsbsbs", C10D_QUEUE_POP, "/q", C10D_QUEUE_POP, "/q", C10D_QUEUE_POP, "/q",
              C10D_QUEUE_POP, "/q");
    peer_expect(&b, "isisisi", (int64_t)3, "1", (int64_t)2, "", (int64_t)1, "3", (int64_t)0);
    peer_send(&b, "bss", C10D_QUEUE_PUSH, "/q", "4");
    peer_send(&b, "bs", C10D_QUEUE_POP, "/q");
    peer_expect(&b, "is", (int64_t)1, "4");
}

static void test_list_keys(void **state)
{
    (void)state;
    peer_send(&a, "b", C10D_LIST_KEYS);
    peer_expect(&a, "i", (int64_t)0);
    peer_send(&a, "bssbssb", C10D_SET, "init/", "v", C10D_QUEUE_PUSH, "/q", "", C10D_LIST_KEYS);
    peer_expect(&a, "is", (int64_t)1, "init/");
}

static void test_ping(void **state)
{
    (void)state;
    assert_int_equal(a.pid, 0);
    peer_send(&a, "bubu", C10D_PING, 0xFFFFFFFFU, C10D_PING, 4711U);
    peer_expect(&a, "uu", 0xFFFFFFFFU, 4711U);
    assert_int_equal(a.pid, 4711);
}

static void test_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *words;
    } rows[] = {
        {"48", "no TCPStore client"},                       /* HTTP */
        {"16", "no TCPStore client"},                       /* TLS */
        {"03", "query 3 instead of VALIDATE"},              /* ADD init/ of an older client */
        {"0d01020304", "older than torch 2.2"},             /* PING first */
        {"0001020304", "0x04030201 instead of 0x3c85f7ce"}, /* wrong magic */
        {"0002000000000000002f6b", "older than torch 2.2"}, /* SET of an older client */
        {"00cef7853c00cef7853c", "second VALIDATE"},
        {"00cef7853c13", "unknown query 19"},
        {"00cef7853cff", "unknown query 255"},
    };
    for (peer_piece = 0; peer_piece < 2; peer_piece++) {
        for (size_t i = 0; i < MU_COUNT(rows); i++) {
            struct store_client c;
            store_client_init(&c, s);
            peer_send_refused(&c, MU_E_PROTOCOL, rows[i].words, "x", rows[i].hex);
            peer_send_refused(&c, MU_E_PROTOCOL, "after an error", "x", "00cef7853c");
            store_client_fini(&c);
        }
    }
    peer_piece = 0;
}

/* Requests before the bad one count, and their replies can still be written. */
static void test_error_keeps_what_came_before(void **state)
{
    (void)state;
    peer_send_refused(&a, MU_E_PROTOCOL, "unknown query 200", "bssbsb", C10D_SET, "/k", "v",
                      C10D_GET, "/k", 200);
    peer_expect(&a, "s", "v");
    peer_send_refused(&b, MU_E_LIMIT, "key of 8193 bytes", "bi", C10D_GET, (int64_t)8193);
}

static void test_values_at_the_limit(void **state)
{
    (void)state;
    char *value = mu_alloc(MU_STORE_MAX_VALUE + 1);
    memset(value, 'v', MU_STORE_MAX_VALUE);
    char *key = mu_alloc(MU_STORE_MAX_KEY + 1);
    memset(key, 'k', MU_STORE_MAX_KEY);
    peer_piece = 65536;
    peer_send(&a, "bss", C10D_SET, key, value);
    assert_int_equal(a.partial.cap, 0); /* a large buffer is not kept */
    peer_send(&a, "bs", C10D_GET, key);
    assert_int_equal(store_out_len(&a.out), 8 + MU_STORE_MAX_VALUE);
    store_out_fini(&a.out);
    peer_piece = 0;
    /* Replies that nobody reads are bounded, and so is what grows by appending. */
    value[STORE_SHARE_FROM - 1] = '\0';
    peer_send(&a, "bss", C10D_SET, "/small", value);
    value[STORE_SHARE_FROM - 1] = 'v';
    while (store_out_own(&a.out) + 8 + STORE_SHARE_FROM <= MU_STORE_MAX_REPLY) {
        peer_send(&a, "bs", C10D_GET, "/small");
    }
    peer_send_refused(&a, MU_E_LIMIT, "not read", "bs", C10D_GET, "/small");
    for (int i = 0; i < 6; i++) {
        peer_send(&b, "bss", C10D_APPEND, key, value);
    }
    peer_send_refused(&b, MU_E_LIMIT, "APPEND", "bss", C10D_APPEND, key, value);
    free(key);
    free(value);
}

static void test_max_bytes(void **state)
{
    (void)state;
    struct store *small = store_new(20000);
    static const char *const requests[] = {"bss", "bsss", "bss", "bss", "biss", "bis", "bsi"};
    static const enum c10d_query queries[] = {C10D_SET,        C10D_COMPARE_SET, C10D_APPEND,
                                              C10D_QUEUE_PUSH, C10D_MULTI_SET,   C10D_WAIT,
                                              C10D_BARRIER};
    char big[8001];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    struct store_client c;
    peer_join(&c, small);
    peer_send(&c, "bssbss", C10D_SET, "/1", big, C10D_SET, "/2", big);
    for (int i = 0; i < 10; i++) {
        peer_send(&c, "bss", C10D_SET, "/2", big); /* in place of what is there */
    }
    uint64_t bytes = store_get_stats(small).bytes;
    for (size_t i = 0; i < MU_COUNT(queries); i++) {
        struct store_client d;
        peer_join(&d, small);
        const char *format = requests[i];
        if (queries[i] == C10D_COMPARE_SET) {
            peer_send_refused(&d, MU_E_LIMIT, "store is full", format, queries[i], "/3", "", big);
        } else if (queries[i] == C10D_MULTI_SET) {
            peer_send_refused(&d, MU_E_LIMIT, "store is full", format, queries[i], (int64_t)1, "/3",
                              big);
        } else if (queries[i] == C10D_WAIT) {
            peer_send_refused(&d, MU_E_LIMIT, "store is full", format, queries[i], (int64_t)1, big);
        } else if (queries[i] == C10D_BARRIER) {
            peer_send_refused(&d, MU_E_LIMIT, "store is full", format, queries[i], big, (int64_t)2);
        } else {
            peer_send_refused(&d, MU_E_LIMIT, "store is full", format, queries[i], "/3", big);
        }
        store_client_fini(&d);
        assert_int_equal(store_get_stats(small).bytes, bytes);
        assert_int_equal(store_get_stats(small).waiting, 0);
    }
    peer_send(&c, "bs", C10D_DELETE_KEY, "/1");
    peer_send(&c, "bss", C10D_SET, "/3", big);
    store_client_fini(&c);
    store_free(small);
}

/* Each connection may begin a large request and leave it at that. */
static void test_unfinished_requests(void **state)
{
    (void)state;
    enum { HALF = 6000 };
    struct store *small = store_new(20000);
    struct store_client clients[4];
    static const uint8_t begun[HALF + 17] = {
        [0] = C10D_SET, [1] = 1, [9] = 'k', [10] = 0, [11] = 0x40};
    struct mu_err err = MU_ERR_INIT;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MU_COUNT(clients); i++) {
            peer_join(&clients[i], small);
            int rc = store_client_feed(&clients[i], begun, HALF, &err);
            assert_int_equal(rc, i < 3 ? 0 : -1);
        }
        assert_int_equal(err.code, MU_E_LIMIT);
        assert_int_equal(store_get_stats(small).bytes, 0);
        for (size_t i = 0; i < MU_COUNT(clients); i++) {
            store_client_fini(&clients[i]);
        }
    }
    store_free(small);
}

/* A client that is refused when its bytes come together is refused as early when they do not. */
static void test_limits_in_pieces(void **state)
{
    (void)state;
    peer_piece = 1;
    peer_send_refused(&a, MU_E_LIMIT, "key", "bii", C10D_WAIT, (int64_t)1000,
                      (int64_t)MU_STORE_MAX_KEY + 1);
    peer_send_refused(&b, MU_E_LIMIT, "value", "bisi", C10D_MULTI_SET, (int64_t)1000, "/k",
                      (int64_t)MU_STORE_MAX_VALUE + 1);
    peer_piece = 0;
    assert_int_equal(store_get_stats(s).bytes, 0);
}

static void test_stats_return_to_nothing(void **state)
{
    (void)state;
    peer_send(&a, "bssbssbssbsi", C10D_SET, "/k", "v", C10D_APPEND, "/k", "more", C10D_QUEUE_PUSH,
              "/q", "item", C10D_ADD, "/n", (int64_t)-100);
    peer_send(&b, "bissbsi", C10D_WAIT, (int64_t)2, "/w", "/w", C10D_BARRIER, "/br", (int64_t)3);
    struct store_stats stats = store_get_stats(s);
    assert_int_equal(stats.clients, 2);
    assert_int_equal(stats.keys, 3);
    assert_int_equal(stats.waiting, 1);
    assert_int_equal(stats.queries, 2 + 4 + 2);
    assert_true(stats.bytes > 0);
    peer_send(&a, "bsbsbsbs", C10D_DELETE_KEY, "/k", C10D_QUEUE_POP, "/q", C10D_DELETE_KEY, "/n",
              C10D_DELETE_KEY, "/br");
    store_client_fini(&b);
    stats = store_get_stats(s);
    assert_int_equal(stats.keys, 0);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.clients, 1);
}

static void test_many_keys(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    for (int i = 0; i < COUNT; i++) {
        char key[40];
        snprintf(key, sizeof(key), "/a/rather/long/prefix/of/keys/%d", i);
        peer_send(&a, "bsi", C10D_ADD, key, (int64_t)i);
    }
    store_out_fini(&a.out);
    assert_int_equal(store_get_stats(s).keys, COUNT);
    for (int i = 0; i < COUNT; i++) {
        char key[40];
        snprintf(key, sizeof(key), "/a/rather/long/prefix/of/keys/%d", i);
        peer_send(&b, "bsi", C10D_ADD, key, (int64_t)0);
        peer_expect(&b, "i", (int64_t)i);
        peer_send(&b, "bs", C10D_DELETE_KEY, key);
        peer_expect(&b, "i", (int64_t)1);
    }
    assert_int_equal(store_get_stats(s).bytes, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_set_get),
        TEST(test_any_bytes),
        TEST(test_compare_set),
        TEST(test_add),
        TEST(test_counter_ends_where_its_bytes_end),
        TEST(test_check),
        TEST(test_append),
        TEST(test_multi),
        TEST(test_delete_and_count),
        TEST(test_queue),
        TEST(test_list_keys),
        TEST(test_ping),
        TEST(test_strangers),
        TEST(test_error_keeps_what_came_before),
        TEST(test_values_at_the_limit),
        TEST(test_max_bytes),
        TEST(test_unfinished_requests),
        TEST(test_limits_in_pieces),
        TEST(test_stats_return_to_nothing),
        TEST(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
