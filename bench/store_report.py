# SPDX-License-Identifier: Apache-2.0
"""The tables of the store benchmark, and which of its claims do not hold."""
from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

Sample = dict[str, float]
Cells = dict[tuple[str, int], dict[str, list[Sample | None]]]  # by server; None: it failed

OURS, TORCH, REDIS, BARE = "muster", "PyTorch", "redis", "bare"
TITLES = {"add": "ADD", "get16": "GET 16 B", "get4k": "GET 4 KiB", "setget": "SET + GET 16 B",
          "check": "CHECK", "barrier": "BARRIER", "meet": "ADD, SET, WAIT", "connect": "connect"}
CPU_SHAPES = ("add", "get16", "get4k", "setget", "barrier", "meet")
CPU_CONNECTIONS = range(24, 8193)
BUSY = 0.95  # share of a CPU from which on the server is what limits the throughput


@dataclass(frozen=True)
class Results:
    head: str
    notes: list[str]
    titles: dict[str, str]  # by server, in the order of the columns
    cells: Cells
    holds: dict[str, list[Sample]]
    kept: int  # connections
    names: dict[str, float | None]  # None: not within the limit
    names_connections: int


def number(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ""
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def spread(values: list[float]) -> str:
    """median (smallest .. largest)"""
    if not values:
        return ""
    low, middle, high = (number(f(values)) for f in (min, statistics.median, max))
    return middle if low == high else f"{middle} ({low} .. {high})"


def values_of(samples: list[Sample | None], key: str) -> list[float]:
    return [sample[key] for sample in samples if sample is not None]


def ratios(of_cell: dict[str, list[Sample | None]], key: str, other: str) -> list[float]:
    """muster : other, of each round, for what disturbs one of a round disturbs both."""
    pairs = zip(of_cell.get(OURS, []), of_cell.get(other, []))
    return [a[key] / b[key] for a, b in pairs if a and b and b[key] > 0]


def rows(heads: list[str], lines: list[list[str]]) -> str:
    made = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in made)


def table(results: Results, key: str, others: list[str],
          text: Callable[[list[Sample]], str]) -> str:
    """One row for each cell: every server's value, then the ratios."""
    others = [name for name in others if name in results.titles and OURS in results.titles]
    heads = ["operation", "connections", *results.titles.values()]
    heads += [f"muster : {name}" for name in others]
    lines = []
    for (shape, connections), of_cell in results.cells.items():
        line = [TITLES[shape], str(connections)]
        line += [text([s for s in of_cell.get(name, []) if s]) for name in results.titles]
        line += [spread(ratios(of_cell, key, name)) for name in others]
        lines.append(line)
    return rows(heads, lines)


def cpu_text(samples: list[Sample]) -> str:
    return spread([s["cpu_us"] for s in samples])


def throughput_text(samples: list[Sample]) -> str:
    if not samples:
        return ""
    busy = statistics.median(s["cpu_share"] for s in samples)
    return f"{spread([s['per_s'] / 1000 for s in samples])} at {100 * busy:.0f} %"


def latency_text(samples: list[Sample]) -> str:
    if not samples:
        return ""
    middle, high = (statistics.median(s[key] for s in samples) for key in ("p50_us", "p99_us"))
    return f"{number(middle)} / {number(high)}"


# ---- claims ----

@dataclass(frozen=True)
class Claim:
    title: str
    key: str
    other: str
    limit: float
    is_more_better: bool = False
    is_of_cpu: bool = False  # for CPU_SHAPES at CPU_CONNECTIONS only


CLAIMS = (
    Claim("CPU time of an operation no more than PyTorch's", "cpu_us", TORCH, 1),
    Claim("throughput no less than PyTorch's", "per_s", TORCH, 1, is_more_better=True),
    Claim("CPU time at most 0.9 of PyTorch's", "cpu_us", TORCH, 0.9, is_of_cpu=True),
    Claim("CPU time at most 1.15 of the bare echo server's", "cpu_us", BARE, 1.15, is_of_cpu=True),
    Claim("99th percentile no more than PyTorch's", "p99_us", TORCH, 1),
    Claim("throughput no less than redis's", "per_s", REDIS, 1, is_more_better=True),
)


def misses_of(claim: Claim, cells: Cells) -> tuple[int, list[str]]:
    """How many cells it is about, and a text for each that misses."""
    count, misses = 0, []
    for (shape, connections), of_cell in cells.items():
        if claim.is_of_cpu and (shape not in CPU_SHAPES or connections not in CPU_CONNECTIONS):
            continue
        found = ratios(of_cell, claim.key, claim.other)
        if not found:
            continue
        count += 1
        middle = statistics.median(found)
        if (middle < claim.limit) if claim.is_more_better else (middle > claim.limit):
            best = max(found) if claim.is_more_better else min(found)
            is_open = best >= claim.limit if claim.is_more_better else best <= claim.limit
            text = f"{TITLES[shape]} at {connections}: {number(middle)}"
            if is_open:
                text += f" (best run {number(best)})"
            if claim.key == "per_s" and not is_busy(of_cell, claim.other):
                text += " (a server waited for the generator)"
            misses.append(text)
    return count, misses


def is_busy(of_cell: dict[str, list[Sample | None]], other: str) -> bool:
    return all(statistics.median(values_of(of_cell[name], "cpu_share")) >= BUSY
               for name in (OURS, other))


def claims(results: Results) -> str:
    lines = []
    for claim in CLAIMS:
        count, misses = misses_of(claim, results.cells)
        if count:
            where = " (ADD, GET, SET + GET, barriers; 24 connections and more)"
            lines.append(f"- {claim.title}{where if claim.is_of_cpu else ''}: "
                         f"{count - len(misses)} of {count} cells."
                         + (f" Missed: {'; '.join(misses)}." if misses else ""))
    return "\n".join(lines)


# ---- connections that are kept ----

HELD = (
    ("resident, an idle connection, bytes", "idle_Rss", 1.0),
    ("private and written, an idle connection, bytes", "idle_Private_Dirty", 1.0),
    ("resident, a connection that waits, bytes", "waiting_Rss", 1.0),
    ("private and written, a connection that waits, bytes", "waiting_Private_Dirty", 1.0),
    ("one SET until all that wait have their answer, ms", "release_s", 1e3),
    ("... CPU time of the server, ms", "release_cpu_s", 1e3),
)


def held(results: Results) -> str:
    if not results.holds:
        return ""
    lines = []
    for title, key, scale in HELD:
        of_server = {name: [s[key] * scale for s in results.holds.get(name, []) if key in s]
                     for name in results.titles}
        ours, theirs = of_server.get(OURS), of_server.get(TORCH)
        ratio = ""
        if ours and theirs and statistics.median(theirs) > 0:
            ratio = number(statistics.median(ours) / statistics.median(theirs))
        lines.append([title, *map(spread, of_server.values()), ratio])
    heads = [f"{results.kept} connections", *results.titles.values(), "muster : PyTorch"]
    return rows(heads, lines)


def names(results: Results) -> str:
    """What the look-up of peers' names costs PyTorch."""
    def text(key: str) -> str:
        s = results.names[key]
        return "not within the limit" if s is None else f"{number(s)} s"

    settings = (("hosts", "`hosts: files`"), ("own", "this machine's own settings"))
    parts = [f"{text(key)} with {what}" for key, what in settings if key in results.names]
    return (f"PyTorch's server, {results.names_connections} connections opened one after the "
            f"other: {', '.join(parts)} for names." if parts else "")


def report(results: Results) -> str:
    parts = [results.head, "\n".join(results.notes)]
    if results.cells:
        parts += [
            "CPU time of the server, µs an operation; the ratios are medians of those of each "
            "round, smallest and largest in brackets:",
            table(results, "cpu_us", [TORCH, REDIS, BARE], cpu_text),
            "Throughput, thousand operations a second, and how busy the server's CPU was: where "
            f"that is below {100 * BUSY:.0f} %, the generator was the limit too:",
            table(results, "per_s", [TORCH, REDIS, BARE], throughput_text),
            "Latency as the generator sees it, µs, 50th / 99th percentile; the ratio is of the "
            "99th:",
            table(results, "p99_us", [TORCH, REDIS, BARE], latency_text),
            "What is claimed, of medians of ratios:", claims(results),
        ]
    return "\n\n".join(filter(None, [*parts, held(results), names(results)])) + "\n"
