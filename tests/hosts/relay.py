#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Carry Ethernet frames between two interfaces, late and with losses.

    relay.py IF_A IF_B DELAY_MS LOSS_PCT_FROM_A LOSS_PCT_FROM_B PIDFILE

PIDFILE appears once frames flow. A stand-in for netem, which a kernel may lack. Frames keep their
virtio-net header, so that unfinished checksums and frames larger than the MTU go through.
"""
import collections
import os
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ETH_P_ALL = 3


def tap(name: str) -> socket.socket:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.bind((name, 0))
    s.setblocking(False)
    return s


def main() -> None:
    a, b = tap(sys.argv[1]), tap(sys.argv[2])
    delay = float(sys.argv[3]) / 1000
    loss = {a: float(sys.argv[4]) / 100, b: float(sys.argv[5]) / 100}
    peer = {a: b, b: a}
    with open(sys.argv[6], "w") as f:
        f.write(str(os.getpid()))
    queue: collections.deque = collections.deque()  # (due, socket, frame), in order of due
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for s in select.select([a, b], [], [], wait)[0]:
            for _ in range(64):
                try:
                    frame = s.recv(70000)
                except BlockingIOError:
                    break
                if random.random() >= loss[s]:
                    queue.append((time.monotonic() + delay, peer[s], frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, s, frame = queue.popleft()
            try:
                s.send(frame)
            except OSError:
                continue  # a full or vanished interface loses frames, as cables do


if __name__ == "__main__":
    main()
