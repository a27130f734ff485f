# SPDX-License-Identifier: Apache-2.0
"""A client of the c10d store in plain Python, for tests; run as a program, a worker that uses it.

    c10d.py [--no-ping] [--daemon] RESULTS LABEL

The worker meets all others of its job through the store, writes RESULTS/LABEL.RESTART.RANK.json (what
it found there), gives its connection to whoever listens on RESULTS/LABEL.sock, if anybody does, and
ends when RESULTS/LABEL.RESTART.go is there, with the status in it.
"""
from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

MAGIC = 0x3C85F7CE
VALIDATE, SET, GET, ADD, CHECK, WAIT, NUM_KEYS, PING, LIST_KEYS = 0, 1, 3, 4, 5, 6, 7, 13, 17


def string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


class Closed(Exception):
    """The server hung up."""


class Client:
    """One connection. `pid`: what PING says; None: no PING, as before torch 2.5."""

    def __init__(self, host: str, port: int, pid: int | None, timeout: float = 60.0) -> None:
        self.conn = socket.create_connection((host, port), timeout)
        self.conn.sendall(bytes([VALIDATE]) + struct.pack("<I", MAGIC))
        if pid is not None:
            self.conn.sendall(bytes([PING]) + struct.pack("<I", pid))

    def pong(self) -> int:
        """The answer to PING: from then on the client is part of a store."""
        return struct.unpack("<I", self.read(4))[0]

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.conn.recv(count - len(data))
            except ConnectionError as error:
                raise Closed from error
            if not more:
                raise Closed
            data += more
        return data

    def read_string(self) -> bytes:
        return self.read(struct.unpack("<Q", self.read(8))[0])

    def set(self, key: str, value: bytes) -> None:
        self.conn.sendall(bytes([SET]) + string(key.encode()) + string(value))

    def get(self, key: str) -> bytes:
        self.conn.sendall(bytes([GET]) + string(key.encode()))
        return self.read_string()

    def add(self, key: str, delta: int) -> int:
        self.conn.sendall(bytes([ADD]) + string(key.encode()) + struct.pack("<q", delta))
        return struct.unpack("<q", self.read(8))[0]

    def wait(self, key: str) -> None:
        self.conn.sendall(bytes([WAIT]) + struct.pack("<Q", 1) + string(key.encode()))
        self.read(1)

    def keys(self) -> list[str]:
        self.conn.sendall(bytes([LIST_KEYS]))
        count = struct.unpack("<q", self.read(8))[0]
        return sorted(self.read_string().decode() for _ in range(count))


def become_daemon(results: Path, label: str) -> None:
    """Go on in a process of its own session whose parent is gone; the worker itself only waits."""
    if os.fork() > 0:
        wait_for_end(results, label)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)


def wait_for_end(results: Path, label: str) -> None:
    path = results / f"{label}.{os.environ['TORCHELASTIC_RESTART_COUNT']}.go"
    while not path.exists():
        time.sleep(0.02)
    os._exit(int(path.read_text() or 0))


def hand_over(conn: socket.socket, path: Path) -> None:
    if path.exists():
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            socket.send_fds(other, [b"x"], [conn.fileno()])


def main() -> None:
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    results, label = [a for a in sys.argv[1:] if not a.startswith("--")]
    if "--daemon" in options:
        become_daemon(Path(results), label)
    world, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    restart = os.environ["TORCHELASTIC_RESTART_COUNT"]
    client = Client(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]),
                    None if "--no-ping" in options else os.getpid())
    if "--no-ping" not in options:
        client.pong()
    found = client.keys() if world == 1 else []  # with more, others may have been there before
    client.set(f"rank{rank}", label.encode())
    if client.add("arrived", 1) == world:
        client.set("same", label.encode())
    client.wait("same")
    told = {"found": found, "same": client.get("same").decode(), "keys": client.keys(),
            "pid": os.getpid(), "arrived": client.add("arrived", 0)}
    hand_over(client.conn, Path(results) / f"{label}.sock")
    path = Path(results) / f"{label}.{restart}.{rank}.json"
    path.with_suffix(".part").write_text(json.dumps(told))
    path.with_suffix(".part").rename(path)
    wait_for_end(Path(results), label)


if __name__ == "__main__":
    main()
