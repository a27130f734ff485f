/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store under arbitrary clients. The input is a list of steps, each a byte and, for some, more:
 *
 *   0xxx xccc  length byte, bytes   client c sends these bytes
 *   10xx xccc  choices              client c sends a request made of small choices (see below)
 *   110x xccc                       client c closes, and another takes its place
 *   111x xxxx                       the server writes what is ready
 *
 * Free bytes reach the decoder's corners; made requests reach the store's, where the same few keys
 * must meet each other.
 */
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store.h"
#include "tests/store_replies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENTS = 8, MAX_BYTES = 6000 };

struct world {
    struct store *store;
    struct store_client *clients[CLIENTS]; /* owned; each in memory of its own */
    struct mu_reader input;
};

static void close_client(struct store_client *c)
{
    store_client_fini(c);
    free(c);
}

static struct store_client *open_client(struct store *s, bool is_validated)
{
    struct store_client *c = mu_alloc(sizeof(*c));
    store_client_init(c, s);
    if (is_validated) {
        static const uint8_t hello[] = {0x00, 0xce, 0xf7, 0x85, 0x3c};
        MU_REQUIRE(store_client_feed(c, hello, sizeof(hello), NULL) == 0);
    }
    return c;
}

/* From memory that ends where the data ends; a client that is refused is closed, as a server does.
 */
static void feed(struct world *w, size_t index, const void *data, size_t len)
{
    struct store_client *c = w->clients[index];
    struct mu_err err = MU_ERR_INIT;
    uint8_t *copy = mu_alloc(len);
    memcpy(copy, data, len);
    int rc = store_client_feed(c, copy, len, &err);
    free(copy);
    MU_REQUIRE((rc != 0) == (err.code != MU_E_NONE));
    if (rc != 0) {
        MU_REQUIRE(err.code == MU_E_PROTOCOL || err.code == MU_E_LIMIT);
        MU_REQUIRE(c->is_broken && c->waits == NULL);
        close_client(c);
        w->clients[index] = open_client(w->store, true);
    }
}

static void put_key(struct mu_buf *b, uint8_t choice)
{
    static const char *const keys[] = {"/a", "/b", "/c", ""};
    c10d_put_str(b, mu_slice_of(keys[choice % MU_COUNT(keys)]));
}

static void put_value(struct mu_buf *b, uint8_t choice)
{
    static const char *const values[] = {"",  "1",   "-5", "9223372036854775807",
                                         "x", "12a", "v",  "a value that is longer than a counter"};
    c10d_put_str(b, mu_slice_of(values[choice % MU_COUNT(values)]));
}

/* A well-formed request: query, then a byte of choice per field, cut at a chosen place. */
static void feed_request(struct world *w, size_t index)
{
    static const char *const fields[] = {
#define X(name, opcode, fields) [opcode] = (fields),
        C10D_QUERIES(X)
#undef X
    };
    struct mu_buf b = {0};
    uint8_t query = mu_read_u8(&w->input) % (C10D_QUERY_LAST + 1);
    mu_buf_append_u8(&b, query);
    for (const char *f = fields[query]; *f != '\0'; f++) {
        uint8_t choice = mu_read_u8(&w->input);
        uint64_t count = choice % 5;
        switch (*f) {
        case 'u':
            mu_buf_append_u32(&b, choice);
            break;
        case 'i':
            mu_buf_append_u64(&b, (uint64_t)(choice - INT64_C(8)));
            break;
        case 'k':
            put_key(&b, choice);
            break;
        case 'v':
            put_value(&b, choice);
            break;
        default:
            mu_buf_append_u64(&b, count);
            for (; count > 0; count--) {
                put_key(&b, mu_read_u8(&w->input));
                if (*f == 'P') {
                    put_value(&b, mu_read_u8(&w->input));
                }
            }
            break;
        }
    }
    size_t cut = mu_read_u8(&w->input) % (b.len + 1);
    struct store_client *c = w->clients[index];
    if (cut > 0) {
        feed(w, index, b.data, cut);
    }
    if (cut < b.len && w->clients[index] == c) {
        feed(w, index, b.data + cut, b.len - cut);
    }
    mu_buf_fini(&b);
}

static void take_ready(struct world *w)
{
    const struct store_client *c;
    while ((c = store_take_ready(w->store)) != NULL) {
        size_t i = 0;
        while (i < CLIENTS && w->clients[i] != c) {
            i++;
        }
        MU_REQUIRE(i < CLIENTS); /* one that is open */
        MU_REQUIRE(!c->is_ready && store_out_len(&c->out) > 0);
        store_out_fini(&w->clients[i]->out);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        MU_REQUIRE(store_out_len(&w->clients[i]->out) == 0); /* nothing was forgotten */
    }
}

static void check(const struct world *w)
{
    struct store_stats stats = store_get_stats(w->store);
    uint64_t waiting = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct store_client *c = w->clients[i];
        waiting += c->waits != NULL;
        MU_REQUIRE((c->waits != NULL) == (c->waits_left > 0));
        MU_REQUIRE(c->waits_left <= c->waits_count);
        MU_REQUIRE(c->partial.len == 0 || c->scan.need > c->partial.len);
    }
    MU_REQUIRE(stats.clients == CLIENTS);
    MU_REQUIRE(stats.waiting == waiting);
    MU_REQUIRE(stats.bytes <= MAX_BYTES);
}

static void step(struct world *w)
{
    uint8_t op = mu_read_u8(&w->input);
    size_t index = op % CLIENTS;
    if (op < 0x80) {
        size_t len = mu_read_u8(&w->input);
        size_t left = mu_reader_left(&w->input);
        struct mu_slice bytes = mu_read_bytes(&w->input, len < left ? len : left);
        feed(w, index, bytes.ptr, bytes.len);
    } else if (op < 0xC0) {
        feed_request(w, index);
    } else if (op < 0xE0) {
        close_client(w->clients[index]);
        w->clients[index] = open_client(w->store, op % 16 < 12);
    } else {
        take_ready(w);
    }
}

/* Everything is deleted by one who does not wait: then nothing may be left. */
static void check_that_it_empties(struct world *w)
{
    for (size_t i = 1; i < CLIENTS; i++) {
        close_client(w->clients[i]);
    }
    close_client(w->clients[0]);
    w->clients[0] = open_client(w->store, true);
    MU_REQUIRE(store_get_stats(w->store).waiting == 0);
    struct store_client *c = w->clients[0];
    const uint8_t list[] = {C10D_LIST_KEYS};
    MU_REQUIRE(store_client_feed(c, list, sizeof(list), NULL) == 0);
    struct mu_buf listed = store_replies(c);
    struct mu_slice keys = {.ptr = (const char *)listed.data + sizeof(uint64_t),
                            .len = listed.len - sizeof(uint64_t)};
    while (keys.len > 0) {
        struct mu_buf b = {0};
        mu_buf_append_u8(&b, C10D_DELETE_KEY);
        c10d_put_str(&b, c10d_take_str(&keys));
        MU_REQUIRE(store_client_feed(c, b.data, b.len, NULL) == 0);
        struct mu_buf deleted = store_replies(c);
        MU_REQUIRE(deleted.len == sizeof(uint64_t) && deleted.data[0] == 1);
        mu_buf_fini(&deleted);
        mu_buf_fini(&b);
    }
    mu_buf_fini(&listed);
    MU_REQUIRE(store_get_stats(w->store).keys == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.store = store_new(MAX_BYTES), .input = mu_reader_of(data, size)};
    for (size_t i = 0; i < CLIENTS; i++) {
        w.clients[i] = open_client(w.store, true);
    }
    bool is_store_first = size % 2 == 1;
    while (mu_reader_left(&w.input) > 0) {
        step(&w);
        check(&w);
    }
    if (is_store_first) {
        store_free(w.store);
        for (size_t i = 0; i < CLIENTS; i++) {
            MU_REQUIRE(store_client_feed(w.clients[i], "", 1, NULL) == -1);
            close_client(w.clients[i]);
        }
    } else {
        check_that_it_empties(&w);
        close_client(w.clients[0]);
        store_free(w.store);
    }
    return 0;
}
