/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of store_model.h: what the model holds, in one list.
 *
 * Threading: one thread.
 */
#pragma once

#include "tests/fuzz/store_model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind { VALUE, ITEM, WAIT };
enum { HELD_NOT_FOUND = -1 };

/* A key's value; a value in its queue; or that a client waits for it. Oldest first, per kind. */
struct held {
    enum kind kind;
    struct mu_slice key;   /* owned */
    struct mu_slice bytes; /* owned; of VALUE and ITEM */
    size_t client;         /* of WAIT */
    uint64_t version;      /* of VALUE and ITEM: these bytes have been stored once */
};

/* Where in `out` the keys of a LIST_KEYS are: they come in any order. */
struct span {
    size_t from;
    size_t to;
};

/* Large values that replies refer to; each once. */
struct referred {
    struct {
        uint64_t version;
        size_t len;
    } * values;
    size_t count;
};

struct model_client {
    struct mu_buf in;  /* a request that has come in part */
    struct mu_buf out; /* what it is sent */
    struct span *lists;
    size_t list_count;
    struct referred referred; /* by `out` */
    uint64_t waits; /* keys that its pending WAIT or BARRIER was registered for; 0: none pending */
    uint32_t pid;
    bool is_open;
    bool is_validated;
};

struct store_model {
    uint64_t max_bytes;
    struct store_model_costs costs;
    struct held *held;
    size_t count;
    size_t room;
    uint64_t queries;
    uint64_t versions; /* stored so far */
    struct model_client clients[STORE_MODEL_CLIENTS];
    struct referred taken[STORE_MODEL_CLIENTS]; /* by replies that are being sent */
};

/* The first entry of its kind for the key, or HELD_NOT_FOUND. */
ptrdiff_t held_find(const struct store_model *m, enum kind kind, struct mu_slice key);

/* Has the key a value, or a queue that is not empty? */
bool held_is_present(const struct store_model *m, struct mu_slice key);

/* `h` is copied to the end, with its key and bytes. */
void held_add(struct store_model *m, struct held h);
void held_drop(struct store_model *m, size_t i);

/* A reply refers to the value, if it is large. */
void held_refer(struct referred *r, const struct held *h);

/* What only replies refer to, as store_stats.unread has it. */
uint64_t held_unread(const struct store_model *m);

/* Bytes by which everything grows when the key's value is replaced by one of `len` bytes. */
uint64_t held_growth(const struct store_model *m, struct mu_slice key, size_t len);

/* Give the key a value, which is copied, in place of the one it has. */
void held_set_value(struct store_model *m, struct mu_slice key, struct mu_slice value);

/* Everything charged, as store_stats.bytes has it. */
uint64_t held_bytes(const struct store_model *m);

/* May the store, with what is unread, grow by so much? And with bytes for a key, which may be a new
 * one? */
bool held_has_room(const struct store_model *m, uint64_t more);
bool held_has_room_at(const struct store_model *m, struct mu_slice key, uint64_t more);

uint64_t held_keys(const struct store_model *m);
uint64_t held_items(const struct store_model *m, struct mu_slice key);
