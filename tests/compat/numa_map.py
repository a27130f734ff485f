# SPDX-License-Identifier: Apache-2.0
"""Where torch's own code would bind the workers of machines that are trees of files.

    numa_map.py < MACHINES > MAPS

MACHINES is a JSON list of {"root": DIR, "allowed": [CPU, ...], "gpus": [PCI ADDRESS, ...]}; MAPS one
of {MODE: [[CPU, ...] of each GPU]}, with the text of an exception in place of a list.
"""
from __future__ import annotations

import builtins
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
from torch.numa import binding


def on_machine(machine: dict[str, Any]) -> None:
    """Let the module see that machine and no other."""
    root = machine["root"]

    def properties(index: int) -> SimpleNamespace:
        domain, bus, rest = machine["gpus"][index].split(":")
        return SimpleNamespace(pci_domain_id=int(domain, 16), pci_bus_id=int(bus, 16),
                               pci_device_id=int(rest.split(".")[0], 16))

    binding.open = lambda path, *args: builtins.open(root + path, *args)
    binding.os = SimpleNamespace(path=os.path, listdir=lambda path: os.listdir(root + path),
                                 sched_getaffinity=lambda pid: set(machine["allowed"]))
    torch.cuda.get_device_properties = properties
    torch.cuda.device_count = lambda: len(machine["gpus"])


def cpus_of(mode: str, gpu: int) -> Any:
    options = binding.NumaOptions(affinity_mode=binding.AffinityMode(mode))
    try:
        cpus = binding._get_logical_cpus_to_bind_to(gpu_index=gpu, numa_options=options)
    except Exception as problem:  # whatever it is: torchrun would fail
        return f"{type(problem).__name__}: {problem}"
    return sorted(cpus) or "no CPUs"


maps = []
for described in json.load(sys.stdin):
    on_machine(described)
    maps.append({mode.value: [cpus_of(mode.value, gpu) for gpu in range(len(described["gpus"]))]
                 for mode in binding.AffinityMode})
json.dump(maps, sys.stdout)
