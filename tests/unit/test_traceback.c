/* SPDX-License-Identifier: Apache-2.0 */
/* Tracebacks as Python 3.11 and torch 2.13 write them, amid what else comes to stderr. */
#include "launcher/traceback.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct traceback in_main;
static struct traceback in_thread;

static void find(const char *text, unsigned want)
{
    in_main = in_thread = (struct traceback){0};
    assert_int_equal(traceback_find(mu_slice_of(text), &in_main, &in_thread), want);
}

static void expect(struct mu_slice got, const char *want)
{
    if (!mu_slice_eq(got, mu_slice_of(want))) {
        fail_msg("'" MU_SLICE_FMT "', not '%s'", MU_SLICE_ARG(got), want);
    }
}

#define PLAIN                                      \
    "Traceback (most recent call last):\n"         \
    "  File \"/tmp/a.py\", line 50, in <module>\n" \
    "    main()\n"                                 \
    "  File \"/tmp/a.py\", line 5, in main\n"      \
    "    raise ValueError(\"bad\")\n"              \
    "          ^^^^^^^^^^^^^^^^^\n"                \
    "ValueError: bad\n"

static void test_plain(void **state)
{
    (void)state;
    find("starting\n" PLAIN, TRACEBACK_MAIN);
    expect(in_main.error, "ValueError: bad");
    expect(in_main.where, "File \"/tmp/a.py\", line 5, in main");
    assert_int_equal(in_main.quote.len, sizeof(PLAIN) - 2);
    assert_memory_equal(in_main.quote.ptr, PLAIN, sizeof(PLAIN) - 2);
    find("", TRACEBACK_NONE);
    find("ValueError: bad\n", TRACEBACK_NONE);
    find("Traceback (most recent call last):\n", TRACEBACK_NONE);
}

static void test_text_after_it(void **state)
{
    (void)state;
    find(PLAIN "[W1124 12:00:00.1 ProcessGroupNCCL.cpp:1496] Warning: destroy_process_group\n"
               "[rank0]:[W1124 12:00:00.2 TCPStore.cpp:125] recvValue failed: Error: timed out\n"
               "  warnings.warn(\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "ValueError: bad");
    expect(in_main.text, "ValueError: bad");
}

static void test_message_of_many_lines(void **state)
{
    (void)state;
    find("Traceback (most recent call last):\n"
         "  File \"a.py\", line 1, in <module>\n"
         "torch.AcceleratorError: CUDA error: device-side assert triggered\n"
         "CUDA kernel errors might be asynchronously reported at some other API call.\n"
         "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
         "\n"
         "something else\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "torch.AcceleratorError: CUDA error: device-side assert triggered");
    assert_non_null(strstr(in_main.text.ptr, "asynchronously"));
    assert_int_equal(in_main.text.ptr[in_main.text.len], '\n');
    assert_memory_equal(in_main.text.ptr + in_main.text.len - 6, "KING=1", 6);
}

/* The name of a class may be anything, once it stands below a frame. */
static void test_names_of_errors(void **state)
{
    (void)state;
    static const char *const names[] = {"Boom: many",
                                        "pkg.mod.Boom",
                                        "main.<locals>.Boom: x",
                                        "KeyboardInterrupt",
                                        "\xc3\x9c"
                                        "bel: x",
                                        "_E: y"};
    char text[512];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(text, sizeof(text),
                 "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n%s\n",
                 names[i]);
        find(text, TRACEBACK_MAIN);
        expect(in_main.error, names[i]);
    }
}

static void test_ranks_before_lines(void **state)
{
    (void)state;
    find("[rank2]: Traceback (most recent call last):\n"
         "[rank2]:   File \"g.py\", line 17, in <module>\n"
         "[rank2]:     main()\n"
         "noise of another thread\n"
         "[rank2]: RuntimeError: [/gloo/transport/tcp/pair.cc:547] Connection closed by peer "
         "[127.0.0.1]:2314\n"
         "[rank2]:[W1124 12:00:00 ProcessGroupGloo.cpp:1] noise\n",
         TRACEBACK_MAIN);
    expect(in_main.error,
           "RuntimeError: [/gloo/transport/tcp/pair.cc:547] Connection closed by peer "
           "[127.0.0.1]:2314");
    expect(in_main.where, "File \"g.py\", line 17, in <module>");
}

static void test_chains(void **state)
{
    (void)state;
    find("Traceback (most recent call last):\n"
         "  File \"b.py\", line 5, in main\n"
         "    try: {}[\"x\"]\n"
         "KeyError: 'x'\n"
         "\n"
         "The above exception was the direct cause of the following exception:\n"
         "\n"
         "Traceback (most recent call last):\n"
         "  File \"b.py\", line 6, in main\n"
         "RuntimeError: step failed\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "RuntimeError: step failed");
    expect(in_main.origin, "KeyError: 'x'");
    assert_true(in_main.is_raised_from);
    find("Traceback (most recent call last):\n"
         "  File \"b.py\", line 5, in main\n"
         "KeyError: 'x'\n"
         "\n"
         "During handling of the above exception, another exception occurred:\n"
         "\n"
         "Traceback (most recent call last):\n"
         "  File \"b.py\", line 6, in main\n"
         "OSError: no\n",
         TRACEBACK_MAIN);
    expect(in_main.origin, "KeyError: 'x'");
    assert_false(in_main.is_raised_from);
    /* Two that have nothing to do with each other. */
    find(PLAIN "\n" PLAIN, TRACEBACK_MAIN);
    expect(in_main.origin, "");
}

static void test_group(void **state)
{
    (void)state;
    find("  + Exception Group Traceback (most recent call last):\n"
         "  |   File \"b.py\", line 50, in <module>\n"
         "  |     main()\n"
         "  | ExceptionGroup: many (2 sub-exceptions)\n"
         "  +-+---------------- 1 ----------------\n"
         "    | Traceback (most recent call last):\n"
         "    |   File \"b.py\", line 3, in f\n"
         "    | ValueError: a\n"
         "    +---------------- 2 ----------------\n"
         "    | KeyError: 'k'\n"
         "    +------------------------------------\n"
         "after\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "ExceptionGroup: many (2 sub-exceptions)");
    expect(in_main.origin, "ValueError: a");
    assert_true(in_main.is_group);
    assert_null(memmem(in_main.quote.ptr, in_main.quote.len, "after", 5));
    assert_non_null(memmem(in_main.quote.ptr, in_main.quote.len, "KeyError", 8));
}

static void test_thread(void **state)
{
    (void)state;
    static const char text[] = "Exception in thread Thread-1 (work):\n"
                               "Traceback (most recent call last):\n"
                               "  File \"threading.py\", line 1045, in _bootstrap_inner\n"
                               "    self.run()\n"
                               "ZeroDivisionError: division by zero\n";
    find(text, TRACEBACK_THREAD);
    expect(in_thread.error, "ZeroDivisionError: division by zero");
    expect(in_thread.thread, "Thread-1 (work)");
    assert_memory_equal(in_thread.quote.ptr, "Exception in", 12);
    char both[1024];
    snprintf(both, sizeof(both), "%s%s", text, PLAIN);
    find(both, TRACEBACK_MAIN | TRACEBACK_THREAD);
    expect(in_main.error, "ValueError: bad");
    expect(in_main.thread, "");
}

static void test_syntax_error_of_the_script(void **state)
{
    (void)state;
    find("  File \"/tmp/bad.py\", line 1\n"
         "    def f(:\n"
         "          ^\n"
         "SyntaxError: invalid syntax\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "SyntaxError: invalid syntax");
    expect(in_main.where, "File \"/tmp/bad.py\", line 1");
}

/* What Python tells of but goes on after. */
static void test_ignored(void **state)
{
    (void)state;
    find("Exception ignored in: <function D.__del__ at 0x7f9a9b832160>\n" PLAIN, TRACEBACK_NONE);
    find("--- Logging error ---\n" PLAIN, TRACEBACK_NONE);
    find("Task exception was never retrieved\nfuture: <Task finished>\n" PLAIN, TRACEBACK_NONE);
    find("Exception ignored in: <function D.__del__ at 0x7f9a9b832160>\n" PLAIN "\n" PLAIN,
         TRACEBACK_MAIN);
}

/* Uncaught is what comes from where programs begin. */
static void test_caught(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_caught;
    } cases[] = {
        {"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n"
         "  File \"a.py\", line 2, in f\nValueError: bad\n",
         false},
        {"ERROR:root:no cache\nTraceback (most recent call last):\n"
         "  File \"a.py\", line 2, in f\nValueError: bad\n",
         true},
        {"Traceback (most recent call last):\n"
         "  File \"<frozen runpy>\", line 198, in _run_module_as_main\nValueError: bad\n",
         false},
        {"[rank0]: Traceback (most recent call last):\n[rank0]:   File \"a.py\", line 2, in f\n"
         "[rank0]: ValueError: bad\n",
         false},
        /* a chain begins where the first one was caught, and goes on from the top */
        {"Traceback (most recent call last):\n  File \"a.py\", line 2, in f\nKeyError: 'x'\n\n"
         "During handling of the above exception, another exception occurred:\n\n"
         "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n"
         "ValueError: bad\n",
         false},
        /* those within a message say nothing of it */
        {"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n"
         "ValueError: Caught ValueError in DataLoader worker process 0.\n"
         "Original Traceback (most recent call last):\n  File \"w.py\", line 3, in _loop\n"
         "ValueError: bad\n",
         false},
        {"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n"
         "torch.multiprocessing.spawn.ProcessRaisedException: \n\n"
         "-- Process 0 terminated with the following error:\n"
         "Traceback (most recent call last):\n  File \"spawn.py\", line 3, in _wrap\n"
         "ValueError: bad\n",
         false},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        find(cases[i].text, TRACEBACK_MAIN);
        expect(in_main.error, "ValueError: bad");
        assert_int_equal(in_main.is_caught, cases[i].is_caught);
    }
}

/* A DataLoader's worker: the error is the one within the message. */
static void test_original(void **state)
{
    (void)state;
    find("Traceback (most recent call last):\n"
         "  File \"train.py\", line 3, in <module>\n"
         "ValueError: Caught ValueError in DataLoader worker process 0.\n"
         "Original Traceback (most recent call last):\n"
         "  File \"worker.py\", line 349, in _worker_loop\n"
         "    data = fetcher.fetch(index)\n"
         "ValueError: bad sample 7\n"
         "\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "ValueError: bad sample 7");
}

static void test_deep_recursion(void **state)
{
    (void)state;
    find("Traceback (most recent call last):\n"
         "  File \"b.py\", line 17, in f\n"
         "    def f(n): return f(n+1)\n"
         "  [Previous line repeated 995 more times]\n"
         "RecursionError: maximum recursion depth exceeded\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "RecursionError: maximum recursion depth exceeded");
}

/* As the library rich draws it. */
static void test_boxed(void **state)
{
    (void)state;
    find("\u256d\u2500\u2500 Traceback (most recent call last) \u2500\u2500\u256e\n"
         "\u2502 /tmp/a.py:5 in main            \u2502\n"
         "\u2570\u2500\u2500\u2500\u2500\u2500\u2500\u256f\n"
         "Boom: bad\n",
         TRACEBACK_MAIN);
    expect(in_main.error, "Boom: bad");
}

/* The tail begins in the middle of something. */
static void test_cut(void **state)
{
    (void)state;
    find("e \"a.py\", line 5\n    x\nKeyError: 'lost'\n" PLAIN, TRACEBACK_MAIN);
    expect(in_main.error, "ValueError: bad");
    find("Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    ma",
         TRACEBACK_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_text_after_it),
        cmocka_unit_test(test_message_of_many_lines),
        cmocka_unit_test(test_names_of_errors),
        cmocka_unit_test(test_ranks_before_lines),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_thread),
        cmocka_unit_test(test_syntax_error_of_the_script),
        cmocka_unit_test(test_ignored),
        cmocka_unit_test(test_caught),
        cmocka_unit_test(test_original),
        cmocka_unit_test(test_deep_recursion),
        cmocka_unit_test(test_boxed),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
