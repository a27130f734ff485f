/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/mpi_exchange.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char good[] = "muster-mpi 1\nrank 1\nsize 3\naddress 10.77.0.1\naddress fd00::1\n"
                           "host node1\nhost node2\nhost node3\nend\n";

static int parse(const char *text, struct mpi_exchange *x, struct mu_err *err)
{
    mu_err_clear(err);
    return mpi_exchange_parse(mu_slice_of(text), x, err);
}

static void test_good(void **state)
{
    (void)state;
    struct mpi_exchange x;
    struct mu_err err;
    assert_int_equal(parse(good, &x, &err), 0);
    assert_int_equal(x.rank, 1);
    assert_int_equal(x.size, 3);
    assert_int_equal(x.address_count, 2);
    assert_string_equal(x.addresses[0], "10.77.0.1");
    assert_string_equal(x.addresses[1], "fd00::1");
    assert_int_equal(x.hosts.count, 3);
    assert_string_equal(x.hosts.names[2], "node3");
    mpi_exchange_fini(&x);
}

/* What is cut short, wherever, is no answer. */
static void test_every_beginning_of_it_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(good) - 2; len++) {
        mu_autofree char *text = mu_strndup(good, len);
        struct mpi_exchange x;
        struct mu_err err;
        assert_int_equal(parse(text, &x, &err), -1);
        assert_int_equal(err.code, MU_E_PROTOCOL);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"muster-mpi 2\n", "line 1"},
        {"muster-mpi 1\nrank 3\nsize 3\naddress 1.2.3.4\n", "line 3 of its answer is not size"},
        {"muster-mpi 1\nrank 0\nsize 65537\n", "size"},
        {"muster-mpi 1\nrank -1\n", "rank"},
        {"muster-mpi 1\nrank 0\nsize 1\nhost a\nend\n", "line 4 of its answer is not an address"},
        {"muster-mpi 1\nrank 0\nsize 1\naddress node1\nhost a\nend\n", "numeric"},
        {"muster-mpi 1\nrank 0\nsize 1\naddress 1.2.3.4\nhost a b\nend\n", "a host name"},
        {"muster-mpi 1\nrank 0\nsize 1\naddress 1.2.3.4\nhost a\nhost b\nend\n", "the end"},
        {"muster-mpi 1\nrank 0\nsize 1\naddress 1.2.3.4\nhost a\nend\nmore\n", "the end"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mpi_exchange x;
        struct mu_err err;
        assert_int_equal(parse(cases[i].text, &x, &err), -1);
        assert_int_equal(err.code, MU_E_PROTOCOL);
        assert_non_null(strstr(err.text, cases[i].says));
    }
}

static void test_addresses_beyond_the_limit_are_left_out(void **state)
{
    (void)state;
    struct mu_buf text = {0};
    mu_buf_printf(&text, "muster-mpi 1\nrank 0\nsize 1\n");
    for (int i = 0; i < 20; i++) {
        mu_buf_printf(&text, "address 10.0.0.%d\n", i);
    }
    mu_buf_printf(&text, "host a\nend\n");
    mu_autofree char *all = mu_buf_take_text(&text);
    struct mpi_exchange x;
    struct mu_err err;
    assert_int_equal(parse(all, &x, &err), 0);
    assert_int_equal(x.address_count, MPI_EXCHANGE_ADDRESSES);
    mpi_exchange_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_every_beginning_of_it_is_refused),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_addresses_beyond_the_limit_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
