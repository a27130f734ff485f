/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client library against the store engine, and against servers that misbehave.
 */
#include "tests/unit/store_server_rig.h"

/* Waited out; MEDIUM_MS where a server must answer within it. */
enum { SHORT_MS = 30, MEDIUM_MS = 500 };

static void expect_buf(const struct mu_buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_memory_equal(b->data, text, b->len);
}

static void test_calls(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    int64_t n = 0;
    bool is_so = false;
    const char *const keys[] = {"k", "l"};
    const struct mu_slice values[] = {{"1", 1}, {"22", 2}};
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("value"), &err), 0);
    assert_int_equal(store_conn_get(c, "k", &v, &err), 0);
    expect_buf(&v, "value");
    assert_int_equal(store_conn_append(c, "k", mu_slice_of("s"), &err), 0);
    assert_int_equal(
        store_conn_compare_set(c, "k", mu_slice_of("values"), mu_slice_of("x"), &v, &err), 0);
    expect_buf(&v, "x");
    assert_int_equal(store_conn_compare_set(c, "k", mu_slice_of("?"), mu_slice_of("y"), &v, &err),
                     0);
    expect_buf(&v, "x");
    assert_int_equal(store_conn_add(c, "n", -5, &n, &err), 0);
    assert_int_equal(n, -5);
    assert_int_equal(store_conn_check(c, keys, 2, &is_so, &err), 0);
    assert_false(is_so);
    assert_int_equal(store_conn_multi_set(c, keys, values, 2, &err), 0);
    assert_int_equal(store_conn_check(c, keys, 2, &is_so, &err), 0);
    assert_true(is_so);
    assert_int_equal(store_conn_wait(c, keys, 2, -1, &err), 0);
    struct mu_buf got[2] = {{0}};
    assert_int_equal(store_conn_multi_get(c, keys, 2, got, &err), 0);
    expect_buf(&got[0], "1");
    expect_buf(&got[1], "22");
    assert_int_equal(store_conn_num_keys(c, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(store_conn_delete(c, "k", &is_so, &err), 0);
    assert_true(is_so);
    assert_int_equal(store_conn_delete(c, "k", &is_so, &err), 0);
    assert_false(is_so);
    assert_int_equal(store_conn_barrier(c, "b", 1, &err), 0);
    mu_buf_fini(&v);
    mu_buf_fini(&got[0]);
    mu_buf_fini(&got[1]);
    store_conn_close(c);
    server_stop(s);
}

static void test_queues(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, "p");
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    int64_t n = 0;
    bool is_taken = true;
    assert_int_equal(store_conn_queue_try_pop(c, "q", &is_taken, &v, &err), 0);
    assert_false(is_taken);
    assert_int_equal(store_conn_queue_push(c, "q", mu_slice_of("one"), &err), 0);
    assert_int_equal(store_conn_queue_push(c, "q", mu_slice_of("two"), &err), 0);
    assert_int_equal(store_conn_queue_len(c, "q", &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(store_conn_queue_pop(c, "q", &v, &err), 0);
    expect_buf(&v, "one");
    assert_int_equal(store_conn_queue_try_pop(c, "q", &is_taken, &v, &err), 0);
    assert_true(is_taken);
    expect_buf(&v, "two");
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_queue_pop(c, "q", &v, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    mu_buf_fini(&v);
    store_conn_close(c);
    server_stop(s);
}

static void test_prefix_and_list(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *plain = open_to(s, NULL);
    struct store_conn *prefixed = open_to(s, "p");
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    size_t count = 0;
    assert_int_equal(store_conn_set(prefixed, "k", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_get(plain, "p/k", &v, &err), 0); /* as PyTorch names it */
    expect_buf(&v, "v");
    assert_int_equal(store_conn_set(plain, "other", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_list_keys(plain, &v, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(store_conn_list_keys(prefixed, &v, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(v.len, 2);
    assert_string_equal((const char *)v.data, "k");
    mu_buf_fini(&v);
    store_conn_close(plain);
    store_conn_close(prefixed);
    server_stop(s);
}

static void test_ping_and_clone(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, "p");
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    const char *const keys[] = {"absent"};
    store_conn_set_timeout(c, MEDIUM_MS);
    struct store_conn *clone = store_conn_clone(c, &err);
    assert_non_null(clone);
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("v"), &err), 0);
    assert_int_equal(store_conn_ping(c, &err), 0); /* now others see it */
    store_conn_close(c);
    assert_int_equal(store_conn_get(clone, "k", &v, &err), 0); /* under the same prefix */
    expect_buf(&v, "v");
    assert_int_equal(store_conn_wait(clone, keys, 1, -1, &err), -1); /* with the same timeout */
    assert_non_null(strstr(err.text, "not complete after 500 ms"));
    store_conn_close(clone);
    c = open_to(s, NULL);
    clone = store_conn_clone(c, &err);
    assert_int_equal(store_conn_get(clone, "p/k", &v, &err), 0);
    store_conn_close(c);
    store_conn_close(clone);
    mu_buf_fini(&v);
    server_stop(s);
}

/* As PyTorch's PrefixStore does it: a rank in Python and one in C meet. */
static void test_prefixed_barrier(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, "p");
    struct store_conn *plain = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    bool is_so = true;
    const char *const last[] = {"p/b/last_member"};
    store_conn_set_timeout(c, MEDIUM_MS);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(store_conn_check(plain, last, 1, &is_so, &err), 0);
    assert_false(is_so);
    store_conn_set_timeout(c, TIMEOUT_MS);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), 0);
    assert_int_equal(store_conn_get(plain, last[0], &v, &err), 0);
    assert_int_equal(store_conn_get(plain, "p/b/num_members", &v, &err), 0);
    expect_buf(&v, "2");
    mu_buf_fini(&v);
    store_conn_close(c);
    store_conn_close(plain);
    server_stop(s);
}

/* A key of the queue's name satisfies the wait, but there is nothing to take. */
static void test_pop_beside_a_key(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    assert_int_equal(store_conn_set(c, "q", mu_slice_of("v"), &err), 0);
    store_conn_set_timeout(c, MEDIUM_MS);
    assert_int_equal(store_conn_queue_pop(c, "q", &v, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    store_conn_set_timeout(c, TIMEOUT_MS);
    assert_int_equal(store_conn_queue_push(c, "q", mu_slice_of("one"), &err), 0);
    assert_int_equal(store_conn_queue_pop(c, "q", &v, &err), 0);
    expect_buf(&v, "one");
    mu_buf_fini(&v);
    store_conn_close(c);
    server_stop(s);
}

struct setter {
    const struct server *server;
    const char *key;
};

static void *set_later(void *arg)
{
    const struct setter *setter = arg;
    struct store_conn *c = open_to(setter->server, NULL);
    int64_t waiting = 0;
    while (waiting == 0) { /* the other one says that it is about to wait */
        store_conn_add(c, "about", 0, &waiting, NULL);
    }
    store_conn_set(c, setter->key, mu_slice_of("v"), NULL);
    store_conn_close(c);
    return NULL;
}

static void test_waiting(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf v = {0};
    const char *const keys[] = {"late"};
    int64_t n;
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_non_null(strstr(err.text, "wait 'late': not complete after 30 ms"));
    assert_int_equal(store_conn_wait(c, keys, 1, 0, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    pthread_t thread;
    struct setter setter = {.server = s, .key = "late"};
    assert_int_equal(pthread_create(&thread, NULL, set_later, &setter), 0);
    assert_int_equal(store_conn_add(c, "about", 1, &n, &err), 0);
    assert_int_equal(store_conn_get(c, "late", &v, &err), 0); /* and the client still works */
    expect_buf(&v, "v");
    pthread_join(thread, NULL);
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(store_conn_barrier(c, "b", 2, &err), 0); /* the first still counts */
    mu_buf_fini(&v);
    store_conn_close(c);
    server_stop(s);
}

static void test_usage(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    char key[8193];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(store_conn_set(c, key, mu_slice_of(""), &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    struct mu_slice large = {.ptr = key, .len = (size_t)8 * 1024 * 1024 + 1};
    assert_int_equal(store_conn_set(c, "k", large, NULL), -1);
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("v"), &err), 0); /* nothing was sent */
    store_conn_close(c);
    server_stop(s);
}

/* The server refuses ADD on a word by closing: this call fails, and all later ones. */
static void test_lost(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_SERVE);
    struct store_conn *c = open_to(s, NULL);
    struct mu_err err = MU_ERR_INIT;
    int64_t n;
    assert_int_equal(store_conn_set(c, "k", mu_slice_of("word"), &err), 0);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_non_null(strstr(err.text, "add 'k'"));
    assert_int_equal(store_conn_add(c, "n", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST);
    assert_non_null(strstr(err.text, "was lost before"));
    store_conn_close(c);
    store_conn_close(NULL);
    server_stop(s);
}

static void test_cancel_race(void **state)
{
    (void)state;
    struct server *s = server_start(MANNER_RACE);
    struct store_conn *c = open_to(s, NULL);
    const char *const keys[] = {"k"};
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, NULL), 0);
    assert_int_equal(store_conn_wait(c, keys, 1, SHORT_MS, NULL), 0); /* nothing was left over */
    store_conn_close(c);
    server_stop(s);
}

static void test_bad_servers(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    struct server *s = server_start(MANNER_WRONG_NONCE);
    assert_null(store_conn_open("127.0.0.1", s->port, NULL, TIMEOUT_MS, &err));
    assert_int_equal(err.code, MU_E_PROTOCOL);
    server_stop(s);

    s = server_start(MANNER_CLOSE);
    assert_null(store_conn_open("127.0.0.1", s->port, NULL, SHORT_MS, &err));
    assert_int_equal(err.code, MU_E_CONNECT);
    server_stop(s);

    s = server_start(MANNER_SILENT);
    struct store_conn *c = open_to(s, NULL);
    int64_t n;
    store_conn_set_timeout(c, SHORT_MS);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    assert_int_equal(store_conn_add(c, "k", 1, &n, &err), -1);
    assert_int_equal(err.code, MU_E_LOST); /* a late answer would be taken for another's */
    store_conn_close(c);
    uint16_t port = s->port;
    server_stop(s);

    assert_null(store_conn_open("127.0.0.1", port, NULL, SHORT_MS, &err)); /* nobody listens */
    assert_int_equal(err.code, MU_E_CONNECT);
    assert_non_null(strstr(err.text, "Connection refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_prefix_and_list),
        cmocka_unit_test(test_ping_and_clone),
        cmocka_unit_test(test_prefixed_barrier),
        cmocka_unit_test(test_pop_beside_a_key),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_cancel_race),
        cmocka_unit_test(test_bad_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
