/* SPDX-License-Identifier: Apache-2.0 */
/* The store against tables of bytes: those of the protocol's description, and recorded ones. */
#include "tests/unit/store_peer.h"

#include <stdbool.h>

struct vector {
    const char *name;
    const char *request;
    const char *reply;
};

static const struct vector vectors[] = {
    {"C1 VALIDATE", "00cef7853c", ""},
    {"C2 PING", "0d04030201", "04030201"},
    {"C3 SET", "0102000000000000002f6b02000000000000007631", ""},
    {"C4 GET", "0302000000000000002f6b", "02000000000000007631"},
    {"C5 GET missing", "0305000000000000002f6e6f6e65", "0000000000000000"},
    {"C6 COMPARE_SET match", "0202000000000000002f6b0200000000000000763102000000000000007632",
     "02000000000000007632"},
    {"C7 COMPARE_SET mismatch", "0202000000000000002f6b02000000000000007a7a02000000000000007633",
     "02000000000000007632"},
    {"C8 COMPARE_SET missing, x", "0202000000000000002f6d010000000000000078010000000000000079",
     "010000000000000078"},
    {"C9 COMPARE_SET missing, empty", "0202000000000000002f6d0000000000000000010000000000000079",
     "010000000000000079"},
    {"C10 ADD 5", "0402000000000000002f6e0500000000000000", "0500000000000000"},
    {"C11 ADD -7", "0402000000000000002f6ef9ffffffffffffff", "feffffffffffffff"},
    {"C12 GET counter", "0302000000000000002f6e", "02000000000000002d32"},
    {"C13 CHECK present", "05020000000000000002000000000000002f6b02000000000000002f6e", "00"},
    {"C14 CHECK absent", "05020000000000000002000000000000002f6b03000000000000002f7a7a", "01"},
    {"C15 WAIT present", "06010000000000000002000000000000002f6b", "00"},
    {"C16 GETNUMKEYS", "07", "0300000000000000"},
    {"C17 DELETE_KEY", "0802000000000000002f6b", "0100000000000000"},
    {"C18 DELETE_KEY again", "0802000000000000002f6b", "0000000000000000"},
    {"C19 APPEND", "0902000000000000002f610200000000000000706f", ""},
    {"C20 MULTI_SET",
     "0b020000000000000002000000000000002f62010000000000000031"
     "02000000000000002f6302000000000000003232",
     ""},
    {"C21 MULTI_GET", "0a020000000000000002000000000000002f6202000000000000002f63",
     "01000000000000003102000000000000003232"},
    {"C22 WAIT, CANCEL_WAIT", "06010000000000000002000000000000002f770c", "01"},
    {"C23 CANCEL_WAIT alone", "0c", "01"},
    {"C24 QUEUE_LEN empty", "1002000000000000002f71", "0000000000000000"},
    {"C25 QUEUE_POP empty", "0f02000000000000002f71", "0000000000000000"},
    {"C26 QUEUE_PUSH a", "0e02000000000000002f71010000000000000061", ""},
    {"C27 QUEUE_PUSH b", "0e02000000000000002f71010000000000000062", ""},
    {"C28 QUEUE_POP", "0f02000000000000002f71", "0200000000000000010000000000000061"},
    {"C29 BARRIER of 1", "1203000000000000002f62720100000000000000", "00"},
};

/* What LIST_KEYS answers, in any order. */
static void expect_keys(struct store_client *c, const char *const *keys, size_t count)
{
    struct mu_reader r = mu_reader_of(c->out.bytes.data, c->out.bytes.len);
    assert_int_equal(mu_read_u64(&r), count);
    struct mu_slice rest = {.ptr = (const char *)r.pos, .len = mu_reader_left(&r)};
    bool *seen = mu_calloc(count, sizeof(*seen));
    for (size_t i = 0; i < count; i++) {
        struct mu_slice key = c10d_take_str(&rest);
        size_t k = 0;
        while (k < count && (seen[k] || !mu_slice_eq(key, mu_slice_of(keys[k])))) {
            k++;
        }
        assert_true(k < count);
        seen[k] = true;
    }
    assert_int_equal(rest.len, 0);
    free(seen);
    store_out_fini(&c->out);
}

static void test_vectors(void **state)
{
    (void)state;
    for (peer_piece = 0; peer_piece < 12; peer_piece++) {
        struct store *s = store_new(0);
        struct store_client c;
        store_client_init(&c, s);
        for (size_t i = 0; i < MU_COUNT(vectors); i++) {
            print_message("%s\n", vectors[i].name);
            peer_send(&c, "x", vectors[i].request);
            peer_expect(&c, "x", vectors[i].reply);
        }
        assert_int_equal(c.pid, 0x01020304);
        peer_send(&c, "x", "11"); /* C30 */
        const char *const keys[] = {"/m", "/n", "/a", "/b", "/c", "/br"};
        expect_keys(&c, keys, MU_COUNT(keys));
        store_client_fini(&c);
        store_free(s);
    }
}

/* C1 to C29 as one stream: requests that share a segment are answered in order. */
static void test_vectors_in_one_segment(void **state)
{
    (void)state;
    struct mu_buf in = {0};
    struct mu_buf out = {0};
    for (size_t i = 0; i < MU_COUNT(vectors); i++) {
        put_hex(&in, vectors[i].request);
        put_hex(&out, vectors[i].reply);
    }
    for (size_t cut = 0; cut <= in.len; cut++) {
        struct store *s = store_new(0);
        struct store_client c;
        store_client_init(&c, s);
        assert_int_equal(store_client_feed(&c, in.data, cut, NULL), 0);
        assert_int_equal(store_client_feed(&c, in.data + cut, in.len - cut, NULL), 0);
        assert_int_equal(c.out.bytes.len, out.len);
        assert_memory_equal(c.out.bytes.data, out.data, out.len);
        store_client_fini(&c);
        store_free(s);
    }
    mu_buf_fini(&in);
    mu_buf_fini(&out);
}

static const struct trace {
    unsigned connection;
    char side;
    const char *call;
    const char *hex;
} traces[] = {
#define TRACE(connection, side, call, hex) {connection, side, call, hex},
#define PROBE(what, sent, answered, is_closed)
#include "tests/data/c10d_torch_2_13.inc"
#undef TRACE
#undef PROBE
};

/* A recorded reply must be next in what we have for that connection. */
static void expect_next(struct store_client *c, const struct trace *t)
{
    struct mu_buf b = {0};
    put_hex(&b, t->hex);
    if (strstr(t->call, "list_keys") != NULL) {
        const char *keys[64];
        struct mu_reader r = mu_reader_of(b.data, b.len);
        size_t count = mu_read_u64(&r);
        assert_true(count <= MU_COUNT(keys));
        for (size_t i = 0; i < count; i++) {
            keys[i] = mu_slice_dup(mu_read_bytes(&r, mu_read_u64(&r)));
        }
        expect_keys(c, keys, count);
        for (size_t i = 0; i < count; i++) {
            free((void *)(uintptr_t)keys[i]);
        }
    } else {
        assert_true(c->out.bytes.len >= b.len);
        assert_memory_equal(c->out.bytes.data, b.data, b.len);
        mu_buf_consume(&c->out.bytes, b.len);
    }
    mu_buf_fini(&b);
}

static void test_recorded_traffic(void **state)
{
    (void)state;
    assert_true(MU_COUNT(traces) > 100);
    for (peer_piece = 0; peer_piece < 3; peer_piece++) {
        struct store *s = store_new(0);
        struct store_client clients[5];
        for (size_t i = 0; i < MU_COUNT(clients); i++) {
            store_client_init(&clients[i], s);
        }
        for (size_t i = 0; i < MU_COUNT(traces); i++) {
            const struct trace *t = &traces[i];
            struct store_client *c = &clients[t->connection];
            if (t->side == 'c') {
                peer_send(c, "x", t->hex);
            } else {
                print_message("%s\n", t->call);
                expect_next(c, t);
            }
        }
        for (size_t i = 0; i < MU_COUNT(clients); i++) {
            peer_expect_nothing(&clients[i]);
            store_client_fini(&clients[i]);
        }
        assert_int_equal(store_get_stats(s).waiting, 0);
        store_free(s);
    }
}

static const struct probe {
    const char *what;
    const char *sent;
    const char *answered;
    bool is_closed;
} probes[] = {
#define TRACE(connection, side, call, hex)
#define PROBE(what, sent, answered, is_closed) {what, sent, answered, is_closed},
#include "tests/data/c10d_torch_2_13.inc"
#undef TRACE
#undef PROBE
};

/* Where we differ on purpose from PyTorch's server: docs/PROTOCOL-c10d.md, "Differences". */
static const struct probe differences[] = {
    {"wrong magic", NULL, "", true},
    {"first byte of HTTP", NULL, "", true},
    {"ping before validate", NULL, "", true},
    {"wait for queue and absent key, then set", NULL, "000000000000000000", false},
    {"compare_set mismatch wakes?", NULL, "010000000000000078", false},
};

static void test_recorded_answers(void **state)
{
    (void)state;
    size_t differing = 0;
    for (size_t i = 0; i < MU_COUNT(probes); i++) {
        struct probe p = probes[i];
        for (size_t k = 0; k < MU_COUNT(differences); k++) {
            if (strcmp(differences[k].what, p.what) == 0) {
                p.answered = differences[k].answered;
                p.is_closed = differences[k].is_closed;
                differing++;
            }
        }
        print_message("%s\n", p.what);
        struct store *s = store_new(0);
        struct store_client c;
        store_client_init(&c, s);
        peer_send(&c, "x", "00cef7853c");
        peer_send(&c, "bss", C10D_SET, "/k", "v1"); /* which the recorded traffic had left */
        peer_send(&c, "bss", C10D_SET, "/abc", "abc");
        store_client_fini(&c);
        store_client_init(&c, s);
        struct mu_buf in = {0};
        put_hex(&in, p.sent);
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(peer_feed(&c, in.data, in.len, &err), p.is_closed ? -1 : 0);
        struct mu_buf out = {0};
        put_hex(&out, p.answered);
        assert_int_equal(c.out.bytes.len, out.len);
        if (out.len > 0) {
            assert_memory_equal(c.out.bytes.data, out.data, out.len);
        }
        mu_buf_fini(&in);
        mu_buf_fini(&out);
        store_client_fini(&c);
        store_free(s);
    }
    assert_int_equal(differing, MU_COUNT(differences));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_vectors_in_one_segment),
        cmocka_unit_test(test_recorded_traffic),
        cmocka_unit_test(test_recorded_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
