/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of a store for unit tests: what they send, and what they must have been sent.
 *
 * Messages are described by a format: b u8, u u32, i i64, s string (u64 length and bytes of a
 * char *), x raw hex digits. Everything a peer sends goes in pieces of `peer_piece` bytes.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store.h"
#include "tests/store_replies.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/* Bytes per store_client_feed(); 0: all in one. */
static size_t peer_piece;

static inline unsigned hex_digit(char ch)
{
    const char *digits = "0123456789abcdef";
    const char *at = strchr(digits, ch);
    assert_non_null(at);
    return (unsigned)(at - digits);
}

static inline void put_hex(struct mu_buf *b, const char *hex)
{
    for (; hex[0] != '\0'; hex += 2) {
        mu_buf_append_u8(b, (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1])));
    }
}

static inline void put_format(struct mu_buf *b, const char *format, va_list args)
{
    for (; *format != '\0'; format++) {
        switch (*format) {
        case 'b':
            mu_buf_append_u8(b, (uint8_t)va_arg(args, int));
            break;
        case 'u':
            mu_buf_append_u32(b, va_arg(args, uint32_t));
            break;
        case 'i':
            mu_buf_append_u64(b, (uint64_t)va_arg(args, int64_t));
            break;
        case 's':
            c10d_put_str(b, mu_slice_of(va_arg(args, const char *)));
            break;
        default:
            assert_int_equal(*format, 'x');
            put_hex(b, va_arg(args, const char *));
            break;
        }
    }
}

static inline int peer_feed(struct store_client *c, const uint8_t *data, size_t len,
                            struct mu_err *err)
{
    size_t piece = peer_piece > 0 ? peer_piece : len;
    for (size_t at = 0; at < len; at += piece) {
        /* A copy of its own: reading beyond what was fed is then an error that tools see. */
        size_t n = len - at < piece ? len - at : piece;
        uint8_t *copy = mu_alloc(n);
        memcpy(copy, data + at, n);
        int rc = store_client_feed(c, copy, n, err);
        free(copy);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* Send what must be accepted. */
static inline void peer_send(struct store_client *c, const char *format, ...)
{
    struct mu_buf b = {0};
    va_list args;
    va_start(args, format);
    put_format(&b, format, args);
    va_end(args);
    struct mu_err err = MU_ERR_INIT;
    if (peer_feed(c, b.data, b.len, &err) != 0) {
        fail_msg("refused: %s", err.text);
    }
    mu_buf_fini(&b);
}

/* Send what must be refused, with `code` and a message that contains `words`. */
static inline void peer_send_refused(struct store_client *c, enum mu_err_code code,
                                     const char *words, const char *format, ...)
{
    struct mu_buf b = {0};
    va_list args;
    va_start(args, format);
    put_format(&b, format, args);
    va_end(args);
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(peer_feed(c, b.data, b.len, &err), -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, words) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, words);
    }
    mu_buf_fini(&b);
}

/* Exactly this must be in `out`, which is then empty. */
static inline void peer_expect(struct store_client *c, const char *format, ...)
{
    struct mu_buf b = {0};
    va_list args;
    va_start(args, format);
    put_format(&b, format, args);
    va_end(args);
    struct mu_buf replies = store_replies(c);
    assert_int_equal(replies.len, b.len);
    if (b.len > 0) {
        assert_memory_equal(replies.data, b.data, b.len);
    }
    mu_buf_fini(&b);
    mu_buf_fini(&replies);
}

static inline void peer_expect_nothing(struct store_client *c)
{
    peer_expect(c, "");
}

/* Attach and validate. */
static inline void peer_join(struct store_client *c, struct store *s)
{
    store_client_init(c, s);
    peer_send(c, "bu", C10D_VALIDATE, C10D_MAGIC);
    peer_expect_nothing(c);
}
