"""A Dask cluster whose scheduler and workers are processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import distributed

from conftest import BIN

ONLY_HERE = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


class Dask:
    """A scheduler and workers started with Dask's own commands; ``close`` kills what is left."""

    def __init__(self, folder: Path, *, tls: Path | None = None, failures: int = 2) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._tls = tls
        self._environment = {
            **os.environ,
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures),
        }
        self.running: list[subprocess.Popen[bytes]] = []
        where = folder / "scheduler.json"
        protocol = "tcp" if tls is None else "tls"
        self.scheduler = self.dask(
            "scheduler", "--port", "0", "--protocol", protocol, "--scheduler-file", str(where)
        )
        wait_until(where.exists)
        self.address = json.loads(where.read_text())["address"]

    def dask(
        self, command: str, *arguments: str, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        files = []
        if self._tls is not None:
            files = [
                "--tls-ca-file",
                str(self._tls / "ca.pem"),
                "--tls-cert",
                str(self._tls / "own.pem"),
                "--tls-key",
                str(self._tls / "own.key"),
            ]
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [*before, BIN / "dask", command, *arguments, *files, *ONLY_HERE],
                stdout=log,
                stderr=log,
                env={**self._environment, **environment},
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def workers(
        self, number: int = 2, threads: int = 1, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """So many worker processes, and the nanny that restarts them; `before` starts them."""
        process = self.dask(
            "worker",
            self.address,
            "--nworkers",
            str(number),
            "--nthreads",
            str(threads),
            "--local-directory",
            str(self.folder / "local"),
            before=before,
            **environment,
        )
        wait_until(lambda: len(list(self.folder.glob("local/*/worker-*.dirlock"))) >= number)
        return process

    def options(self) -> list[str]:
        """How ``nbmark grade`` is told of the cluster."""
        if self._tls is None:
            return ["--scheduler", self.address]
        return [
            "--scheduler",
            self.address,
            "--tls-ca",
            str(self._tls / "ca.pem"),
            "--tls-cert",
            str(self._tls / "own.pem"),
            "--tls-key",
            str(self._tls / "own.key"),
        ]

    def materials(self) -> list[Path]:
        """What assignments have left on the workers' disks."""
        return list(self.folder.glob("local/*/worker-*/nbmark-*"))

    def at_work(self) -> list[int]:
        """The worker processes that have a submission at work at this moment."""
        with distributed.Client(self.address, set_as_default=False) as client:
            stacks, processes = client.call_stack(), client.run(os.getpid)
        return [processes[worker] for worker, tasks in stacks.items() if tasks]

    def close(self) -> None:
        for process in reversed(self.running):  # the scheduler last
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()


def wait_until(happened: Callable[[], Any], within_s: float = 30) -> Any:
    """What `happened` returns as soon as it is something."""
    deadline = time.monotonic() + within_s
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found
