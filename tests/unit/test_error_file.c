/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/error_file.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>

static void expect(const char *text, const char *message)
{
    mu_autofree char *got = error_file_parse(text, strlen(text));
    if (message == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, message);
    }
}

static void test_both_forms(void **state)
{
    (void)state;
    expect("{\"message\": {\"message\": \"ValueError: bad\\nsecond\", \"extraInfo\": "
           "{\"py_callstack\": \"Traceback\", \"timestamp\": \"1\"}}}",
           "ValueError: bad\nsecond");
    expect("{\"message\": \"plain\", \"timestamp\": 5}", "plain");
}

static void test_anything_else_is_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "null",
        "[]",
        "{}",
        "{\"message\": 5}",
        "{\"message\": {}}",
        "\"x\"",
        "7",
        "{\"message\": \"\"}",
        "{\"message\": {\"message\": []}}",
    };
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        expect(texts[i], NULL);
    }
}

static void test_read(void **state)
{
    (void)state;
    char dir[] = "/tmp/muster-error-file-XXXXXX";
    assert_non_null(mkdtemp(dir));
    mu_autofree char *path = mu_asprintf("%s/error.json", dir);
    assert_null(error_file_read(path));
    assert_null(error_file_read(dir));

    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"message\": \"from the file\"}", f);
    fclose(f);
    mu_autofree char *message = error_file_read(path);
    assert_string_equal(message, "from the file");

    /* Nobody writes to this FIFO: reading it must not wait. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(error_file_read(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_anything_else_is_nothing),
        cmocka_unit_test(test_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
