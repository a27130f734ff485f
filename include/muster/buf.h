/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: a growable buffer for what is built, and a bounded reader for what was received.
 *
 * Both speak little-endian, as c10d and the control protocol do. Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Some bytes that somebody else owns; not NUL-terminated. */
struct mu_slice {
    const char *ptr;
    size_t len;
};

#define MU_SLICE_FMT    "%.*s"
#define MU_SLICE_ARG(s) (int)(s).len, (s).ptr

struct mu_slice mu_slice_of(const char *text); /* borrows `text`; NULL is empty */
bool mu_slice_eq(struct mu_slice a, struct mu_slice b);
char *mu_slice_dup(struct mu_slice s); /* a NUL-terminated copy, owned by the caller */

struct mu_slice mu_slice_trim(struct mu_slice s); /* without the white space around it */

/*
 * The next entry of a list with commas between them, without white space around it. `*rest` is
 * moved behind it, and NULL behind the last one: then false is returned. Entries may be empty; the
 * empty text has one.
 */
bool mu_slice_next_entry(const char **rest, struct mu_slice *ret_entry);

/* Growable bytes. Zero-initialised is a valid empty buffer. */
struct mu_buf {
    uint8_t *data; /* owned */
    size_t len;
    size_t cap;
};

void mu_buf_fini(struct mu_buf *b);                      /* releases the memory; b is empty then */
uint8_t *mu_buf_reserve(struct mu_buf *b, size_t extra); /* room for `extra` bytes at the end */
void mu_buf_append(struct mu_buf *b, const void *data, size_t len);
void mu_buf_append_u8(struct mu_buf *b, uint8_t v);
void mu_buf_append_u16(struct mu_buf *b, uint16_t v);
void mu_buf_append_u32(struct mu_buf *b, uint32_t v);
void mu_buf_append_u64(struct mu_buf *b, uint64_t v);
void mu_buf_printf(struct mu_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mu_buf_consume(struct mu_buf *b, size_t n); /* drops the first n bytes; n <= len */

/* The bytes as a NUL-terminated text, owned by the caller; b is empty then. */
char *mu_buf_take_text(struct mu_buf *b);

/* Overwrite four bytes at `at`, which must have been appended before. */
void mu_buf_put_u32(struct mu_buf *b, size_t at, uint32_t v);

/*
 * Bounded reader. A read past the end sets `failed`, returns zeros, and all later reads fail too,
 * so a decoder may read a whole message and look at `failed` once.
 */
struct mu_reader {
    const uint8_t *pos; /* borrowed */
    const uint8_t *end;
    bool failed;
};

struct mu_reader mu_reader_of(const void *data, size_t len);
size_t mu_reader_left(const struct mu_reader *r);
uint8_t mu_read_u8(struct mu_reader *r);
uint16_t mu_read_u16(struct mu_reader *r);
uint32_t mu_read_u32(struct mu_reader *r);
uint64_t mu_read_u64(struct mu_reader *r);
struct mu_slice mu_read_bytes(struct mu_reader *r, size_t n); /* borrows from the input */
