/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/fatal_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fatal_text f;

static void find(const char *text, bool want)
{
    f = (struct fatal_text){0};
    assert_int_equal(fatal_text_find(mu_slice_of(text), &f), want);
}

static void expect(struct mu_slice got, const char *want)
{
    if (!mu_slice_eq(got, mu_slice_of(want))) {
        fail_msg("'" MU_SLICE_FMT "', not '%s'", MU_SLICE_ARG(got), want);
    }
}

static void test_fault_handler(void **state)
{
    (void)state;
    find("before\n"
         "Fatal Python error: Segmentation fault\n"
         "\n"
         "Thread 0x00007f0000000001 (most recent call first):\n"
         "  File \"other.py\", line 1 in wait\n"
         "\n"
         "Current thread 0x00007f25065e3b80 (most recent call first):\n"
         "  File \"/lib/ctypes/__init__.py\", line 519 in string_at\n"
         "  File \"/tmp/a.py\", line 10 in <module>\n"
         "\n"
         "Extension modules: numpy._core._multiarray_umath (total: 1)\n",
         true);
    expect(f.what, "Fatal Python error: Segmentation fault");
    expect(f.where, "File \"/lib/ctypes/__init__.py\", line 519 in string_at");
    assert_memory_equal(f.quote.ptr, "Fatal", 5);
    assert_false(f.is_stack_overflow);
}

static void test_stack_overflow(void **state)
{
    (void)state;
    struct mu_buf text = {0};
    mu_buf_printf(&text, "Fatal Python error: Segmentation fault\n\n"
                         "Current thread 0x00007f7145c5fb80 (most recent call first):\n");
    for (int i = 0; i < 100; i++) {
        mu_buf_printf(&text, "  File \"b.py\", line 24 in cmp\n");
    }
    assert_true(fatal_text_find((struct mu_slice){(char *)text.data, text.len}, &f));
    assert_false(f.is_stack_overflow); /* just deep */
    mu_buf_printf(&text, "  ...\n");
    assert_true(fatal_text_find((struct mu_slice){(char *)text.data, text.len}, &f));
    assert_true(f.is_stack_overflow);
    expect(f.where, "File \"b.py\", line 24 in cmp");
    mu_buf_fini(&text);
    find("Fatal Python error: _Py_CheckRecursiveCall: Cannot recover from stack overflow.\n", true);
    assert_true(f.is_stack_overflow);
}

static void test_runtimes(void **state)
{
    (void)state;
    find("terminate called after throwing an instance of 'c10::Error'\n"
         "  what():  CUDA error: unspecified launch failure\n"
         "Exception raised from c10_cuda_check_implementation (most recent call first):\n",
         true);
    expect(f.what, "CUDA error: unspecified launch failure");
    assert_memory_equal(f.quote.ptr, "terminate", 9);
    find("terminate called without an active exception\n", true);
    expect(f.what, "terminate called without an active exception");
    find("munmap_chunk(): invalid pointer\nFatal Python error: Aborted\n\n"
         "Current thread 0x1 (most recent call first):\n  File \"b.py\", line 2 in f\n",
         true);
    expect(f.what, "munmap_chunk(): invalid pointer");
    expect(f.where, "File \"b.py\", line 2 in f");
    find("prog: prog.c:7: main: Assertion `n > 0' failed.\n", true);
    find("==12==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n", true);
    /* The device's assertion ends no process by itself. */
    find("/aten/src/ATen/native/cuda/Indexing.cu:1290: indexSelectLargeIndex: block: [1,0,0], "
         "thread: [0,0,0] Assertion `srcIndex < srcSelectDimSize` failed.\n",
         false);
    find("all is well\n", false);
    find("", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_handler),
        cmocka_unit_test(test_stack_overflow),
        cmocka_unit_test(test_runtimes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
