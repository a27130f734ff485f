/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/buf.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void test_slices(void **state)
{
    (void)state;
    struct mu_slice abc = mu_slice_of("abc");
    assert_int_equal(abc.len, 3);
    assert_int_equal(mu_slice_of(NULL).len, 0);
    assert_non_null(mu_slice_of(NULL).ptr);
    assert_true(mu_slice_eq(abc, (struct mu_slice){.ptr = "abcd", .len = 3}));
    assert_false(mu_slice_eq(abc, mu_slice_of("abd")));
    assert_false(mu_slice_eq(abc, mu_slice_of("abcd")));
    assert_true(mu_slice_eq((struct mu_slice){0}, mu_slice_of("")));
    mu_autofree char *copy = mu_slice_dup((struct mu_slice){.ptr = "a\0b", .len = 3});
    assert_memory_equal(copy, "a\0b", 4);
    mu_autofree char *none = mu_slice_dup((struct mu_slice){0});
    assert_string_equal(none, "");
}

static void test_entries(void **state)
{
    (void)state;
    static const char *const want[] = {"a", "", "b c", "", ""};
    const char *rest = " a,,\tb c ,  ,";
    struct mu_slice entry;
    for (size_t i = 0; i < MU_COUNT(want); i++) {
        assert_true(mu_slice_next_entry(&rest, &entry));
        assert_true(mu_slice_eq(entry, mu_slice_of(want[i])));
    }
    assert_false(mu_slice_next_entry(&rest, &entry));
    rest = "";
    assert_true(mu_slice_next_entry(&rest, &entry));
    assert_int_equal(entry.len, 0);
    assert_false(mu_slice_next_entry(&rest, &entry));
    rest = NULL;
    assert_false(mu_slice_next_entry(&rest, &entry));
}

static void test_append_is_little_endian(void **state)
{
    (void)state;
    static const uint8_t expected[] = {1, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8,
                                       7, 6,    5,    4,    3,    2,    1};
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, 1);
    mu_buf_append_u16(&b, 0x1234);
    mu_buf_append_u32(&b, 0x12345678);
    mu_buf_append_u64(&b, 0x0102030405060708);
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
    mu_buf_put_u32(&b, 3, 0xa1b2c3d4);
    assert_int_equal(b.data[3], 0xd4);
    assert_int_equal(b.data[6], 0xa1);
    assert_int_equal(b.data[7], 8);
    mu_buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    mu_buf_fini(&b);
}

static void test_append_nothing(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_buf_append(&b, NULL, 0);
    mu_buf_consume(&b, 0);
    assert_int_equal(b.len, 0);
    assert_non_null(mu_buf_reserve(&b, 0)); /* a place, even in a buffer that has none yet */
    mu_buf_fini(&b);
}

static void test_grows(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    for (uint32_t i = 0; i < 100000; i++) {
        mu_buf_append_u32(&b, i);
    }
    assert_int_equal(b.len, 400000);
    struct mu_reader r = mu_reader_of(b.data, b.len);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(mu_read_u32(&r), i);
    }
    assert_int_equal(mu_reader_left(&r), 0);
    mu_buf_fini(&b);
}

static void test_reserve_then_fill(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_buf_append(&b, "ab", 2);
    uint8_t *place = mu_buf_reserve(&b, 1000);
    assert_true(b.cap - b.len >= 1000);
    assert_int_equal(b.len, 2);
    memset(place, 'x', 1000);
    b.len += 1000;
    assert_memory_equal(b.data, "abxx", 4);
    mu_buf_fini(&b);
}

static void test_printf(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_buf_printf(&b, "%s=%d", "x", 1);
    mu_buf_printf(&b, "%s", "");
    mu_buf_printf(&b, "%300d", 5);
    assert_int_equal(b.len, 303);
    assert_memory_equal(b.data, "x=1   ", 6);
    mu_buf_fini(&b);
}

static void test_take_text(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_autofree char *none = mu_buf_take_text(&b);
    assert_string_equal(none, "");
    mu_buf_printf(&b, "text %d", 7);
    mu_autofree char *text = mu_buf_take_text(&b);
    assert_string_equal(text, "text 7");
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
}

static void test_consume(void **state)
{
    (void)state;
    struct mu_buf b = {0};
    mu_buf_append(&b, "abcdef", 6);
    mu_buf_consume(&b, 2);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "cdef", 4);
    mu_buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    mu_buf_fini(&b);
}

static void test_reader(void **state)
{
    (void)state;
    static const uint8_t in[] = {1, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 8,  7,
                                 6, 5,    4,    3,    2,    1,    'a',  'b'};
    struct mu_reader r = mu_reader_of(in, sizeof(in));
    assert_int_equal(mu_read_u8(&r), 1);
    assert_int_equal(mu_read_u16(&r), 0x1234);
    assert_int_equal(mu_read_u32(&r), 0x12345678);
    assert_true(mu_read_u64(&r) == 0x0102030405060708);
    assert_int_equal(mu_reader_left(&r), 2);
    struct mu_slice s = mu_read_bytes(&r, 2);
    assert_true(mu_slice_eq(s, mu_slice_of("ab")));
    assert_int_equal(mu_read_bytes(&r, 0).len, 0);
    assert_false(r.failed);
}

/* Once past the end, everything fails and gives zeros, even what would still fit. */
static void test_reader_past_the_end(void **state)
{
    (void)state;
    static const uint8_t in[] = {1, 2, 3};
    struct mu_reader r = mu_reader_of(in, sizeof(in));
    assert_int_equal(mu_read_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(mu_read_u8(&r), 0);
    assert_int_equal(mu_read_u16(&r), 0);
    assert_true(mu_read_u64(&r) == 0);
    assert_int_equal(mu_read_bytes(&r, 1).len, 0);
    assert_int_equal(mu_read_bytes(&r, 0).len, 0);

    r = mu_reader_of(in, sizeof(in));
    struct mu_slice s = mu_read_bytes(&r, SIZE_MAX);
    assert_int_equal(s.len, 0);
    assert_non_null(s.ptr);
    assert_true(r.failed);
}

static void test_reader_of_nothing(void **state)
{
    (void)state;
    struct mu_reader r = mu_reader_of(NULL, 0);
    assert_int_equal(mu_reader_left(&r), 0);
    assert_int_equal(mu_read_bytes(&r, 0).len, 0);
    assert_false(r.failed);
    assert_int_equal(mu_read_u8(&r), 0);
    assert_true(r.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_append_is_little_endian),
        cmocka_unit_test(test_append_nothing),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_reserve_then_fill),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_take_text),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_reader_past_the_end),
        cmocka_unit_test(test_reader_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
