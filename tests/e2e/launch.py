# SPDX-License-Identifier: Apache-2.0
"""`muster run --launch ssh`, with an ssh that is a script, or with a server of OpenSSH's."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Optional, Sequence

from hosts import Hosts
from muster import MUSTER, PATIENCE, WORKER, Case, free_port, need_root, need_tools
from procs import Proc, wait_for

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

# Runs the command here, as sshd would: with the login shell, in another directory, without
# variables. What a host is called decides how it behaves.
FAKE = """#!/bin/bash
host=${*: -2:1} command=${*: -1}
echo "$@" >>"$FAKE_LOG"
case $host in
    refused*) echo "ssh: connect to host $host port 22: Connection refused" >&2; exit 255 ;;
    silent*) exec sleep 600 ;;
    missing*) command="exec /nonexistent/muster launched" ;;
    shell*) exit 3 ;;
esac
echo "Welcome to $host"
echo "Last login: never" >&2
cd /
exec env -i PATH="$PATH" MUSTER_E2E="$MUSTER_E2E" \\
    /bin/sh -c "$command"
"""


def host_file(t: Case, lines: Sequence[str]) -> str:
    path = t.dir / f"hosts{len(t.procs)}"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def launch(t: Case, hosts: Sequence[str], options: Sequence[str] = (),
           program: Sequence[str] = (WORKER,), *, ssh: str, plain: bool = True,
           wrapper: Sequence[str] = (), env: Optional[dict[str, str]] = None) -> Proc:
    argv = [*wrapper, MUSTER, "run", "--launch", "ssh", "--ssh-command", ssh,
            "--hostfile", host_file(t, hosts), "--master-port", str(t.port),
            "--export", "E2E_DIR,TMPDIR", *options, *(["--no-python"] if plain else []), *program]
    return t.spawn(f"launch{len(t.procs)}", argv, env)


def fake_ssh(t: Case) -> str:
    path = t.dir / "fakessh"
    path.write_text(FAKE)
    path.chmod(0o755)
    t.env["FAKE_LOG"] = str(t.dir / "ssh.log")
    return str(path)


class Sshd:
    """A server on all of 127.0.0.x, or one on each of `hosts`, and a key that they take."""

    def __init__(self, t: Case, hosts: Optional[Hosts] = None) -> None:
        need_root()
        need_tools("sshd", "ssh", "ssh-keygen")
        self.case = t
        self.port = free_port()
        self.procs: list[Proc] = []
        self.dir = t.dir / "sshd"
        self.dir.mkdir()
        for name in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / name],
                           check=True, stdin=subprocess.DEVNULL)
        (self.dir / "authorized").write_bytes((self.dir / "user.pub").read_bytes())
        names = HOSTS if hosts is None else [f"10.77.0.{k + 1}" for k in range(hosts.count)]
        key = " ".join((self.dir / "host.pub").read_text().split()[:2])
        (self.dir / "known").write_text(
            "".join(f"[{host}]:{self.port} {key}\n" for host in names))
        (self.dir / "nobody_known").write_text("")
        (self.dir / "config").write_text("\n".join([
            f"Port {self.port}", f"HostKey {self.dir}/host", f"AuthorizedKeysFile {self.dir}/authorized",
            "PidFile none", "UsePAM no", "StrictModes no", "PermitRootLogin yes",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            f"SetEnv MUSTER_E2E={t.mark}", "MaxStartups 100", ""]))
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it to be there
        server = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.dir / "config")]
        t.cleanups.append(self.stop)
        if hosts is None:
            self.procs = [t.spawn("sshd", [*server, *(w for h in HOSTS for w in ("-o", f"ListenAddress={h}"))])]
        else:
            self.procs = [t.spawn(f"sshd{k}", [*hosts.wrapper(k), *server, "-o", f"ListenAddress={name}"])
                          for k, name in enumerate(names, 1)]
        for proc in self.procs:
            wait_for(lambda: proc.listens(self.port), f"{proc.name} to listen", 20 * PATIENCE)

    def stop(self) -> None:
        for proc in self.procs:
            proc.popen.terminate()
            proc.popen.wait()

    def command(self, key: str = "user", known: str = "known", port: int = 0) -> str:
        """For --ssh-command; nothing of the user's own configuration counts."""
        return (f"ssh -F none -p {port or self.port} -i '{self.dir}/{key}' -o IdentitiesOnly=yes "
                f"-o IdentityAgent=none -o UserKnownHostsFile={self.dir}/{known} "
                "-o GlobalKnownHostsFile=none")


def children_of(proc: Proc) -> list[int]:
    return [int(pid) for pid in
            Path(f"/proc/{proc.pid}/task/{proc.pid}/children").read_text().split()]


def command_lines() -> list[str]:
    """Of every process there is."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append(Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace"))
            except OSError:
                continue
    return found
