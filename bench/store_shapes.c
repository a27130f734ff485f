/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/store_shapes.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

#include <inttypes.h>

enum { KEY_ROOM = 64, LARGEST_VALUE = 4096, SMALL_VALUE = 16, NUMBER_SIZE = 8 };

static const struct shapes shapes[] = {
    {.name = "add", .step = SHAPES_ONE},
    {.name = "get16", .step = SHAPES_ONE, .value = SMALL_VALUE},
    {.name = "get4k", .step = SHAPES_ONE, .value = LARGEST_VALUE},
    {.name = "setget", .step = SHAPES_ONE, .value = SMALL_VALUE},
    {.name = "check", .step = SHAPES_ONE},
    {.name = "barrier", .step = SHAPES_BARRIER},
    {.name = "meet", .step = SHAPES_MEET},
    {.name = "connect", .step = SHAPES_CONNECT},
};

static const char value_bytes[LARGEST_VALUE];

const struct shapes *shapes_find(const char *name)
{
    for (size_t i = 0; i < MU_COUNT(shapes); i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

enum shapes_step shapes_step(const struct shapes *shape, enum shapes_server server)
{
    bool is_echoed = server == SHAPES_BARE && shape->step == SHAPES_BARRIER;
    return is_echoed ? SHAPES_ONE : shape->step;
}

bool shapes_has(const struct shapes *shape, enum shapes_server server)
{
    enum shapes_step step = shapes_step(shape, server);
    return step == SHAPES_ONE || step == SHAPES_CONNECT || server == SHAPES_C10D;
}

static bool is(const struct shapes *shape, const char *name)
{
    return strcmp(shape->name, name) == 0;
}

static struct mu_slice value_of(const struct shapes *shape)
{
    return (struct mu_slice){.ptr = value_bytes, .len = shape->value};
}

/* ---- c10d ---- */

static void put_query(struct mu_buf *out, enum c10d_query query, const char *key)
{
    mu_buf_append_u8(out, (uint8_t)query);
    c10d_put_str(out, mu_slice_of(key));
}

static void put_query_of_list(struct mu_buf *out, enum c10d_query query, const char *key)
{
    mu_buf_append_u8(out, (uint8_t)query);
    mu_buf_append_u64(out, 1);
    c10d_put_str(out, mu_slice_of(key));
}

static size_t c10d_request(const struct shapes *shape, unsigned number, struct mu_buf *out)
{
    char key[KEY_ROOM];
    if (is(shape, "add")) {
        put_query(out, C10D_ADD, "/counter");
        mu_buf_append_u64(out, 1);
        return NUMBER_SIZE;
    }
    if (is(shape, "barrier")) { /* of the echo server */
        shapes_barrier(0, 1, out);
        return 1;
    }
    if (is(shape, "check")) {
        put_query_of_list(out, C10D_CHECK, "/exception_dump");
        return 1;
    }
    snprintf(key, sizeof(key), is(shape, "setget") ? "/key/%u" : "/value", number);
    if (is(shape, "setget")) {
        put_query(out, C10D_SET, key);
        c10d_put_str(out, value_of(shape));
    }
    put_query(out, C10D_GET, key);
    return NUMBER_SIZE + shape->value;
}

static void turn_key(char key[KEY_ROOM], const char *what, uint64_t turn)
{
    snprintf(key, KEY_ROOM, "/%s/%" PRIu64, what, turn);
}

void shapes_barrier(uint64_t turn, unsigned world, struct mu_buf *out)
{
    char key[KEY_ROOM];
    turn_key(key, "barrier", turn);
    put_query(out, C10D_BARRIER, key);
    mu_buf_append_u64(out, world);
}

void shapes_meet_add(uint64_t turn, struct mu_buf *out)
{
    char key[KEY_ROOM];
    turn_key(key, "members", turn);
    put_query(out, C10D_ADD, key);
    mu_buf_append_u64(out, 1);
}

void shapes_meet_set(uint64_t turn, struct mu_buf *out)
{
    char key[KEY_ROOM];
    turn_key(key, "last", turn);
    put_query(out, C10D_SET, key);
    c10d_put_str(out, mu_slice_of("1"));
}

void shapes_meet_wait(uint64_t turn, struct mu_buf *out)
{
    char key[KEY_ROOM];
    turn_key(key, "last", turn);
    put_query_of_list(out, C10D_WAIT, key);
}

/* ---- redis ---- */

/* A command of one or two words, and maybe a value; RESP. */
static void put_command(struct mu_buf *out, const char *command, const char *key,
                        const struct mu_slice *value)
{
    mu_buf_printf(out, "*%d\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", value != NULL ? 3 : 2,
                  strlen(command), command, strlen(key), key);
    if (value != NULL) {
        mu_buf_printf(out, "$%zu\r\n", value->len);
        mu_buf_append(out, value->ptr, value->len);
        mu_buf_append(out, "\r\n", 2);
    }
}

/* "$4096\r\n" + value + "\r\n" */
static size_t bulk_size(size_t len)
{
    return (size_t)snprintf(NULL, 0, "$%zu\r\n", len) + len + 2;
}

static size_t redis_request(const struct shapes *shape, unsigned number, struct mu_buf *out)
{
    char key[KEY_ROOM];
    if (is(shape, "add")) {
        put_command(out, "INCR", "counter", NULL);
        return 0;
    }
    if (is(shape, "check")) {
        put_command(out, "EXISTS", "exception_dump", NULL);
        return 0;
    }
    snprintf(key, sizeof(key), is(shape, "setget") ? "key/%u" : "value", number);
    size_t answer = bulk_size(shape->value);
    if (is(shape, "setget")) {
        struct mu_slice value = value_of(shape);
        put_command(out, "SET", key, &value);
        answer += strlen("+OK\r\n");
    }
    put_command(out, "GET", key, NULL);
    return answer;
}

/* ---- all of them ---- */

size_t shapes_hello(enum shapes_server server, struct mu_buf *out)
{
    if (server == SHAPES_REDIS) {
        mu_buf_printf(out, "PING\r\n");
        return strlen("+PONG\r\n");
    }
    mu_buf_append_u8(out, C10D_VALIDATE);
    mu_buf_append_u32(out, C10D_MAGIC);
    mu_buf_append_u8(out, C10D_PING);
    mu_buf_append_u32(out, (uint32_t)getpid());
    return sizeof(uint32_t);
}

size_t shapes_prepare(const struct shapes *shape, enum shapes_server server, struct mu_buf *out)
{
    struct mu_slice value = value_of(shape);
    if (server == SHAPES_REDIS) {
        put_command(out, "SET", "value", &value);
        return strlen("+OK\r\n");
    }
    if (server == SHAPES_C10D) {
        put_query(out, C10D_SET, "/value");
        c10d_put_str(out, value);
        put_query(out, C10D_GET, "/value"); /* whose answer says that the value is there */
        return NUMBER_SIZE + value.len;
    }
    return 0;
}

size_t shapes_request(const struct shapes *shape, enum shapes_server server, unsigned number,
                      struct mu_buf *out)
{
    return server == SHAPES_REDIS ? redis_request(shape, number, out)
                                  : c10d_request(shape, number, out);
}

/* ---- connections that are kept ---- */

size_t shapes_hold_add(enum shapes_server server, struct mu_buf *out)
{
    if (server == SHAPES_REDIS) { /* INCRBY 0, whose answer has one length */
        struct mu_slice none = mu_slice_of("0");
        put_command(out, "INCRBY", "counter", &none);
        return strlen(":0\r\n");
    }
    put_query(out, C10D_ADD, "/counter");
    mu_buf_append_u64(out, 1);
    return NUMBER_SIZE;
}

size_t shapes_hold_wait(enum shapes_server server, struct mu_buf *out)
{
    if (server == SHAPES_REDIS) {
        put_command(out, "SUBSCRIBE", "release", NULL);
        return strlen("*3\r\n$9\r\nsubscribe\r\n$7\r\nrelease\r\n:1\r\n");
    }
    put_query_of_list(out, C10D_WAIT, "/release");
    mu_buf_append_u8(out, C10D_PING); /* whose answer says that the WAIT is known */
    mu_buf_append_u32(out, 1);
    return sizeof(uint32_t);
}

size_t shapes_hold_release(enum shapes_server server, struct mu_buf *out)
{
    struct mu_slice value = mu_slice_of("1");
    if (server == SHAPES_REDIS) {
        put_command(out, "PUBLISH", "release", &value);
        return strlen("*3\r\n$7\r\nmessage\r\n$7\r\nrelease\r\n$1\r\n1\r\n");
    }
    put_query(out, C10D_SET, "/release");
    c10d_put_str(out, value);
    return 1;
}
