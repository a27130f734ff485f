/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of c10d's TCPStore protocol, dialect C: requests taken apart, replies put together.
 *
 * The decoder looks at the beginning of a stream and says: a whole request, need more, or error.
 * It copies nothing; a decoded request points into the bytes it was decoded from. Limits are
 * checked as soon as a length field is complete, before the data it announces has come.
 *
 * The protocol: docs/PROTOCOL-c10d.md. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stddef.h>
#include <stdint.h>

#define C10D_MAGIC 0x3C85F7CEU

/*
 * name, opcode, fields after the opcode:
 *   u u32   i i64   k key   v value   K u64 n, n keys   P u64 n, n pairs of key and value
 */
#define C10D_QUERIES(X)      \
    X(VALIDATE, 0, "u")      \
    X(SET, 1, "kv")          \
    X(COMPARE_SET, 2, "kvv") \
    X(GET, 3, "k")           \
    X(ADD, 4, "ki")          \
    X(CHECK, 5, "K")         \
    X(WAIT, 6, "K")          \
    X(GETNUMKEYS, 7, "")     \
    X(DELETE_KEY, 8, "k")    \
    X(APPEND, 9, "kv")       \
    X(MULTI_GET, 10, "K")    \
    X(MULTI_SET, 11, "P")    \
    X(CANCEL_WAIT, 12, "")   \
    X(PING, 13, "u")         \
    X(QUEUE_PUSH, 14, "kv")  \
    X(QUEUE_POP, 15, "k")    \
    X(QUEUE_LEN, 16, "k")    \
    X(LIST_KEYS, 17, "")     \
    X(BARRIER, 18, "ki")

enum c10d_query {
#define X(name, opcode, fields) C10D_##name = (opcode),
    C10D_QUERIES(X)
#undef X
};
enum { C10D_QUERY_LAST = C10D_BARRIER };

/* Reply codes. */
enum { C10D_CHECK_READY = 0, C10D_CHECK_NOT_READY = 1 };
enum { C10D_WAIT_DONE = 0, C10D_WAIT_CANCELED = 1 };

/* A whole request. Slices are borrowed from the bytes that were decoded. */
struct c10d_request {
    enum c10d_query query;
    uint32_t count;         /* CHECK, WAIT, MULTI_GET: keys; MULTI_SET: pairs */
    int64_t number;         /* u32 or i64 field: magic, nonce, delta, world size */
    struct mu_slice key;    /* k */
    struct mu_slice value;  /* the first v: the value, or what COMPARE_SET expects */
    struct mu_slice second; /* the second v: what COMPARE_SET stores */
    struct mu_slice list;   /* K, P: encoded strings, taken out with c10d_take_str() */
};

/*
 * How far the decoding of one request has come; zeroed at the beginning of each. Positions count
 * from the request's first byte, so the bytes may be moved between two calls.
 */
struct c10d_scan {
    size_t need;   /* bytes of the request without which another call is useless */
    size_t pos;    /* in a list: where the first unchecked string begins; 0: not in a list */
    uint32_t left; /* in a list: strings not checked yet, a pair being two */
};

enum c10d_status { C10D_DONE, C10D_MORE, C10D_ERROR };

/*
 * Decode the request at the start of data[0..len), len > 0.
 *
 * C10D_DONE: `ret_request` and `ret_len`, the request's length, are written, `scan` is zeroed.
 * C10D_MORE: it is not complete; call again with the same bytes and more, at least `scan->need`.
 * C10D_ERROR: MU_E_PROTOCOL (unknown opcode) or MU_E_LIMIT (a length beyond muster/limits.h).
 *
 * The work of all calls for one request is linear in its size, however it is cut into pieces.
 */
enum c10d_status c10d_decode(struct c10d_scan *scan, const uint8_t *data, size_t len,
                             struct c10d_request *ret_request, size_t *ret_len, struct mu_err *err);

/*
 * After C10D_MORE: bytes that the request has at least beyond `scan->need`. Not needed for another
 * call, which may find the string at hand beyond a limit; but who has as many need not call sooner.
 */
size_t c10d_scan_rest(const struct c10d_scan *scan);

/* Takes the next string off a decoded request's list, which must not be empty. */
struct mu_slice c10d_take_str(struct mu_slice *list);

/* "SET", ...; `query` must be one of the enumeration. */
const char *c10d_query_name(enum c10d_query query);

/* Append to replies (and to requests): u64 length and bytes. */
void c10d_put_str(struct mu_buf *b, struct mu_slice s);

/*
 * `s` for a message: quoted, control and non-ASCII bytes as \xNN, cut short with "..." to fit.
 * Always NUL-terminated; size >= 16.
 */
void c10d_show(struct mu_slice s, char *text, size_t size);
