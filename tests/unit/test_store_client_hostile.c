/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store client against servers that answer what no server should, and requests that it must not
 * send.
 */
#include "muster/limits.h"
#include "tests/unit/store_fake.h"

#include <inttypes.h>
#include <sys/resource.h>

enum { SHORT_MS = 50, LONG_MS = 20000 };

/* Lengths and counts as they come. */
#define MINUS_1   "ffffffffffffffff"
#define LEN_64_M  "0000000400000000" /* the longest value that is taken */
#define LEN_64_M1 "0100000400000000"
#define MANY      "ffffffffffffff7f"
#define ZERO      "0000000000000000"
#define ONE       "0100000000000000"
#define THREE     "0300000000000000"

enum call {
    CALL_GET,
    CALL_MULTI_GET,
    CALL_LIST,
    CALL_TRY_POP,
    CALL_LEN,
    CALL_NUM,
    CALL_CHECK,
    CALL_WAIT,
    CALL_DELETE,
    CALL_PING
};

static int make_call(struct store_conn *c, enum call call, struct mu_err *err)
{
    static const char *const keys[] = {"k", "l"};
    struct mu_buf v[2] = {{0}};
    int64_t n;
    size_t count;
    bool is_so;
    int rc = -1;
    switch (call) {
    case CALL_GET:
        rc = store_conn_get(c, "k", v, err);
        break;
    case CALL_MULTI_GET:
        rc = store_conn_multi_get(c, keys, 2, v, err);
        break;
    case CALL_LIST:
        rc = store_conn_list_keys(c, v, &count, err);
        break;
    case CALL_TRY_POP:
        rc = store_conn_queue_try_pop(c, "k", &is_so, v, err);
        break;
    case CALL_LEN:
        rc = store_conn_queue_len(c, "k", &n, err);
        break;
    case CALL_NUM:
        rc = store_conn_num_keys(c, &n, err);
        break;
    case CALL_CHECK:
        rc = store_conn_check(c, keys, 2, &is_so, err);
        break;
    case CALL_WAIT:
        rc = store_conn_wait(c, keys, 2, -1, err);
        break;
    case CALL_DELETE:
        rc = store_conn_delete(c, "k", &is_so, err);
        break;
    case CALL_PING:
        rc = store_conn_ping(c, err);
        break;
    }
    mu_buf_fini(&v[0]);
    mu_buf_fini(&v[1]);
    return rc;
}

/* Each of these fails, with nothing written and nothing leaked, and the connection is closed. */
static void test_wrong_answers(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        enum c10d_query query;
        const char *reply;
        enum mu_err_code code;
    } cases[] = {
        {CALL_GET, C10D_GET, MINUS_1, MU_E_LIMIT},
        {CALL_GET, C10D_GET, MANY, MU_E_LIMIT},
        {CALL_GET, C10D_GET, LEN_64_M1, MU_E_LIMIT},
        {CALL_GET, C10D_GET, LEN_64_M "6162", MU_E_LOST},
        {CALL_GET, C10D_GET, "0102", MU_E_LOST},
        {CALL_MULTI_GET, C10D_MULTI_GET, ONE "61" MINUS_1, MU_E_LIMIT},
        {CALL_MULTI_GET, C10D_MULTI_GET, ONE "61" THREE "62", MU_E_LOST},
        {CALL_LIST, C10D_LIST_KEYS, MINUS_1, MU_E_PROTOCOL},
        {CALL_LIST, C10D_LIST_KEYS, MANY ONE "2f" MINUS_1, MU_E_LIMIT},
        {CALL_LIST, C10D_LIST_KEYS, MANY ONE "2f" ZERO THREE "2f6161", MU_E_LOST},
        {CALL_TRY_POP, C10D_QUEUE_POP, MINUS_1, MU_E_PROTOCOL},
        {CALL_TRY_POP, C10D_QUEUE_POP, ONE MANY, MU_E_LIMIT},
        {CALL_LEN, C10D_QUEUE_LEN, MINUS_1, MU_E_PROTOCOL},
        {CALL_NUM, C10D_GETNUMKEYS, MINUS_1, MU_E_PROTOCOL},
        {CALL_CHECK, C10D_CHECK, "02", MU_E_PROTOCOL},
        {CALL_WAIT, C10D_WAIT, "01", MU_E_PROTOCOL},
        {CALL_WAIT, C10D_WAIT, "ff", MU_E_PROTOCOL},
        {CALL_DELETE, C10D_DELETE_KEY, MINUS_1, MU_E_PROTOCOL},
        {CALL_PING, C10D_PING, "00000000", MU_E_PROTOCOL},
        {CALL_PING, C10D_PING, "00", MU_E_LOST},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        const bool has_wait = cases[i].call == CALL_GET || cases[i].call == CALL_MULTI_GET;
        const struct fake_step script[] = {{C10D_WAIT, FAKE_REPLY, "00"},
                                           {cases[i].query, FAKE_CLOSE, cases[i].reply}};
        struct fake *f =
            fake_start(&(struct fake_plan){.steps = script + !has_wait, .count = has_wait ? 2 : 1});
        struct store_conn *c = fake_open(f, LONG_MS);
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(make_call(c, cases[i].call, &err), -1);
        if (err.code != cases[i].code) {
            fail_msg("case %zu: %s", i, err.text);
        }
        assert_int_equal(make_call(c, CALL_PING, &err), -1);
        assert_int_equal(err.code, MU_E_LOST);
        store_conn_close(c);
        fake_stop(f);
    }
}

/* Nor does a server get far with an answer to a cancellation that is none. */
static void test_wrong_answers_to_cancel(void **state)
{
    (void)state;
    static const char *const replies[] = {"02", "0002", "0000"};
    for (size_t i = 0; i < MU_COUNT(replies); i++) {
        const struct fake_step script[] = {{C10D_WAIT, FAKE_REPLY, ""},
                                           {C10D_CANCEL_WAIT, FAKE_REPLY, replies[i]}};
        struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
        struct store_conn *c = fake_open(f, LONG_MS);
        struct mu_err err = MU_ERR_INIT;
        static const char *const keys[] = {"k"};
        assert_int_equal(store_conn_wait(c, keys, 1, 0, &err), -1);
        assert_int_equal(err.code, MU_E_PROTOCOL);
        assert_int_equal(store_conn_fd(c), -1);
        store_conn_close(c);
        fake_stop(f);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HAS_SHADOW = 1 }; /* whose memory is the sanitizer's, not the client's */
#else
enum { HAS_SHADOW = 0 };
#endif

/* 64 MiB are announced and do not come: the memory for them must not be asked for. */
static void test_announced_length_takes_no_memory(void **state)
{
    (void)state;
    if (HAS_SHADOW) {
        print_message("skipped: a limit on memory cannot be set under a sanitizer\n");
        skip();
    }
    static const struct fake_step script[] = {{C10D_QUEUE_POP, FAKE_REPLY, ONE LEN_64_M "6162"}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    store_conn_set_timeout(c, SHORT_MS);
    uint64_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%*u %*u %*u %*u %*u %" SCNu64, &pages), 1);
    fclose(statm);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    struct rlimit tight = before;
    tight.rlim_cur = pages * (uint64_t)sysconf(_SC_PAGESIZE) + (rlim_t)16 * 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_DATA, &tight), 0);
    int rc = make_call(c, CALL_TRY_POP, &err); /* without memory this does not come back */
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, MU_E_TIMEOUT);
    store_conn_close(c);
    fake_stop(f);
}

/* What is beyond a limit is not sent, and does no harm. */
static void test_requests_beyond_the_limits(void **state)
{
    (void)state;
    static const struct fake_step script[] = {{C10D_QUEUE_LEN, FAKE_REPLY, ZERO}};
    struct fake *f = fake_start(&(struct fake_plan){FAKE_SCRIPT(script)});
    struct store_conn *c = fake_open(f, LONG_MS);
    struct mu_err err = MU_ERR_INIT;
    enum { COUNT = 9 }; /* values of 8 MiB are more than 64 MiB */
    char *bytes = mu_alloc(MU_STORE_MAX_VALUE);
    const char *keys[COUNT];
    struct mu_slice values[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        keys[i] = "k";
        values[i] = (struct mu_slice){.ptr = bytes, .len = MU_STORE_MAX_VALUE};
    }
    assert_int_equal(store_conn_multi_set(c, keys, values, COUNT, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_non_null(strstr(err.text, "a request of more than 67108864 bytes"));
    bool is_so;
    const char **many = mu_calloc(MU_STORE_MAX_KEYS_PER_QUERY + 1, sizeof(*many));
    assert_int_equal(store_conn_check(c, many, MU_STORE_MAX_KEYS_PER_QUERY + 1, &is_so, &err), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_int_equal(make_call(c, CALL_LEN, &err), 0);
    free(many);
    free(bytes);
    store_conn_close(c);
    fake_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_wrong_answers_to_cancel),
        cmocka_unit_test(test_announced_length_takes_no_memory),
        cmocka_unit_test(test_requests_beyond_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
