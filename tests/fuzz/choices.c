/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/choices.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

#include <stdio.h>
#include <string.h>

enum { LONG_KEY = 8192, FEW_LARGE = 8192 };

static void put_key(struct mu_buf *b, uint8_t choice)
{
    static const char *const keys[] = {"/a", "/b", "/c", ""};
    static const char long_key[LONG_KEY] = {'/', '\0', 'k'};
    char text[8];
    if (choice < 216) {
        c10d_put_str(b, mu_slice_of(keys[choice % MU_COUNT(keys)]));
    } else if (choice < 248) {
        snprintf(text, sizeof(text), "/%u", choice);
        c10d_put_str(b, mu_slice_of(text));
    } else if (choice < 253) { /* alike in their first 16 bytes, and with NULs */
        c10d_put_str(b, (struct mu_slice){.ptr = long_key, .len = choice - 230U});
    } else if (choice < 254) {
        size_t len = b->len < LONG_KEY ? sizeof(long_key) : 1; /* not many of them */
        c10d_put_str(b, (struct mu_slice){.ptr = long_key, .len = len});
    } else {
        mu_buf_append_u64(b, choice == 254 ? LONG_KEY + 1 : UINT64_MAX - 8);
    }
}

/* Bytes that differ from choice to choice, and from place to place. */
static void put_long(struct mu_buf *b, uint8_t choice, size_t len)
{
    mu_buf_append_u64(b, len);
    uint8_t *p = mu_buf_reserve(b, len);
    memset(p, choice, len);
    for (size_t i = 0; i < len; i += 61) {
        p[i] = (uint8_t)(i >> 4);
    }
    b->len += len;
}

static void put_value(struct mu_buf *b, uint8_t choice)
{
    static const char *const values[] = {
        "",
        "1",
        "-5",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        " \t+7 ",
        "x",
        "12a",
        "-",
        "v",
        "0000000000000000000000003",
        "1",
        "22",
        "-333",
        "a value that is longer than a counter, and than a small one",
    };
    /* From 1024 bytes on replies refer to a value instead of copying it. */
    static const uint16_t large[] = {1024, 1023, 1500, 1024, 1025, 2100, 1100, 3000};
    if (choice < 200) {
        c10d_put_str(b, mu_slice_of(values[choice % MU_COUNT(values)]));
    } else if (choice < 216) {
        put_long(b, choice, (choice - 199U) * 40U);
    } else if (choice < 254) { /* not many of them: a request has a greatest length */
        bool has_many = b->len > FEW_LARGE;
        put_long(b, choice, has_many ? 60U : large[choice % MU_COUNT(large)]);
    } else {
        mu_buf_append_u64(b, choice == 254 ? 8388609 : 1ULL << 63);
    }
}

static void put_list(struct mu_buf *b, struct mu_reader *input, uint8_t choice, bool has_values)
{
    uint64_t count = choice < 240 ? choice % 5 : choice < 252 ? choice - 230U : 0;
    if (choice == 252) { /* enough names to make the table grow */
        mu_buf_append_u64(b, 100);
        for (int i = 0; i < 100; i++) {
            char text[8];
            snprintf(text, sizeof(text), "/n%d", i);
            c10d_put_str(b, mu_slice_of(text));
            if (has_values) {
                c10d_put_str(b, mu_slice_of("1"));
            }
        }
        return;
    }
    mu_buf_append_u64(b, choice == 253 ? 131073 : choice == 254 ? 131072 : count);
    for (; count > 0; count--) {
        put_key(b, mu_read_u8(input));
        if (has_values) {
            put_value(b, mu_read_u8(input));
        }
    }
}

void choices_put_request(struct mu_buf *b, struct mu_reader *input)
{
    static const char *const fields[] = {
#define X(name, opcode, fields) [opcode] = (fields),
        C10D_QUERIES(X)
#undef X
    };
    uint8_t query = mu_read_u8(input) % (C10D_QUERY_LAST + 1);
    size_t before = b->len;
    mu_buf_append_u8(b, query);
    for (const char *f = fields[query]; *f != '\0'; f++) {
        uint8_t choice = mu_read_u8(input);
        int64_t number = choice % 16 - INT64_C(5);
        switch (*f) {
        case 'u':
            mu_buf_append_u32(b, choice < 128 ? C10D_MAGIC : choice);
            break;
        case 'i':
            number = choice == 255 ? INT64_MAX : choice == 254 ? INT64_MIN : number;
            mu_buf_append_u64(b, (uint64_t)number);
            break;
        case 'k':
            put_key(b, choice);
            break;
        case 'v':
            put_value(b, choice);
            break;
        default:
            put_list(b, input, choice, *f == 'P');
            break;
        }
    }
    MU_REQUIRE(b->len - before < CHOICES_MAX_REQUEST);
}
