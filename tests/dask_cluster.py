"""A Dask cluster for tests, whose scheduler and workers are processes of this machine."""

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

LOOPBACK_ONLY = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


class Dask:
    """A scheduler and workers, started with Dask's own commands; must be closed.

    Parameters
    ----------
    tls
        A folder with the certificates ca.pem and own.pem and the key own.key; None for plain TCP.
    failures
        How many workers a task may crash; if it crashes one more, the scheduler sets it aside.
    """

    def __init__(self, folder: Path, *, tls: Path | None = None, failures: int = 2) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._tls_options: list[str] = []
        if tls is not None:
            files = {"ca": "ca.pem", "cert": "own.pem", "key": "own.key"}
            for option, file in files.items():
                self._tls_options += [f"--tls-{option}", str(tls / file)]
        self._environment = {
            **os.environ,
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures),
        }
        self.running: list[subprocess.Popen[bytes]] = []
        address_file = folder / "scheduler.json"
        options = f"--port 0 --protocol {'tcp' if tls is None else 'tls'} --scheduler-file"
        self.scheduler = self.dask("scheduler", *options.split(), str(address_file))
        wait_until(address_file.exists)
        self.address = json.loads(address_file.read_text())["address"]

    def dask(
        self, command: str, *arguments: str, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start one of Dask's commands, with a log in the cluster's folder."""
        # Dask's commands and ``nbmark grade`` differ in the name of this option only.
        tls = [option.replace("--tls-ca", "--tls-ca-file") for option in self._tls_options]
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [*before, BIN / "dask", command, *arguments, *tls, *LOOPBACK_ONLY],
                stdout=log,
                stderr=log,
                env={**self._environment, **environment},
                # A session of its own, so that a test can kill the workers as one process group.
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def workers(
        self, number: int = 2, threads: int = 1, before: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start `number` worker processes, and the nanny that restarts them.

        Parameters
        ----------
        before
            A command that runs Dask's command, given as its last arguments.
        """
        numbers = ["--nworkers", str(number), "--nthreads", str(threads)]
        local = ["--local-directory", str(self.folder / "local")]
        process = self.dask("worker", self.address, *numbers, *local, before=before, **environment)
        wait_until(lambda: len(list(self.folder.glob("local/*/worker-*.dirlock"))) >= number)
        return process

    def options(self) -> list[str]:
        """Return the options that make ``nbmark grade`` use this cluster."""
        return ["--scheduler", self.address, *self._tls_options]

    def materials(self) -> list[Path]:
        """Return the folders of assignments' material on the workers' disks."""
        return list(self.folder.glob("local/*/worker-*/nbmark-*"))

    def busy_workers(self) -> list[int]:
        """Return the ids of the worker processes that are grading a submission now."""
        with distributed.Client(self.address, set_as_default=False) as client:
            stacks, processes = client.call_stack(), client.run(os.getpid)
        return [processes[worker] for worker, tasks in stacks.items() if tasks]

    def close(self) -> None:
        """End every process; a worker that ignores the request is killed."""
        # The scheduler goes last, because workers that lose it first try to reconnect.
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()


def wait_until(condition: Callable[[], Any], within_s: float = 30) -> Any:
    """Call `condition` until it returns something true, and return that."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {within_s:g} s"
        time.sleep(0.1)
    return result
