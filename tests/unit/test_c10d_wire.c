/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder alone: every layout, every cut, every limit. */
#include "rendezvous/c10d_wire.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "tests/unit/store_peer.h"

/* One request of each query, with the length it must be found to have (all of it). */
static const struct layout {
    enum c10d_query query;
    const char *hex;
} layouts[] = {
    {C10D_VALIDATE, "00cef7853c"},
    {C10D_SET, "0102000000000000002f6b02000000000000007631"},
    {C10D_COMPARE_SET, "0202000000000000002f6b0200000000000000763102000000000000007632"},
    {C10D_GET, "0302000000000000002f6b"},
    {C10D_ADD, "0402000000000000002f6ef9ffffffffffffff"},
    {C10D_CHECK, "05020000000000000002000000000000002f6b03000000000000002f7a7a"},
    {C10D_WAIT, "060000000000000000"},
    {C10D_GETNUMKEYS, "07"},
    {C10D_DELETE_KEY, "0802000000000000002f6b"},
    {C10D_APPEND, "0902000000000000002f610000000000000000"},
    {C10D_MULTI_GET, "0a01000000000000000000000000000000"},
    {C10D_MULTI_SET, "0b020000000000000002000000000000002f62010000000000000031"
                     "02000000000000002f6302000000000000003232"},
    {C10D_CANCEL_WAIT, "0c"},
    {C10D_PING, "0d04030201"},
    {C10D_QUEUE_PUSH, "0e02000000000000002f71010000000000000061"},
    {C10D_QUEUE_POP, "0f02000000000000002f71"},
    {C10D_QUEUE_LEN, "1002000000000000002f71"},
    {C10D_LIST_KEYS, "11"},
    {C10D_BARRIER, "1203000000000000002f62720100000000000000"},
};

static void test_layouts_at_every_cut(void **state)
{
    (void)state;
    assert_int_equal(MU_COUNT(layouts), C10D_QUERY_LAST + 1);
    for (size_t i = 0; i < MU_COUNT(layouts); i++) {
        struct mu_buf b = {0};
        put_hex(&b, layouts[i].hex);
        struct c10d_scan scan = {0};
        struct c10d_request req;
        size_t used = 0;
        for (size_t len = 1; len < b.len; len++) {
            uint8_t *part = mu_alloc(len);
            memcpy(part, b.data, len);
            assert_int_equal(c10d_decode(&scan, part, len, &req, &used, NULL), C10D_MORE);
            assert_true(scan.need > len);
            assert_true(scan.need <= b.len);
            free(part);
        }
        size_t len = b.len;
        mu_buf_append_u8(&b, 0xFF); /* the next request is not looked at */
        assert_int_equal(c10d_decode(&scan, b.data, b.len, &req, &used, NULL), C10D_DONE);
        assert_int_equal(used, len);
        assert_int_equal(req.query, layouts[i].query);
        assert_int_equal(scan.need + scan.pos + scan.left, 0);
        mu_buf_fini(&b);
    }
}

static enum c10d_status decode(const char *hex, struct c10d_request *req, struct mu_err *err,
                               struct mu_buf *b)
{
    struct c10d_scan scan = {0};
    size_t used;
    put_hex(b, hex);
    return c10d_decode(&scan, b->data, b->len, req, &used, err);
}

static void test_fields(void **state)
{
    (void)state;
    struct c10d_request req;
    struct mu_buf b = {0};
    assert_int_equal(decode(layouts[C10D_COMPARE_SET].hex, &req, NULL, &b), C10D_DONE);
    assert_true(mu_slice_eq(req.key, mu_slice_of("/k")));
    assert_true(mu_slice_eq(req.value, mu_slice_of("v1")));
    assert_true(mu_slice_eq(req.second, mu_slice_of("v2")));
    mu_buf_fini(&b);
    assert_int_equal(decode(layouts[C10D_ADD].hex, &req, NULL, &b), C10D_DONE);
    assert_int_equal(req.number, -7);
    mu_buf_fini(&b);
    assert_int_equal(decode("00ffffffff", &req, NULL, &b), C10D_DONE);
    assert_int_equal(req.number, 0xFFFFFFFF); /* unsigned */
    mu_buf_fini(&b);
    assert_int_equal(decode(layouts[C10D_MULTI_SET].hex, &req, NULL, &b), C10D_DONE);
    assert_int_equal(req.count, 2);
    const char *const strings[] = {"/b", "1", "/c", "22"};
    for (size_t i = 0; i < MU_COUNT(strings); i++) {
        assert_true(mu_slice_eq(c10d_take_str(&req.list), mu_slice_of(strings[i])));
    }
    assert_int_equal(req.list.len, 0);
    mu_buf_fini(&b);
    /* An empty first value is still the first. */
    assert_int_equal(
        decode("0201000000000000006b0000000000000000010000000000000079", &req, NULL, &b),
        C10D_DONE);
    assert_int_equal(req.value.len, 0);
    assert_true(mu_slice_eq(req.second, mu_slice_of("y")));
    mu_buf_fini(&b);
}

/* Refused as soon as the length is complete, and one below the limit is not. */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *bad;
        const char *good;
    } cases[] = {
        {"key", "030120000000000000", "030020000000000000"},
        {"key, 2^63", "030000000000000080", "030000000000000000"},
        {"value", "0101000000000000006b0100800000000000", "0101000000000000006b0000800000000000"},
        {"value, 2^64-1", "0101000000000000006bffffffffffffffff", "01"},
        {"expected", "0201000000000000006b0100800000000000", "02"},
        {"desired", "0201000000000000006b00000000000000000100800000000000",
         "0201000000000000006b00000000000000000000800000000000"},
        {"append", "0901000000000000006b0100800000000000", "09"},
        {"push", "0e01000000000000006b0100800000000000", "0e"},
        {"check", "050100020000000000", "050000020000000000"},
        {"wait", "060100020000000000", "060000020000000000"},
        {"multi_get", "0a0100020000000000", "0a0000020000000000"},
        {"multi_set", "0b0100020000000000", "0b0000020000000000"},
        {"count, 2^64-1", "0bffffffffffffffff", "0b"},
        {"key in a list", "0601000000000000000120000000000000",
         "0601000000000000000020000000000000"},
        {"value in a list", "0b010000000000000000000000000000000100800000000000",
         "0b010000000000000000000000000000000000800000000000"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        print_message("%s\n", cases[i].name);
        struct c10d_request req;
        struct mu_err err = MU_ERR_INIT;
        struct mu_buf b = {0};
        assert_int_equal(decode(cases[i].bad, &req, &err, &b), C10D_ERROR);
        assert_int_equal(err.code, MU_E_LIMIT);
        mu_buf_fini(&b);
        assert_int_not_equal(decode(cases[i].good, &req, &err, &b), C10D_ERROR);
        mu_buf_fini(&b);
    }
}

/* The whole request is bounded too, and that is found from lengths alone. */
static void test_request_limit(void **state)
{
    (void)state;
    static const uint8_t zeros[MU_STORE_MAX_VALUE];
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_MULTI_SET);
    mu_buf_append_u64(&b, 9);
    for (int i = 0; i < 7; i++) {
        c10d_put_str(&b, mu_slice_of("k"));
        c10d_put_str(&b, (struct mu_slice){.ptr = (const char *)zeros, .len = sizeof(zeros)});
    }
    c10d_put_str(&b, mu_slice_of("k"));
    struct c10d_scan scan = {0};
    struct c10d_request req;
    size_t used;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(c10d_decode(&scan, b.data, b.len, &req, &used, &err), C10D_MORE);
    mu_buf_append_u64(&b, MU_STORE_MAX_VALUE);
    assert_int_equal(c10d_decode(&scan, b.data, b.len, &req, &used, &err), C10D_ERROR);
    assert_int_equal(err.code, MU_E_LIMIT);
    mu_buf_fini(&b);
}

/* However many strings are announced behind the one that is too long. */
static void test_limits_in_a_list_are_seen_at_once(void **state)
{
    (void)state;
    static const enum c10d_query queries[] = {C10D_WAIT, C10D_MULTI_SET};
    for (size_t i = 0; i < MU_COUNT(queries); i++) {
        struct mu_buf b = {0};
        mu_buf_append_u8(&b, (uint8_t)queries[i]);
        mu_buf_append_u64(&b, 1000);
        mu_buf_append_u64(&b, MU_STORE_MAX_KEY + 1);
        struct c10d_scan scan = {0};
        struct c10d_request req;
        size_t used;
        enum c10d_status status = C10D_MORE;
        for (size_t len = 1; status == C10D_MORE; len = scan.need) {
            assert_true(len <= b.len);
            status = c10d_decode(&scan, b.data, len, &req, &used, NULL);
        }
        assert_int_equal(status, C10D_ERROR);
        mu_buf_fini(&b);
    }
}

static void test_unknown_queries(void **state)
{
    (void)state;
    for (unsigned opcode = C10D_QUERY_LAST + 1; opcode < 256; opcode++) {
        struct c10d_scan scan = {0};
        struct c10d_request req;
        size_t used;
        struct mu_err err = MU_ERR_INIT;
        uint8_t byte = (uint8_t)opcode;
        assert_int_equal(c10d_decode(&scan, &byte, 1, &req, &used, &err), C10D_ERROR);
        assert_int_equal(err.code, MU_E_PROTOCOL);
    }
}

/* A list of n keys one string at a time: each call must look only at what is new. */
static void test_a_list_is_scanned_once(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_WAIT);
    mu_buf_append_u64(&b, 1000);
    for (int i = 0; i < 1000; i++) {
        c10d_put_str(&b, mu_slice_of("/some/key"));
    }
    struct c10d_scan scan = {0};
    struct c10d_request req;
    size_t used = 0;
    size_t len = 1;
    int calls = 0;
    while (c10d_decode(&scan, b.data, len, &req, &used, NULL) == C10D_MORE) {
        assert_true(scan.need > len);
        if (scan.pos > 0 && scan.pos + 8 + strlen("/some/key") <= len) {
            fail_msg("stopped at %zu of %zu", scan.pos, len); /* a whole string was left */
        }
        len = scan.need;
        /* What has been checked must not be read again. */
        memset(b.data + 9, 0xFF, scan.pos > 9 ? scan.pos - 9 : 0);
        calls++;
    }
    assert_int_equal(used, b.len);
    assert_true(calls <= 2003); /* for a length, then for the bytes */
    mu_buf_fini(&b);
}

static void test_show(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
        size_t size;
    } cases[] = {
        {"", "''", 16},
        {"/k", "'/k'", 16},
        {"a\nb\xff", "'a\\x0ab\\xff'", 32},
        {"0123456789", "'012345678...'", 18},
        {"0123456789abcdef", "'0123456...'", 16},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        char text[64];
        memset(text, '#', sizeof(text));
        c10d_show(mu_slice_of(cases[i].in), text, cases[i].size);
        assert_string_equal(text, cases[i].out);
        assert_int_equal(text[cases[i].size], '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts_at_every_cut),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_request_limit),
        cmocka_unit_test(test_limits_in_a_list_are_seen_at_once),
        cmocka_unit_test(test_unknown_queries),
        cmocka_unit_test(test_a_list_is_scanned_once),
        cmocka_unit_test(test_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
