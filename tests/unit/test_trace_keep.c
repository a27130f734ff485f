/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/trace_keep.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <stdbool.h>
#include <string.h>

#define HEADER "Traceback (most recent call last):\n"

static struct tail_ring tail;
static struct trace_keep trace;
static char got[MU_STDERR_TRACE + 1];
static size_t got_len;

static void add(const char *data, size_t len)
{
    trace_keep_add(&trace, &tail, data, len);
    tail_ring_append(&tail, data, len);
}

static void add_noise(size_t len)
{
    mu_autofree char *noise = mu_alloc(len);
    memset(noise, '.', len);
    add(noise, len);
}

static void copy(void)
{
    got_len = trace_keep_copy(&trace, &tail, got);
}

static bool has(const char *text)
{
    return memmem(got, got_len, text, strlen(text)) != NULL;
}

static int teardown(void **state)
{
    (void)state;
    tail_ring_fini(&tail);
    trace_keep_fini(&trace);
    return 0;
}

static void test_in_the_tail(void **state)
{
    (void)state;
    add(HEADER "ValueError: bad\n", sizeof(HEADER "ValueError: bad\n") - 1);
    copy();
    assert_int_equal(got_len, 0);
    add_noise(MU_STDERR_TAIL - 100);
    copy();
    assert_int_equal(got_len, 0);
}

/* However the bytes arrive. */
static void test_pushed_out(void **state)
{
    static const char text[] = "Exception in thread Thread-1:\n" HEADER "ValueError: bad\n";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        add_noise(1000);
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t left = sizeof(text) - 1 - at;
            add(text + at, left < piece ? left : piece);
        }
        add_noise(5 * MU_STDERR_TAIL);
        copy();
        assert_true(has(text));
        assert_int_equal(got_len, MU_STDERR_TRACE + 1);
        assert_int_equal(got[got_len - 1], '\n');
        teardown(state);
    }
}

/* What is kept and the tail meet, and say nothing twice. */
static void test_next_to_the_tail(void **state)
{
    (void)state;
    add(HEADER, sizeof(HEADER) - 1);
    add_noise(MU_STDERR_TAIL - 10);
    copy();
    assert_int_equal(got_len, sizeof(HEADER) - 1 - 10);
    assert_memory_equal(got, HEADER, got_len);
}

static void test_the_last_one(void **state)
{
    (void)state;
    add(HEADER "KeyError: 1\n\nDuring\n" HEADER "KeyError: 2\n",
        sizeof(HEADER "KeyError: 1\n\nDuring\n" HEADER "KeyError: 2\n") - 1);
    add_noise(2 * MU_STDERR_TAIL);
    copy();
    assert_true(has("KeyError: 1") && has("KeyError: 2")); /* a chain, most likely */
    add(HEADER "KeyError: 3\n", sizeof(HEADER "KeyError: 3\n") - 1);
    add_noise(2 * MU_STDERR_TAIL);
    copy();
    assert_true(has("KeyError: 3") && !has("KeyError: 2"));
}

static void test_a_long_message(void **state)
{
    (void)state;
    mu_autofree char *text = mu_alloc(4 * MU_STDERR_TAIL);
    memset(text, 'x', 4 * MU_STDERR_TAIL);
    memcpy(text, HEADER "ValueError: ", sizeof(HEADER "ValueError: ") - 1);
    add(text, 4 * MU_STDERR_TAIL);
    copy();
    assert_int_equal(got_len, MU_STDERR_TRACE + 1);
    assert_memory_equal(got, HEADER "ValueError: xxx", sizeof(HEADER "ValueError: xxx") - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_in_the_tail, teardown),
        cmocka_unit_test_teardown(test_pushed_out, teardown),
        cmocka_unit_test_teardown(test_next_to_the_tail, teardown),
        cmocka_unit_test_teardown(test_the_last_one, teardown),
        cmocka_unit_test_teardown(test_a_long_message, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
