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
 *   2       -                       the server writes to one client that is ready, or begins to
 *   3       -                       the server writes to all of them, and ends what it began
 *   4       choices, two bytes      a request made of choices is sent, one byte of it damaged
 *   5..15   choices                 a request made of choices is sent
 *
 * What is sent stays on its way until the store is fed with it: a last byte chooses how much that
 * is, so that requests arrive in any pieces and several at once. Who has too much on its way, since
 * a request announced more than will ever come, closes at its next turn; when one has too much
 * unread, all are written to. When too much is held, which only a store without a limit allows,
 * that is the end.
 */
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/out_check.h"
#include "tests/fuzz/store_costs.h"
#include "tests/fuzz/store_model.h"
#include "tests/fuzz/wire_model.h"

enum {
    CLIENTS = STORE_MODEL_CLIENTS,
    LONGEST_INPUT = 4096,
    MAX_UNFINISHED = 20000,
    MAX_UNREAD = 50000,
    MAX_HELD = 50000,
};

/* What the model is fed with is never more than it can parse. */
_Static_assert(MAX_UNFINISHED + CHOICES_MAX_REQUEST + LONGEST_INPUT <= WIRE_MAX_BYTES, "too much");

uint64_t fuzz_steps;

struct world {
    struct store *store;
    struct store_model *model;
    struct store_client *clients[CLIENTS]; /* owned; each in memory of its own */
    struct mu_buf way[CLIENTS];            /* owned; sent and not arrived */
    struct store_out taken[CLIENTS];    /* owned; the server is about to write it, or has begun */
    struct mu_buf taken_bytes[CLIENTS]; /* owned; what that was when it was taken */
    struct mu_reader input;
    struct store_model_costs costs;
    uint64_t max_bytes;
    uint64_t random;
};

static const uint8_t hello[] = {C10D_VALIDATE, 0xce, 0xf7, 0x85, 0x3c};

/* ---- comparing ---- */

static uint64_t next_random(struct world *w)
{
    w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return w->random >> 32;
}

static void check_stats(const struct world *w)
{
    struct store_stats is = store_get_stats(w->store);
    struct store_stats should = store_model_stats(w->model);
    MU_REQUIRE(is.keys == should.keys);
    MU_REQUIRE(is.bytes == should.bytes);
    MU_REQUIRE(is.unread == should.unread);
    MU_REQUIRE(is.partial == should.partial);
    MU_REQUIRE(is.waiting == should.waiting);
    MU_REQUIRE(is.clients == should.clients);
    MU_REQUIRE(is.queries == should.queries);
    /* Nothing is refused to who takes a value away, though its record may be left with replies. */
    uint64_t records = is.unread / STORE_SHARE_FROM * w->costs.unread;
    MU_REQUIRE(w->max_bytes == 0 || is.bytes + is.unread <= w->max_bytes + records);
}

static void check(struct world *w)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct store_client *c = w->clients[i];
        struct mu_slice sent = out_check_bytes(&c->out, next_random(w));
        MU_REQUIRE(store_model_matches(w->model, i, sent));
        MU_REQUIRE(c->pid == store_model_pid(w->model, i));
        MU_REQUIRE((c->waits != NULL) == (c->waits_left > 0));
        MU_REQUIRE(c->partial.len == 0 || c->scan.need > c->partial.len);
    }
    check_stats(w);
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

/* The server takes what a client is to be sent, to write it bit by bit. */
static void take(struct world *w, size_t i)
{
    struct store_client *c = w->clients[i];
    struct mu_slice bytes = out_check_bytes(&c->out, next_random(w));
    MU_REQUIRE(w->taken_bytes[i].len == 0);
    mu_buf_append(&w->taken_bytes[i], bytes.ptr, bytes.len);
    w->taken[i] = c->out;
    c->out = (struct store_out){0};
    store_model_take(w->model, i);
}

/* What was taken has been written, or could not be; it is what it was. */
static void finish(struct world *w, size_t i)
{
    struct mu_slice bytes = out_check_bytes(&w->taken[i], next_random(w));
    struct mu_slice were = {.ptr = (const char *)w->taken_bytes[i].data,
                            .len = w->taken_bytes[i].len};
    MU_REQUIRE(mu_slice_eq(bytes, were));
    store_out_fini(&w->taken[i]);
    w->taken_bytes[i].len = 0;
    store_model_sent(w->model, i);
}

enum writing { AT_ONCE, BIT_BY_BIT };

static void write_to(struct world *w, size_t i, enum writing how)
{
    finish(w, i);
    if (how == BIT_BY_BIT) {
        take(w, i);
        return;
    }
    struct mu_buf spare = {0};
    store_out_clear(&w->clients[i]->out, &spare);
    mu_buf_fini(&spare);
    MU_REQUIRE(store_out_len(&w->clients[i]->out) == 0);
    store_model_take(w->model, i);
    store_model_sent(w->model, i);
}

/* The server writes to one client that is ready; false if there is none. */
static bool write_one(struct world *w, enum writing how)
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
    write_to(w, i, how);
    return true;
}

static void write_all(struct world *w)
{
    while (write_one(w, AT_ONCE)) {
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        finish(w, i);
        MU_REQUIRE(store_out_len(&w->clients[i]->out) == 0); /* nobody was forgotten */
    }
}

static void step(struct world *w)
{
    uint8_t op = mu_read_u8(&w->input);
    size_t i = op % 16 % CLIENTS;
    size_t before = w->way[i].len;
    if (store_out_len(&w->clients[i]->out) > MAX_UNREAD) {
        write_all(w);
    }
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
        write_one(w, op % 2 != 0 ? BIT_BY_BIT : AT_ONCE);
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
    write_all(w);
    MU_REQUIRE(store_get_stats(w->store).bytes == 0);
    MU_REQUIRE(store_get_stats(w->store).unread == 0);
}

static void end(struct world *w, bool is_store_first)
{
    if (is_store_first) {
        struct mu_err err = MU_ERR_INIT;
        for (size_t i = 0; i < CLIENTS; i += 2) {
            finish(w, i);
            take(w, i);
        }
        store_free(w->store);
        MU_REQUIRE(store_client_feed(w->clients[0], hello, 1, &err) == -1);
        MU_REQUIRE(err.code == MU_E_LOST);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        close_client(w, i);
        mu_buf_fini(&w->way[i]);
        finish(w, i);
        mu_buf_fini(&w->taken_bytes[i]);
    }
    if (!is_store_first) {
        check_stats(w);
        MU_REQUIRE(store_get_stats(w->store).unread == 0);
        MU_REQUIRE(store_get_stats(w->store).clients == 0);
        store_free(w->store);
    }
    store_model_free(w->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t limits[] = {0, 700, 2000, 6000, 0, 8000, 8000, 20000};
    static struct store_model_costs costs;
    if (costs.name == 0) {
        costs = store_costs_learn();
    }
    if (size < 2 || size > LONGEST_INPUT) {
        return 0;
    }
    /* The lower half of the settings came first, and the corpus with it. */
    uint64_t max_bytes = limits[data[0] % 4 + (data[0] & 16 ? 4 : 0)];
    struct world w = {
        .store = store_new(max_bytes),
        .model = store_model_new(max_bytes, costs),
        .input = mu_reader_of(data + 1, size - 1),
        .costs = costs,
        .max_bytes = max_bytes,
    };
    for (size_t i = 0; i < CLIENTS; i++) {
        open_client(&w, i);
        validate(&w, i);
    }
    while (mu_reader_left(&w.input) > 0 && store_get_stats(w.store).bytes < MAX_HELD) {
        step(&w);
        check(&w);
        fuzz_steps++;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        arrive(&w, i, w.way[i].len);
        check(&w);
    }
    if ((data[0] & 32) == 0) {
        write_all(&w);
    }
    if (data[0] % 8 >= 4) {
        empty(&w);
    }
    end(&w, data[0] % 16 >= 8);
    return 0;
}
