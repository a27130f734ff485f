/* SPDX-License-Identifier: Apache-2.0 */
/* From ends of workers, with what Python, torch, CUDA, NCCL and gloo really write, to causes. */
#include "launcher/diagnose.h"

#include "muster/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXITED(n)   ((struct outcome){.kind = OUTCOME_EXITED, .code = (n)})
#define SIGNALED(n) ((struct outcome){.kind = OUTCOME_SIGNALED, .code = (n)})
#define TRACE       "Traceback (most recent call last):\n  File \"train.py\", line 9, in main\n"
#define RANKED \
    "[rank1]: Traceback (most recent call last):\n[rank1]:   File \"t.py\", line 9, in f\n"

static struct diagnosis d;

static void expect(const char *tail, struct diagnose_facts f, enum cause_kind kind,
                   enum cause_blame blame, const char *sentence)
{
    f.tail = mu_slice_of(tail);
    d = diagnose(&f);
    if (d.kind != kind || d.blame != blame || strstr(d.sentence, sentence) == NULL) {
        fail_msg("%s, %s: '%s', not %s, %s: '%s'", cause_kind_name(d.kind),
                 cause_blame_name(d.blame), d.sentence, cause_kind_name(kind),
                 cause_blame_name(blame), sentence);
    }
}

static void expect_hint(const char *words)
{
    if (strstr(d.hint, words) == NULL) {
        fail_msg("'%s' is not in the hint '%s'", words, d.hint);
    }
}

static void expect_quote(const char *begin, const char *end)
{
    size_t n = strlen(begin);
    size_t m = strlen(end);
    assert_true(d.quote.len >= n && memcmp(d.quote.ptr, begin, n) == 0);
    assert_memory_equal(d.quote.ptr + d.quote.len - m, end, m);
}

static const struct diagnose_facts exit_1 = {.outcome = {.kind = OUTCOME_EXITED, .code = 1}};

/* ---- exceptions, by the words that torch 2.13 and its libraries use ---- */

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        enum cause_kind kind;
        const char *sentence;
    } cases[] = {
        {TRACE "ValueError: bad\n", CAUSE_EXCEPTION, "ValueError: bad"},
        {TRACE
         "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a "
         "total capacity of 79.10 GiB of which 1.25 GiB is free.\n",
         CAUSE_CUDA_OOM, "Tried to allocate 2.00 GiB"},
        {TRACE "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB\n",
         CAUSE_CUDA_OOM, "20.00 MiB"},
        {TRACE "RuntimeError: CUDA error: out of memory\n", CAUSE_CUDA_OOM, "out of memory"},
        {TRACE "torch.AcceleratorError: CUDA error: device-side assert triggered\n"
               "CUDA kernel errors might be asynchronously reported at some other API call, so the "
               "stacktrace below might be incorrect.\n",
         CAUSE_CUDA_ERROR, "device-side assert triggered"},
        {TRACE "RuntimeError: CUDA error: an illegal memory access was encountered\n",
         CAUSE_CUDA_ERROR, "illegal memory access"},
        {TRACE "RuntimeError: CUDA error: no kernel image is available for execution on the "
               "device\n",
         CAUSE_CUDA_ERROR, "no kernel image"},
        {TRACE "RuntimeError: CUDA error: uncorrectable ECC error encountered\n", CAUSE_CUDA_ERROR,
         "ECC"},
        {TRACE "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED\n", CAUSE_CUDA_ERROR,
         "cuDNN"},
        {TRACE "torch.distributed.DistBackendError: NCCL error in: "
               "/pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3356, unhandled cuda "
               "error (run with NCCL_DEBUG=INFO for details), NCCL version 2.27.5\n"
               "ncclUnhandledCudaError: Call to CUDA function failed.\n"
               "Last error:\nCuda failure 'out of memory'\n",
         CAUSE_CUDA_OOM, "unhandled cuda error"},
        {TRACE "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:77, invalid usage "
               "(run with NCCL_DEBUG=WARN for details), NCCL version 2.27.5\n"
               "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
               "Last error:\nDuplicate GPU detected : rank 0 and rank 1 both on CUDA device 7000\n",
         CAUSE_NCCL_ERROR, "invalid usage"},
        {TRACE
         "torch.distributed.DistBackendError: NCCL error in: X.cpp:1, internal error - please "
         "report this issue to the NCCL developers, NCCL version 2.27.5\n",
         CAUSE_NCCL_ERROR, "internal error"},
        {TRACE "torch.distributed.DistNetworkError: The server socket has failed to listen on any "
               "local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, "
               "message: address already in use\n",
         CAUSE_ADDRESS_IN_USE, "failed to listen"},
        {TRACE "OSError: [Errno 28] No space left on device\n", CAUSE_DISK_FULL, "No space"},
        {TRACE "OSError: [Errno 28] No space left on device: '/dev/shm/x'\n", CAUSE_SHM_FULL, ""},
        {TRACE "OSError: [Errno 24] Too many open files: 'x'\n", CAUSE_OPEN_FILES, "Too many"},
        {TRACE "PermissionError: [Errno 13] Permission denied: '/data'\n", CAUSE_PERMISSION,
         "/data"},
        {TRACE "MemoryError\n", CAUSE_HOST_MEMORY, "MemoryError"},
        {TRACE "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: "
               "can't allocate memory: you tried to allocate 40000000000 bytes. Error code 12 "
               "(Cannot allocate memory)\n",
         CAUSE_HOST_MEMORY, "DefaultCPUAllocator"},
        {TRACE "RuntimeError: DataLoader worker (pid 3333) is killed by signal: Bus error. It is "
               "possible that dataloader's workers are out of shared memory. Please try to raise "
               "your shared memory limit.\n",
         CAUSE_SHM_FULL, "Bus error"},
        {"ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient "
         "shared memory (shm).\n",
         CAUSE_SHM_FULL, "Unexpected bus error"},
        {TRACE "RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2_3>: "
               "Resource temporarily unavailable (11)\n",
         CAUSE_SHM_FULL, "shared memory"},
        {TRACE "RecursionError: maximum recursion depth exceeded\n", CAUSE_STACK_OVERFLOW,
         "Recurs"},
        {TRACE "ModuleNotFoundError: No module named 'deepspeed'\n", CAUSE_IMPORT, "deepspeed"},
        {TRACE "ImportError: libcudart.so.12: cannot open shared object file: No such file or "
               "directory\n",
         CAUSE_IMPORT, "libcudart"},
        {"  File \"train.py\", line 3\n    def f(:\n          ^\nSyntaxError: invalid syntax\n",
         CAUSE_SYNTAX, "SyntaxError: invalid syntax (File \"train.py\", line 3)"},
        {TRACE "KeyboardInterrupt\n", CAUSE_INTERRUPT, "KeyboardInterrupt"},
        {TRACE "KeyError: 'x'\n\nThe above exception was the direct cause of the following "
               "exception:\n\n" TRACE "RuntimeError: step failed\n",
         CAUSE_EXCEPTION, "RuntimeError: step failed (from KeyError: 'x')"},
        {TRACE "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB\n\nDuring "
               "handling of the above exception, another exception occurred:\n\n" TRACE
               "RuntimeError: cannot save\n",
         CAUSE_CUDA_OOM, "RuntimeError: cannot save (after torch.OutOfMemoryError"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        expect(cases[i].tail, exit_1, cases[i].kind, CAUSE_OWN, cases[i].sentence);
    }
}

/* What processes die of when another one has failed. */
static void test_consequences(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        enum cause_kind kind;
    } cases[] = {
        {RANKED "[rank1]: RuntimeError: [/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/"
                "pair.cc:547] Connection closed by peer [127.0.0.1]:52342\n",
         CAUSE_PEER_LOST},
        {RANKED "[rank1]: RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Read "
                "error [127.0.0.1]:7: Connection reset by peer\n",
         CAUSE_PEER_LOST},
        {RANKED "[rank1]: RuntimeError: [../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:"
                "78] Timed out waiting 1800000ms for recv operation to complete\n",
         CAUSE_TIMEOUT},
        {RANKED "[rank1]: RuntimeError: Application timeout caused pair closure\n", CAUSE_TIMEOUT},
        {RANKED "[rank1]: torch.distributed.DistBackendError: NCCL error in: "
                "/pytorch/torch/csrc/distributed/c10d/NCCLUtils.hpp:268, remote process exited or "
                "there was a network error, NCCL version 2.20.5\n"
                "[rank1]: ncclRemoteError: A call failed possibly due to a network error or a "
                "remote process exiting prematurely.\n"
                "[rank1]: Last error:\n"
                "[rank1]: socketProgress: Connection closed by remote peer node1<41234>\n",
         CAUSE_PEER_LOST},
        {RANKED "[rank1]: torch.distributed.DistNetworkError: Failed to recv, got 0 bytes. "
                "Connection was likely closed. Did the remote server shutdown or crash?\n",
         CAUSE_STORE_LOST},
        {RANKED "[rank1]: torch.distributed.DistNetworkError: The client socket has failed to "
                "connect to any network address of (node1, 29500).\n",
         CAUSE_STORE_LOST},
        {RANKED "[rank1]: torch.distributed.DistStoreError: wait timeout after 300000ms, keys: "
                "/default_pg/0//cpu//0\n",
         CAUSE_TIMEOUT},
        {RANKED "[rank1]: torch.distributed.DistStoreError: Timed out after 61 seconds waiting for "
                "clients. 1/4 clients joined.\n",
         CAUSE_TIMEOUT},
        {RANKED "[rank1]: RuntimeError: Socket Timeout\n", CAUSE_TIMEOUT},
        {RANKED "[rank1]: RuntimeError: Broken pipe\n", CAUSE_PEER_LOST},
        {TRACE "ConnectionResetError: [Errno 104] Connection reset by peer\n", CAUSE_PEER_LOST},
        {RANKED
         "[rank1]: RuntimeError: [pair.cc:547] Connection closed by peer [::1]:2\n[rank1]: \n"
         "[rank1]: During handling of the above exception, another exception occurred:\n"
         "[rank1]: \n" RANKED "[rank1]: KeyError: 'loss'\n",
         CAUSE_PEER_LOST},
        /* no exception at all: a C++ program's last line */
        {"starting\nConnection closed by peer\n", CAUSE_PEER_LOST},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        expect(cases[i].tail, exit_1, cases[i].kind, CAUSE_COLLATERAL, "");
    }
}

/* NCCL's watchdog takes the process down by abort(). */
static void test_watchdog(void **state)
{
    (void)state;
    struct diagnose_facts f = {.outcome = SIGNALED(SIGABRT)};
    expect(
        "[rank1]:[E1124 12:00:00.1 ProcessGroupNCCL.cpp:683] [Rank 1] Watchdog caught collective "
        "operation timeout: WorkNCCL(SeqNum=3, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, "
        "Timeout(ms)=600000) ran for 600029 milliseconds before timing out.\n"
        "terminate called after throwing an instance of 'c10::DistBackendError'\n"
        "  what():  [PG ID 0 PG GUID 0(default_pg) Rank 1] Process group watchdog thread "
        "terminated with exception: [Rank 1] Watchdog caught collective operation timeout: "
        "WorkNCCL(SeqNum=3, OpType=ALLREDUCE, Timeout(ms)=600000)\n"
        "Exception raised from checkTimeout at ProcessGroupNCCL.cpp:685 (most recent call "
        "first):\nframe #0: c10::Error::Error\n",
        f, CAUSE_TIMEOUT, CAUSE_COLLATERAL, "Watchdog caught collective operation timeout");
    expect_quote("terminate called", "");
    expect("terminate called after throwing an instance of 'c10::DistBackendError'\n"
           "  what():  [PG ID 0 Rank 1] Process group watchdog thread terminated with exception: "
           "NCCL error: remote process exited or there was a network error, NCCL version 2.20.5\n",
           f, CAUSE_PEER_LOST, CAUSE_COLLATERAL, "remote process exited");
    /* Torch's teardown crashes after an exception that a peer has caused. */
    expect(RANKED "[rank1]: RuntimeError: [pair.cc:547] Connection closed by peer [::1]:2\n",
           (struct diagnose_facts){.outcome = SIGNALED(SIGSEGV)}, CAUSE_PEER_LOST, CAUSE_COLLATERAL,
           "Connection closed by peer");
}

/* ---- signals ---- */

static void test_sigkill(void **state)
{
    (void)state;
    struct diagnose_facts f = {.outcome = SIGNALED(SIGKILL)};
    expect("", f, CAUSE_SIGNAL, CAUSE_OWN, "not by muster; whether by the kernel's OOM killer");
    f.oom = DIAGNOSE_OOM_NONE;
    expect(TRACE "ValueError: handled\n", f, CAUSE_SIGNAL, CAUSE_OWN,
           "killed by SIGKILL, not by muster; the kernel counted no OOM kill");
    f.oom = DIAGNOSE_OOM_SOME;
    f.cgroup = "/job7";
    f.memory_limit = INT64_C(3) << 29;
    expect("", f, CAUSE_OOM_KILL, CAUSE_OWN,
           "out of memory: the kernel's OOM killer killed it; its cgroup /job7 may use 1.5 GiB");
    f.stop.signo = SIGTERM; /* a stop signal does not make it so */
    expect("", f, CAUSE_OOM_KILL, CAUSE_OWN, "out of memory");
    f.oom = DIAGNOSE_OOM_NONE;
    f.stop.is_killed = true;
    expect("", f, CAUSE_STOPPED, CAUSE_ORDERED, "stopped by muster: killed when the grace");
}

static void test_oom_of_a_child(void **state)
{
    (void)state;
    struct diagnose_facts f = {.outcome = EXITED(1), .oom = DIAGNOSE_OOM_SOME};
    expect(TRACE "RuntimeError: DataLoader worker (pid 12) is killed by signal: Killed. \n", f,
           CAUSE_OOM_KILL, CAUSE_OWN, "; meanwhile the kernel's OOM killer killed a process");
    expect(TRACE "ValueError: bad\n", f, CAUSE_EXCEPTION, CAUSE_OWN, "meanwhile the kernel's OOM");
}

static void test_crashes(void **state)
{
    (void)state;
    struct diagnose_facts f = {.outcome = SIGNALED(SIGSEGV), .core = "core dumped to /x/core.7"};
    expect("", f, CAUSE_SEGFAULT, CAUSE_OWN, "segmentation fault; core dumped to /x/core.7");
    f.core = NULL;
    expect(
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
        "  File \"a.py\", line 10 in f\n",
        f, CAUSE_SEGFAULT, CAUSE_OWN,
        "Fatal Python error: Segmentation fault, in File \"a.py\", line 10 in f");
    f.outcome = SIGNALED(SIGABRT);
    expect("", f, CAUSE_ABORT, CAUSE_OWN, "aborted");
    expect("terminate called after throwing an instance of 'std::runtime_error'\n  what():  bad\n",
           f, CAUSE_ABORT, CAUSE_OWN, "bad");
    expect("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  "
           "std::bad_alloc\n",
           f, CAUSE_HOST_MEMORY, CAUSE_OWN, "std::bad_alloc");
    expect("double free or corruption (out)\n", f, CAUSE_ABORT, CAUSE_OWN, "double free");
    f.outcome = SIGNALED(SIGBUS);
    expect("", f, CAUSE_BUS_ERROR, CAUSE_OWN, "bus error");
    assert_string_equal(d.hint, "");
    f.shm_percent = 100;
    expect("", f, CAUSE_SHM_FULL, CAUSE_OWN, "bus error; /dev/shm is 100 % full");
    expect_hint("--shm-size");
    f.outcome = SIGNALED(SIGTERM);
    expect("", f, CAUSE_SIGNAL, CAUSE_OWN, "killed by SIGTERM, which muster did not send");
    f.outcome = SIGNALED(SIGINT);
    expect(TRACE "KeyboardInterrupt\n", f, CAUSE_INTERRUPT, CAUSE_OWN, "KeyboardInterrupt");
    f.outcome = SIGNALED(SIGXCPU);
    expect("", f, CAUSE_SIGNAL, CAUSE_OWN, "killed by SIGXCPU");
}

/* ---- statuses, threads, what could not be executed ---- */

static void test_statuses(void **state)
{
    (void)state;
    struct diagnose_facts f = {.outcome = EXITED(3)};
    expect("", f, CAUSE_EXIT, CAUSE_OWN, "it ended itself with this status, without an exception");
    expect("one\nno data\033[0m\n", f, CAUSE_EXIT, CAUSE_OWN, "; last line: no data [0m");
    /* Words that count, but long before the end. */
    expect("Connection reset by peer, trying again\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", f,
           CAUSE_EXIT, CAUSE_OWN, "last line: 11");
    expect("/usr/bin/python3: can't open file '/x.py': [Errno 13] Permission denied\n", f,
           CAUSE_PERMISSION, CAUSE_OWN, "can't open file '/x.py'");
    f.outcome = (struct outcome){.kind = OUTCOME_UNKNOWN};
    expect("", f, CAUSE_UNKNOWN, CAUSE_OWN, "");
    assert_string_equal(d.sentence, "");
}

#define UNCAUGHT "Traceback (most recent call last):\n  File \"train.py\", line 9, in <module>\n"
#define STEPS                                                                                    \
    "step 1\nstep 2\nstep 3\nstep 4\nstep 5\nstep 6\nstep 7\nstep 8\nstep 9\nstep 10\nstep 11\n" \
    "step 12\nstep 13\n"

/* What a program caught and showed may be what it ended of, or not: its last words count too. */
static void test_survived(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        int status;
        enum cause_kind kind;
        const char *sentence;
    } cases[] = {
        {UNCAUGHT "ValueError: bad\nbye\n", 1, CAUSE_EXCEPTION, "ValueError: bad"},
        {UNCAUGHT "ValueError: bad\n" STEPS, 1, CAUSE_EXCEPTION,
         "ValueError: bad; last line: step 13"},
        {TRACE "ValueError: bad\n", 1, CAUSE_EXCEPTION,
         "ValueError: bad; it reported that, then ended itself"},
        {TRACE "ValueError: bad\n", 4, CAUSE_EXCEPTION,
         "ValueError: bad; it reported that, then ended itself"},
        {TRACE "ValueError: bad\n\nsee the manual\n", 1, CAUSE_EXCEPTION,
         "ValueError: bad; it reported that, then ended itself; last line: see the manual"},
        {TRACE "ValueError: bad\nthe loss is no number\n", 5, CAUSE_EXIT,
         "it ended itself with this status; last line: the loss is no number; it had reported and "
         "survived ValueError: bad"},
        {TRACE "ValueError: bad\n" STEPS, 1, CAUSE_EXIT,
         "it ended itself with this status; last line: step 13; it had reported and survived "
         "ValueError: bad"},
        {TRACE "ValueError: bad\n" STEPS UNCAUGHT "KeyError: 'x'\n", 1, CAUSE_EXCEPTION,
         "KeyError: 'x'"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct diagnose_facts f = {.outcome = EXITED(cases[i].status)};
        expect(cases[i].tail, f, cases[i].kind, CAUSE_OWN, cases[i].sentence);
    }
    /* A consequence stays one, however it is told. */
    struct diagnose_facts f = {.outcome = EXITED(3)};
    expect(TRACE "RuntimeError: Connection closed by peer\nleaving\n", f, CAUSE_PEER_LOST,
           CAUSE_COLLATERAL, "RuntimeError: Connection closed by peer");
}

/* The quote shows the exception, whatever is taken for the rest of its message. */
static void test_quote_of_a_long_message(void **state)
{
    (void)state;
    expect(UNCAUGHT "ValueError: bad\n" STEPS STEPS, exit_1, CAUSE_EXCEPTION, CAUSE_OWN,
           "ValueError: bad");
    expect_quote("Traceback", "step 5");
    char tail[1024];
    snprintf(tail, sizeof(tail), UNCAUGHT "ValueError: bad%0300d\n", 0);
    for (size_t at = sizeof(UNCAUGHT "ValueError: bad") - 1; at < strlen(tail) - 2; at += 3) {
        memcpy(tail + at, "\347\201\253", 3);
    }
    expect(tail, exit_1, CAUSE_EXCEPTION, CAUSE_OWN, "ValueError: bad\347\201\253");
    assert_memory_equal(d.sentence + strlen(d.sentence) - 3, "\347\201\253", 3);
}

static void test_threads(void **state)
{
    (void)state;
    static const char thread[] =
        "Exception in thread Thread-1 (work):\n" TRACE "ZeroDivisionError: division by zero\n";
    expect(thread, (struct diagnose_facts){.outcome = EXITED(4)}, CAUSE_THREAD_EXCEPTION, CAUSE_OWN,
           "in thread Thread-1 (work): ZeroDivisionError: division by zero");
    expect_quote("Exception in thread", "division by zero");
    char both[1024];
    snprintf(both, sizeof(both), "%s" TRACE "ValueError: no result\n", thread);
    expect(both, exit_1, CAUSE_EXCEPTION, CAUSE_OWN,
           "ValueError: no result; before that, in thread Thread-1 (work): ZeroDivisionError");
}

static void test_exec(void **state)
{
    (void)state;
    struct diagnose_facts f = {
        .outcome = {.kind = OUTCOME_EXEC_FAILED, .stage = OUTCOME_STAGE_PROGRAM, .code = ENOENT},
        .exec_why = "'/no/such', from the directory /: not found"};
    expect("", f, CAUSE_EXEC, CAUSE_OWN, "'/no/such', from the directory /: not found");
    expect_hint("is it on that node");
    f.outcome.code = EACCES;
    expect("", f, CAUSE_EXEC, CAUSE_OWN, "/no/such");
    assert_string_equal(d.hint, "");
}

static void test_hints(void **state)
{
    (void)state;
    struct diagnose_facts f = exit_1;
    f.interpreter = "/opt/py/bin/python3";
    expect(TRACE "ModuleNotFoundError: No module named 'x'\n", f, CAUSE_IMPORT, CAUSE_OWN, "");
    expect_hint("ran in /opt/py/bin/python3");
    expect(TRACE "RuntimeError: CUDA error: device-side assert triggered\n", f, CAUSE_CUDA_ERROR,
           CAUSE_OWN, "");
    expect_hint("CUDA_LAUNCH_BLOCKING=1");
    expect(TRACE "ValueError: bad\n", f, CAUSE_EXCEPTION, CAUSE_OWN, "");
    assert_string_equal(d.hint, "");
}

/* ---- @record ---- */

static void test_error_file(void **state)
{
    (void)state;
    char message[] = "ValueError: recorded\nsecond";
    char callstack[] = "Traceback ...\nValueError: recorded";
    struct error_file file = {.message = message, .callstack = callstack};
    struct diagnose_facts f = {.outcome = EXITED(1), .error_file = &file};
    expect("", f, CAUSE_EXCEPTION, CAUSE_OWN, "ValueError: recorded");
    expect_quote("Traceback ...", "recorded");
    expect(TRACE "ValueError: recorded\nsecond\n[W] noise\n", f, CAUSE_EXCEPTION, CAUSE_OWN,
           "ValueError: recorded");
    expect_quote("Traceback (most", "second");
    f.outcome = SIGNALED(SIGSEGV); /* while it was cleaning up */
    expect("", f, CAUSE_EXCEPTION, CAUSE_OWN, "ValueError: recorded");
    char lost[] = "RuntimeError: [pair.cc:547] Connection closed by peer [127.0.0.1]:5";
    file.message = lost;
    expect("", f, CAUSE_PEER_LOST, CAUSE_COLLATERAL, "Connection closed");
    f.outcome = SIGNALED(SIGKILL);
    f.oom = DIAGNOSE_OOM_SOME;
    expect("", f, CAUSE_OOM_KILL, CAUSE_OWN, "out of memory");
}

/* ---- told to stop ---- */

static void test_stopped(void **state)
{
    (void)state;
    static const char trace[] = TRACE "ValueError: bad\n";
    struct diagnose_facts f = {.outcome = SIGNALED(SIGTERM), .stop = {.signo = SIGTERM}};
    expect("", f, CAUSE_STOPPED, CAUSE_ORDERED, "stopped by muster");
    /* What it says after that is of no weight ... */
    expect(trace, f, CAUSE_STOPPED, CAUSE_ORDERED, "stopped by muster");
    f.outcome = EXITED(1);
    expect(trace, f, CAUSE_EXCEPTION, CAUSE_COLLATERAL, "ValueError: bad");
    /* ... before it, it is, whatever ended the process in the end. */
    f.tail_before_stop = sizeof(trace) - 1;
    expect(trace, f, CAUSE_EXCEPTION, CAUSE_OWN, "ValueError: bad");
    assert_false(d.was_ending);
    f.outcome = SIGNALED(SIGTERM);
    expect(trace, f, CAUSE_EXCEPTION, CAUSE_OWN, "ValueError: bad");
    assert_true(d.was_ending);
    /* A traceback that it has long survived is no failure. */
    char old[1024];
    snprintf(old, sizeof(old), "%s%s", trace,
             "step 1\nstep 2\nstep 3\nstep 4\nstep 5\nstep 6\nstep 7\nstep 8\nstep 9\nstep 10\n"
             "step 11\nstep 12\nstep 13\n");
    f.tail_before_stop = strlen(old);
    expect(old, f, CAUSE_STOPPED, CAUSE_ORDERED, "stopped by muster");
    /* A timeout that several run into at once is nobody's. */
    static const char timeout[] = RANKED "[rank1]: RuntimeError: Timed out waiting 8000ms for recv "
                                         "operation to complete\n";
    f.tail_before_stop = sizeof(timeout) - 1;
    expect(timeout, f, CAUSE_TIMEOUT, CAUSE_COLLATERAL, "Timed out waiting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),          cmocka_unit_test(test_consequences),
        cmocka_unit_test(test_watchdog),       cmocka_unit_test(test_sigkill),
        cmocka_unit_test(test_oom_of_a_child), cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_statuses),       cmocka_unit_test(test_threads),
        cmocka_unit_test(test_survived),       cmocka_unit_test(test_quote_of_a_long_message),
        cmocka_unit_test(test_exec),           cmocka_unit_test(test_hints),
        cmocka_unit_test(test_error_file),     cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
