/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/error_file.h"

#include "muster/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/stat.h>

static void expect(const char *text, const char *message, const char *callstack)
{
    struct error_file f;
    if (message == NULL) {
        assert_false(error_file_parse(text, strlen(text), &f));
        return;
    }
    assert_true(error_file_parse(text, strlen(text), &f));
    assert_string_equal(f.message, message);
    assert_string_equal(f.text, text);
    assert_string_equal(f.callstack != NULL ? f.callstack : "none", callstack);
    error_file_fini(&f);
    error_file_fini(&f);
}

static void test_both_forms(void **state)
{
    (void)state;
    expect("{\"message\": {\"message\": \"ValueError: bad\\nsecond\", \"extraInfo\": "
           "{\"py_callstack\": \"Traceback\", \"timestamp\": \"1\"}}}",
           "ValueError: bad\nsecond", "Traceback");
    expect("{\"message\": {\"message\": \"m\", \"extraInfo\": 5}}", "m", "none");
    expect("{\"message\": \"plain\", \"timestamp\": 5}", "plain", "none");
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
        "{\"message\": {\"message\": 1, \"extraInfo\": {\"py_callstack\": \"stack\"}}}",
        "{\"message\": \"\xff\"}",
    };
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        expect(texts[i], NULL, NULL);
    }
    /* As deep as brackets can be nested in a file that is read at all. */
    enum { DEEP = 1000000 };
    char *deep = mu_alloc(DEEP + 1);
    memset(deep, '[', DEEP);
    expect(deep, NULL, NULL);
    free(deep);
}

static void write_file(const char *path, const char *text, off_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_true(size == 0 || truncate(path, size) == 0);
}

static void test_read(void **state)
{
    (void)state;
    char dir[] = "/tmp/muster-error-file-XXXXXX";
    assert_non_null(mkdtemp(dir));
    mu_autofree char *path = mu_asprintf("%s/error.json", dir);
    struct error_file f;
    assert_false(error_file_read(path, &f));
    assert_false(error_file_read(dir, &f));
    assert_false(error_file_read("/dev/zero", &f));

    write_file(path, "{\"message\": \"from the file\"}", 0);
    assert_true(error_file_read(path, &f));
    assert_string_equal(f.message, "from the file");
    error_file_fini(&f);

    write_file(path, "{\"message\": \"huge\"}", 100 * 1024 * 1024);
    assert_false(error_file_read(path, &f));

    /* Nobody writes to this FIFO: reading it must not wait. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(error_file_read(path, &f));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* What torchrun's launcher would leave: the same document, with the exit code in the nested form.
 */
static void expect_passed(const char *worker, struct outcome o, const char *want)
{
    struct error_file f;
    bool has_file = worker != NULL && error_file_parse(worker, strlen(worker), &f);
    assert_true(has_file == (worker != NULL));
    char *text = error_file_pass_on(has_file ? &f : NULL, "it was \"so\"", 1700000000999, o);
    assert_string_equal(text, want);
    free(text);
    if (has_file) {
        error_file_fini(&f);
    }
}

static void test_pass_on(void **state)
{
    (void)state;
    struct outcome exited = {.kind = OUTCOME_EXITED, .code = 3};
    struct outcome killed = {.kind = OUTCOME_SIGNALED, .code = 11};
    expect_passed("{\"message\": {\"message\": \"m\", \"extraInfo\": {\"timestamp\": \"1\"}}}",
                  exited,
                  "{\"message\":{\"message\":\"m\",\"extraInfo\":{\"timestamp\":\"1\"},"
                  "\"errorCode\":3}}");
    expect_passed("{\"message\": {\"message\": \"m\"}, \"more\": [1]}", killed,
                  "{\"message\":{\"message\":\"m\",\"errorCode\":-11},\"more\":[1]}");
    expect_passed("{\"message\": \"m\", \"timestamp\": 5}", exited,
                  "{\"message\":\"m\",\"timestamp\":5}");
    expect_passed(NULL, killed,
                  "{\"message\":{\"message\":\"it was \\\"so\\\"\",\"extraInfo\":{"
                  "\"py_callstack\":\"it was \\\"so\\\"\",\"timestamp\":\"1700000000\"},"
                  "\"errorCode\":-11}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_anything_else_is_nothing),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_pass_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
