#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the end-to-end tests: every function test_* of every test_*.py in this directory.

    tests/e2e/run.py [-k WORD]... [-j N] [-l] [--keep] [MODULE...]

Each test runs in a Python process of its own, with its own directory, port and mark (an
environment variable that all its processes inherit). After it, no process with that mark may be
left: what is, is listed and killed, and the test has failed. Output is TAP-like; a failed test
shows what its processes said. Last line: "N passed, N failed, N skipped".

Environment: MUSTER_BUILD (build/release), MUSTER_BIN (MUSTER_BUILD/muster).
"""
from __future__ import annotations

import argparse
import ast
import concurrent.futures
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import procs  # noqa: E402

LIMIT = 60.0  # seconds for a test, unless its module sets LIMIT or its function has `limit`
PASSED, FAILED, SKIPPED = 0, 1, 77


def discover(modules: list[str], words: list[str]) -> list[tuple[str, str, float]]:
    """(module, function, time limit), read from the source without importing it."""
    found = []
    wanted = {Path(m).stem for m in modules}
    for path in sorted(HERE.glob("test_*.py")):
        if wanted and path.stem not in wanted:
            continue
        limit, limits, names = LIMIT, {}, []
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                names.append(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if node.targets[0].id == "LIMIT":
                    limit = float(ast.literal_eval(node.value))
                elif node.targets[0].id == "LIMITS":
                    limits = ast.literal_eval(node.value)
        for name in names:
            if all(word in f"{path.stem}.{name}" for word in words):
                found.append((path.stem, name, float(limits.get(name, limit))))
    missing = wanted - {path.stem for path in HERE.glob("test_*.py")}
    if missing:
        sys.exit(f"run.py: no such module: {' '.join(sorted(missing))}")
    return found


def run_here(module: str, name: str, directory: str, mark: str) -> int:
    """The child: one test, in this process."""
    from muster import Case
    case = None
    try:
        function = getattr(importlib.import_module(module), name)
        case = Case(Path(directory), mark)
        try:
            function(case)
        finally:
            case.close()
        case.assert_no_leftovers()
    except procs.Skip as skip:
        print(f"SKIP {skip}")
        return SKIPPED
    except procs.Failure as failure:
        line = next((f.lineno for f in reversed(traceback.extract_tb(failure.__traceback__))
                     if Path(f.filename).stem == module), 0)
        print(f"{module}.py:{line}: {failure}")
    except (Exception, KeyboardInterrupt):  # a broken or interrupted test has failed
        traceback.print_exc(file=sys.stdout)
    else:
        return PASSED
    for proc in case.procs if case else []:
        state = "running" if proc.is_running() else f"status {proc.popen.returncode}"
        print(f"-- {proc.name} (pid {proc.pid}, {state}): {' '.join(proc.argv)}")
        for text in (proc.out, proc.err):
            for line in text.splitlines()[-40:]:
                print(f"   {line}")
    for proc in case.procs if case else []:
        proc.popen.kill()  # what is left after this, nobody looks after
        proc.popen.wait()
    return FAILED


def run_one(module: str, name: str, limit: float, keep: bool) -> tuple[int, str, float]:
    """The parent: start the child, bound its time, sweep up after it."""
    mark = uuid.uuid4().hex[:12]
    directory = tempfile.mkdtemp(prefix=f"muster-{name}-")
    start = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", module, name, directory, mark],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace")
    notes = []
    try:
        output, _ = child.communicate(timeout=limit)
        result = child.returncode if child.returncode in (PASSED, SKIPPED) else FAILED
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)  # the test says where it hangs, and cleans up
        try:
            output, _ = child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
        result = FAILED
        notes.append(f"stopped after its limit of {limit:g} s")
    try:
        procs.wait_for(lambda: not procs.marked(mark), "the last processes", 0 if result == PASSED else 3)
    except procs.Failure:
        notes += [f"left behind, killed: {procs.describe(pid)}" for pid in procs.marked(mark)]
        procs.kill_marked(mark)
        result = FAILED
    if keep:
        notes.append(f"kept {directory}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return result, "\n".join([output.rstrip(), *notes]).strip(), time.monotonic() - start


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the end-to-end tests.")
    parser.add_argument("-k", action="append", default=[], metavar="WORD", help="only tests with this in their name")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="tests at a time")
    parser.add_argument("-l", "--list", action="store_true", help="list the tests")
    parser.add_argument("--keep", action="store_true", help="keep the tests' directories")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    options = parser.parse_args()
    # A shell's background job ignores SIGINT, nohup SIGHUP, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_DFL)
    tests = discover(options.modules, options.k)
    if options.list:
        print("\n".join(f"{module}.{name}" for module, name, _ in tests))
        return 0
    counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    print(f"1..{len(tests)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(max(1, options.j)) as pool:
        futures = [pool.submit(run_one, module, name, limit, options.keep)
                   for module, name, limit in tests]
        for number, ((module, name, _), future) in enumerate(zip(tests, futures), 1):
            try:
                result, output, seconds = future.result()
            except KeyboardInterrupt:
                pool.shutdown(wait=True, cancel_futures=True)  # those under way still clean up
                return 130
            counts[result] += 1
            verdict = "not ok" if result == FAILED else "ok"
            lines = output.splitlines()
            reason = f" # {lines[0]}" if result == SKIPPED and lines else ""
            print(f"{verdict} {number} - {module}.{name} ({seconds:.1f} s){reason}", flush=True)
            if result == FAILED or (options.keep and lines):
                print("\n".join(f"    {line}" for line in lines), flush=True)
    print(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped")
    return 0 if counts[FAILED] == 0 and tests else 1


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    if sys.argv[1:2] == ["--child"]:
        sys.exit(run_here(*sys.argv[2:6]))
    sys.exit(main())
