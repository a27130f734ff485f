/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/wire_model.h"

#include "muster/mem.h"

enum { MAX_KEY = 8192, MAX_VALUE = 8388608, MAX_COUNT = 131072 };

struct cursor {
    const uint8_t *data; /* borrowed */
    size_t len;
    size_t pos;
    enum wire_status status; /* once it is not WIRE_WHOLE, nothing more is read */
};

static uint64_t number(struct cursor *c, size_t size)
{
    uint64_t v = 0;
    if (c->status != WIRE_WHOLE) {
        return 0;
    }
    if (c->len - c->pos < size) {
        c->status = WIRE_PART;
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        v |= (uint64_t)c->data[c->pos++] << (8 * i);
    }
    return v;
}

static void string(struct cursor *c, uint64_t limit, struct wire_request *ret)
{
    uint64_t n = number(c, 8);
    if (c->status != WIRE_WHOLE) {
        return;
    }
    if (n > limit) {
        c->status = WIRE_BAD;
    } else if (c->len - c->pos < n) {
        c->status = WIRE_PART;
    } else {
        ret->string[ret->strings++] =
            (struct mu_slice){.ptr = (const char *)c->data + c->pos, .len = n};
        c->pos += n;
    }
}

static void list(struct cursor *c, bool has_values, struct wire_request *ret)
{
    ret->count = number(c, 8);
    if (c->status == WIRE_WHOLE && ret->count > MAX_COUNT) {
        c->status = WIRE_BAD;
    }
    for (uint64_t i = 0; i < ret->count && c->status == WIRE_WHOLE; i++) {
        string(c, MAX_KEY, ret);
        if (has_values) {
            string(c, MAX_VALUE, ret);
        }
    }
}

enum wire_status wire_parse(const uint8_t *data, size_t len, struct wire_request *ret)
{
    MU_REQUIRE(len > 0 && len <= WIRE_MAX_BYTES);
    struct cursor c = {.data = data, .len = len, .pos = 1};
    ret->query = data[0];
    ret->number = 0;
    ret->count = 0;
    ret->strings = 0;
    switch (data[0]) {
    case 0:  /* VALIDATE */
    case 13: /* PING */
        ret->number = (int64_t)number(&c, 4);
        break;
    case 1:  /* SET */
    case 9:  /* APPEND */
    case 14: /* QUEUE_PUSH */
        string(&c, MAX_KEY, ret);
        string(&c, MAX_VALUE, ret);
        break;
    case 2: /* COMPARE_SET */
        string(&c, MAX_KEY, ret);
        string(&c, MAX_VALUE, ret);
        string(&c, MAX_VALUE, ret);
        break;
    case 3:  /* GET */
    case 8:  /* DELETE_KEY */
    case 15: /* QUEUE_POP */
    case 16: /* QUEUE_LEN */
        string(&c, MAX_KEY, ret);
        break;
    case 4:  /* ADD */
    case 18: /* BARRIER */
        string(&c, MAX_KEY, ret);
        ret->number = (int64_t)number(&c, 8);
        break;
    case 5:  /* CHECK */
    case 6:  /* WAIT */
    case 10: /* MULTI_GET */
        list(&c, false, ret);
        break;
    case 11: /* MULTI_SET */
        list(&c, true, ret);
        break;
    case 7:  /* GETNUMKEYS */
    case 12: /* CANCEL_WAIT */
    case 17: /* LIST_KEYS */
        break;
    default:
        c.status = WIRE_BAD;
        break;
    }
    ret->len = c.pos;
    return c.status;
}
