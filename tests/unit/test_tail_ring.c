/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/tail_ring.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void keeps_the_end(void **state)
{
    (void)state;
    const size_t total = 3 * (size_t)MU_STDERR_TAIL + 17;
    char *all = mu_alloc(total);
    char *got = mu_alloc(MU_STDERR_TAIL);
    for (size_t i = 0; i < total; i++) {
        all[i] = (char)(i * 31 + i / 251);
    }
    static const size_t pieces[] = {1, 7, 4095, 4096, 4097, 40000, MU_STDERR_TAIL, 100000};
    for (size_t k = 0; k < MU_COUNT(pieces); k++) {
        struct tail_ring r = {0};
        for (size_t at = 0; at < total;) {
            size_t n = pieces[k] < total - at ? pieces[k] : total - at;
            tail_ring_append(&r, all + at, n);
            at += n;
            size_t held = at < MU_STDERR_TAIL ? at : MU_STDERR_TAIL;
            if (pieces[k] > 1000 || at % 997 == 0 || at == total) {
                assert_int_equal(tail_ring_copy(&r, got, MU_STDERR_TAIL), held);
                assert_memory_equal(got, all + at - held, held);
            }
        }
        assert_int_equal(tail_ring_copy(&r, got, 10), 10);
        assert_memory_equal(got, all + total - 10, 10);
        assert_int_equal(r.total, total);
        assert_true(r.cap <= MU_STDERR_TAIL);
        tail_ring_fini(&r);
    }
    free(all);
    free(got);
}

static void silence_costs_nothing(void **state)
{
    (void)state;
    struct tail_ring r = {0};
    char c;
    tail_ring_append(&r, "", 0);
    assert_int_equal(tail_ring_copy(&r, &c, 1), 0);
    assert_null(r.data);
    tail_ring_append(&r, "x", 1);
    assert_true(r.cap < MU_STDERR_TAIL);
    tail_ring_fini(&r);
    tail_ring_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_end),
        cmocka_unit_test(silence_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
