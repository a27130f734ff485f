# SPDX-License-Identifier: Apache-2.0
"""Every fault in every phase of a job: it ends or goes on as docs/FAULTS.md says, within that time."""
from __future__ import annotations

import os

from fault_matrix import run_phase
from muster import Case
from procs import Skip
from test_torch import torch_python

LIMIT = 900


def test_faults_while_joining(t: Case) -> None:
    run_phase(t, "joining")


def test_faults_while_running(t: Case) -> None:
    run_phase(t, "running")


def test_faults_while_a_spare_stands_by(t: Case) -> None:
    run_phase(t, "spare")


def test_faults_while_stopping(t: Case) -> None:
    run_phase(t, "stopping")


def test_faults_while_restarting(t: Case) -> None:
    run_phase(t, "restarting")


def test_faults_with_torch_while_running(t: Case) -> None:
    run_phase(t, "running", torch_python())


def on_request(t: Case, phase: str) -> None:
    if os.environ.get("MUSTER_FAULTS_TORCH") != "all":
        raise Skip("some three minutes: MUSTER_FAULTS_TORCH=all")
    run_phase(t, phase, torch_python())


def test_faults_with_torch_while_joining(t: Case) -> None:
    on_request(t, "joining")


def test_faults_with_torch_while_a_spare_stands_by(t: Case) -> None:
    on_request(t, "spare")


def test_faults_with_torch_while_stopping(t: Case) -> None:
    on_request(t, "stopping")


def test_faults_with_torch_while_restarting(t: Case) -> None:
    on_request(t, "restarting")
