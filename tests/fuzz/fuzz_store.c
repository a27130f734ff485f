/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations against the model: after every step each client must have been sent what
 * the model says, byte for byte, and the store must hold as much as the model.
 *
 * The input is a byte of settings, then steps. A step is a byte, whose lower half chooses the
 * client and whose upper half what happens:
 *
 *   0       length byte, bytes      these bytes are sent
 *   1       choice                  it closes, and another takes its place
 *   2       -                       the server writes to one client that is ready
 *   3       -                       the server writes to all of them
 *   4       choices, two bytes      a request made of choices is sent, one byte of it damaged
 *   5..15   choices                 a request made of choices is sent
 *
 * What is sent stays on its way until the store is fed with it: a last byte chooses how much that
 * is, so that requests arrive in any pieces and several at once. Who has too much on its way, since
 * a request announced more than will ever come, closes at its next turn.
 */
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/store_model.h"
#include "tests/fuzz/wire_model.h"

enum { CLIENTS = STORE_MODEL_CLIENTS, LONGEST_INPUT = 4096, MAX_UNFINISHED = 20000 };

/* What the model is fed with is never more than it can parse. */
_Static_assert(MAX_UNFINISHED + CHOICES_MAX_REQUEST + LONGEST_INPUT <= WIRE_MAX_BYTES, "too much");

uint64_t fuzz_steps;

struct world {
    struct store *store;
    struct store_model *model;
    struct store_client *clients[CLIENTS]; /* owned; each in memory of its own */
    struct mu_buf way[CLIENTS];            /* owned; sent and not arrived */
    struct mu_reader input;
};

static const uint8_t hello[] = {C10D_VALIDATE, 0xce, 0xf7, 0x85, 0x3c};

/* ---- comparing ---- */

static void check(const struct world *w)
{
    struct store_stats is = store_get_stats(w->store);
    struct store_stats should = store_model_stats(w->model);
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct store_client *c = w->clients[i];
        struct mu_slice sent = {.ptr = (const char *)c->out.bytes.data, .len = c->out.bytes.len};
        MU_REQUIRE(store_model_matches(w->model, i, sent));
        MU_REQUIRE(c->pid == store_model_pid(w->model, i));
        MU_REQUIRE((c->waits != NULL) == (c->waits_left > 0));
        MU_REQUIRE(c->partial.len == 0 || c->scan.need > c->partial.len);
    }
    MU_REQUIRE(is.keys == should.keys);
    MU_REQUIRE(is.bytes == should.bytes);
    MU_REQUIRE(is.waiting == should.waiting);
    MU_REQUIRE(is.clients == should.clients);
    MU_REQUIRE(is.queries == should.queries);
}

/* ---- clients ---- */

static void open_client(struct world *w, size_t i)
{
    w->clients[i] = mu_alloc(sizeof(*w->clients[i]));
    store_client_init(w->clients[i], w->store);
    store_model_open(w->model, i);
}

static void close_client(struct world *w, size_t i)
{
    store_client_fini(w->clients[i]);
    free(w->clients[i]);
    store_model_close(w->model, i);
    w->way[i].len = 0;
}

static void validate(struct world *w, size_t i)
{
    MU_REQUIRE(store_client_feed(w->clients[i], hello, sizeof(hello), NULL) == 0);
    MU_REQUIRE(store_model_feed(w->model, i, hello, sizeof(hello)));
}

/* A client that is refused stays refused, and is closed, as a server does. */
static void replace_broken(struct world *w, size_t i, const struct mu_err *err)
{
    struct mu_err again = MU_ERR_INIT;
    MU_REQUIRE(err->code == MU_E_PROTOCOL || err->code == MU_E_LIMIT);
    check(w);
    MU_REQUIRE(store_client_feed(w->clients[i], hello, sizeof(hello), &again) == -1);
    MU_REQUIRE(again.code == MU_E_PROTOCOL);
    check(w);
    close_client(w, i);
    open_client(w, i);
    validate(w, i);
}

/* The first `len` bytes on the way arrive, in memory that ends where they end. */
static void arrive(struct world *w, size_t i, size_t len)
{
    struct mu_err err;
    err.code = MU_E_NONE;
    uint8_t *data = mu_realloc(NULL, len);
    if (len > 0) {
        memcpy(data, w->way[i].data, len);
    }
    mu_buf_consume(&w->way[i], len);
    int rc = store_client_feed(w->clients[i], data, len, &err);
    bool is_accepted = store_model_feed(w->model, i, data, len);
    free(data);
    MU_REQUIRE((rc == 0) == is_accepted);
    MU_REQUIRE((rc != 0) == (err.code != MU_E_NONE));
    if (rc != 0) {
        replace_broken(w, i, &err);
    }
}

static void arrive_in_part(struct world *w, size_t i)
{
    uint8_t choice = mu_read_u8(&w->input);
    size_t len = w->way[i].len;
    arrive(w, i, choice >= 96 ? len : choice % (len + 1));
}

/* ---- steps ---- */

static void damage(struct mu_buf *b, size_t from, struct mu_reader *input)
{
    size_t at = from + mu_read_u8(input) % (b->len - from);
    b->data[at] = mu_read_u8(input);
}

/* The server writes to one client that is ready; false if there is none. */
static bool write_one(struct world *w)
{
    const struct store_client *c = store_take_ready(w->store);
    if (c == NULL) {
        return false;
    }
    size_t i = 0;
    while (i < CLIENTS && w->clients[i] != c) {
        i++;
    }
    MU_REQUIRE(i < CLIENTS); /* one that is open */
    MU_REQUIRE(!c->is_ready && store_out_len(&c->out) > 0);
    store_out_fini(&w->clients[i]->out);
    store_model_drain(w->model, i);
    return true;
}

static void write_all(struct world *w)
{
    while (write_one(w)) {
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        MU_REQUIRE(store_out_len(&w->clients[i]->out) == 0); /* nobody was forgotten */
    }
}

static void step(struct world *w)
{
    uint8_t op = mu_read_u8(&w->input);
    size_t i = op % 16 % CLIENTS;
    size_t before = w->way[i].len;
    bool is_stuck = before + w->clients[i]->partial.len > MAX_UNFINISHED;
    if (op / 16 == 0) {
        size_t len = mu_read_u8(&w->input) % 64U;
        size_t left = mu_reader_left(&w->input);
        struct mu_slice bytes = mu_read_bytes(&w->input, len < left ? len : left);
        mu_buf_append(&w->way[i], bytes.ptr, bytes.len);
    } else if (op / 16 == 1 || is_stuck) {
        close_client(w, i);
        open_client(w, i);
        if (mu_read_u8(&w->input) < 224) {
            mu_buf_append(&w->way[i], hello, sizeof(hello));
        }
    } else if (op / 16 == 2) {
        write_one(w);
        return;
    } else if (op / 16 == 3) {
        write_all(w);
        return;
    } else {
        choices_put_request(&w->way[i], &w->input);
        if (op / 16 == 4) {
            damage(&w->way[i], before, &w->input);
        }
    }
    arrive_in_part(w, i);
}

/* ---- the end ---- */

/* What is found in the model is taken out of the store: then nothing may be left. */
static void empty(struct world *w)
{
    struct mu_slice key;
    bool is_queue;
    for (size_t i = 0; i < CLIENTS; i++) {
        close_client(w, i);
        open_client(w, i);
        validate(w, i);
        check(w);
    }
    while (store_model_any(w->model, &key, &is_queue)) {
        mu_buf_append_u8(&w->way[0], is_queue ? C10D_QUEUE_POP : C10D_DELETE_KEY);
        c10d_put_str(&w->way[0], key);
        arrive(w, 0, w->way[0].len);
        check(w);
        write_all(w);
    }
    MU_REQUIRE(store_get_stats(w->store).bytes == 0);
}

static void end(struct world *w, bool is_store_first)
{
    if (is_store_first) {
        struct mu_err err = MU_ERR_INIT;
        store_free(w->store);
        MU_REQUIRE(store_client_feed(w->clients[0], hello, 1, &err) == -1);
        MU_REQUIRE(err.code == MU_E_LOST);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        close_client(w, i);
        mu_buf_fini(&w->way[i]);
    }
    if (!is_store_first) {
        MU_REQUIRE(store_get_stats(w->store).clients == 0);
        store_free(w->store);
    }
    store_model_free(w->model);
}

static uint64_t bytes_after(struct store_client *c, struct mu_slice request)
{
    MU_REQUIRE(store_client_feed(c, request.ptr, request.len, NULL) == 0);
    return store_get_stats(c->store).bytes;
}

/* What records cost, learned from a store of its own. */
static struct store_model_costs learn_costs(void)
{
#define REQUEST(bytes) ((struct mu_slice){.ptr = (bytes), .len = sizeof(bytes) - 1})
#define ONE            "\1\0\0\0\0\0\0\0"
#define EMPTY          "\0\0\0\0\0\0\0\0"
    struct store *s = store_new(0);
    struct store_client c;
    store_client_init(&c, s);
    MU_REQUIRE(store_client_feed(&c, hello, sizeof(hello), NULL) == 0);
    struct store_model_costs costs;
    costs.name = bytes_after(&c, REQUEST("\x01" EMPTY EMPTY));
    costs.item = bytes_after(&c, REQUEST("\x0e" EMPTY EMPTY)) - costs.name;
    uint64_t before = costs.name + costs.item;
    costs.wait = bytes_after(&c, REQUEST("\x06" ONE ONE "k")) - before - costs.name - 1;
    MU_REQUIRE(costs.name < 256 && costs.item < 64 && costs.wait > 0 && costs.wait < 64);
    store_client_fini(&c);
    store_free(s);
    return costs;
#undef REQUEST
#undef ONE
#undef EMPTY
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t limits[] = {0, 700, 2000, 6000};
    static struct store_model_costs costs;
    if (costs.name == 0) {
        costs = learn_costs();
    }
    if (size < 2 || size > LONGEST_INPUT) {
        return 0;
    }
    uint64_t max_bytes = limits[data[0] % MU_COUNT(limits)];
    struct world w = {
        .store = store_new(max_bytes),
        .model = store_model_new(max_bytes, costs),
        .input = mu_reader_of(data + 1, size - 1),
    };
    for (size_t i = 0; i < CLIENTS; i++) {
        open_client(&w, i);
        validate(&w, i);
    }
    while (mu_reader_left(&w.input) > 0) {
        step(&w);
        check(&w);
        fuzz_steps++;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        arrive(&w, i, w.way[i].len);
        check(&w);
    }
    write_all(&w);
    if (data[0] % 8 >= 4) {
        empty(&w);
    }
    end(&w, data[0] % 16 >= 8);
    return 0;
}
