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
};

/* Where in `out` the keys of a LIST_KEYS are: they come in any order. */
struct span {
    size_t from;
    size_t to;
};

struct model_client {
    struct mu_buf in;  /* a request that has come in part */
    struct mu_buf out; /* what it is sent */
    struct span *lists;
    size_t list_count;
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
    struct model_client clients[STORE_MODEL_CLIENTS];
};

/* The first entry of its kind for the key, or HELD_NOT_FOUND. */
ptrdiff_t held_find(const struct store_model *m, enum kind kind, struct mu_slice key);

/* Has the key a value, or a queue that is not empty? */
bool held_is_present(const struct store_model *m, struct mu_slice key);

/* `h` is copied to the end, with its key and bytes. */
void held_add(struct store_model *m, struct held h);
void held_drop(struct store_model *m, size_t i);

/* Give the key a value, which is copied, in place of the one it has. */
void held_set_value(struct store_model *m, struct mu_slice key, struct mu_slice value);

/* Everything charged, as store_stats.bytes has it. */
uint64_t held_bytes(const struct store_model *m);

/* May the store grow by so much? And with bytes for a key, which may be a new one? */
bool held_has_room(const struct store_model *m, uint64_t more);
bool held_has_room_at(const struct store_model *m, struct mu_slice key, uint64_t more);

uint64_t held_keys(const struct store_model *m);
uint64_t held_items(const struct store_model *m, struct mu_slice key);
