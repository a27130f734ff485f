# SPDX-License-Identifier: Apache-2.0
"""A terminal with an interactive shell in it, typed at by a test."""
from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import termios
import time
from typing import Sequence

from muster import PATIENCE, Case
from procs import Failure

PROMPT = "ready>"


class Terminal:
    """bash with job control on a pseudo terminal. It and what it starts carry the case's mark."""

    def __init__(self, t: Case) -> None:
        self.text = ""
        self.seen = 0  # up to where expect() has looked
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(t.dir)
            env = {**t.env, "PS1": PROMPT, "TERM": "dumb", "HISTFILE": "/dev/null"}
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_NONBLOCK)
        t.cleanups.append(self.close)
        self.expect(PROMPT)

    def _read(self, timeout: float) -> None:
        if select.select([self.fd], [], [], timeout)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except BlockingIOError:
                return
            except OSError:
                raise Failure("the terminal's shell is gone") from None

    def expect(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait for `pattern` in what comes after the last match."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            found = re.compile(pattern).search(self.text, self.seen)
            if found is not None:
                self.seen = found.end()
                return found
            if time.monotonic() > end:
                raise Failure(f"/{pattern}/ did not appear in:\n{self.text[self.seen:]}")
            self._read(0.2)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def run(self, argv: Sequence[str]) -> None:
        self.type(" ".join(argv) + "; echo status=$?\n")

    def status(self) -> int:
        """The exit status of a command given to run(), once it has ended or was stopped."""
        return int(self.expect(r"status=(\d+)\r").group(1))

    def settings(self) -> list:
        return termios.tcgetattr(self.fd)

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)
