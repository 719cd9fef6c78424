"""Measure the cost of a submission to a Dask scheduler: a real scheduler, up to 1 000 workers.

Two cores cannot hold a thousand worker processes. So the workers are Dask's own `Worker` objects,
many in one process. Their task sleeps for ``--seconds`` and returns a reply of real size; requests
have real size too, and no more are under way than nbmark sends. All of it shares the machine, so
the rate is the rate of this machine with everything on it. The scheduler's own processor time would
be the same anywhere, so it bounds the rate of a scheduler that has a processor to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import dask
import distributed
import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
# Dask opens its ports on all networks by default.
ONLY_HERE = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
# A thousand interpreters would not fit into memory, and a single one would keep to one core.
IN_ONE_PROCESS = 250
# Workers that all start at once would run into the time limit of their connection.
START_AT_ONCE = 25
# The upkeep of a thousand workers would take the two cores away from the scheduler.
LIGHT = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "10s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "60s",
}
IDLE_S = 4.0


async def sleep_and_reply(
    seconds: float, reply_bytes: int, request: bytes, topic: str, task: str
) -> bytes:
    """Take the place of `task.grade_on_worker`: report the start, sleep, return a reply."""
    distributed.get_worker().log_event(topic, task)
    await asyncio.sleep(seconds)
    return bytes(reply_bytes)


async def run_workers(address: str, number: int, home: str) -> None:
    """Be `number` workers until the scheduler closes."""
    with dask.config.set(LIGHT):
        workers = []
        for first in range(0, number, START_AT_ONCE):
            batch = range(first, min(first + START_AT_ONCE, number))
            workers += await asyncio.gather(*(_worker(address, home) for _ in batch))
        await asyncio.gather(*(worker.finished() for worker in workers))


def _worker(address: str, home: str) -> distributed.Worker:
    return distributed.Worker(
        address,
        nthreads=1,
        memory_limit=0,
        local_directory=home,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )


class Load:
    """Sends submissions as `nbmark.workers.dask.sending.Sender` does, and counts them."""

    def __init__(self, address: str, scheduler: psutil.Process, arguments: argparse.Namespace):
        self._address = address
        self._scheduler = scheduler
        self._seconds, self._reply_bytes = arguments.seconds, arguments.reply_kb << 10
        notebook = (ROOT / "source" / "mse" / "mse.ipynb").read_bytes()
        self._request = json.dumps(
            {
                # As long as base64, in which the real request holds the notebook.
                "notebooks": {"mse": notebook.hex()[: len(notebook) * 4 // 3]},
                "student": "ada",
                "seed": "0" * 64,
            }
        ).encode()
        self._replies = 0
        # Dask sends a function of a module by name, as it does nbmark's own. A function of the
        # script itself would be sent with its code each time.
        self._task = importlib.import_module(Path(__file__).stem).sleep_and_reply

    async def run(self, workers: int, tasks: int, limit_s: float) -> dict[str, float]:
        """Send until `tasks` have returned or the time is over; return the figures.

        The first task of each worker is not counted, because it opens connections.
        """
        async with distributed.Client(
            self._address, asynchronous=True, set_as_default=False, timeout=60
        ) as client:
            self._topic = f"nbmark-{uuid.uuid4().hex}"
            client.subscribe_topic(self._topic, lambda event: None)
            deadline = time.monotonic() + limit_s
            numbers = iter(range(workers + tasks))
            senders = [
                asyncio.create_task(self._send(client, numbers, deadline))
                for _ in range(2 * workers)
            ]
            while self._replies < workers and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            warm_up, began = self._replies, time.monotonic()
            scheduler_s, own_s = cpu_s(self._scheduler), time.process_time()
            await asyncio.gather(*senders)
            return {
                "count": self._replies - warm_up,
                "took_s": time.monotonic() - began,
                "scheduler_s": cpu_s(self._scheduler) - scheduler_s,
                "coordinator_s": time.process_time() - own_s,
                "memory_mib": self._scheduler.memory_info().rss / 2**20,
            }

    async def _send(
        self, client: distributed.Client, numbers: Iterator[int], deadline: float
    ) -> None:
        """Send one task after the other while numbers remain; all senders share them."""
        while time.monotonic() < deadline and next(numbers, None) is not None:
            key = f"nbmark-{uuid.uuid4().hex}"
            arguments = (self._seconds, self._reply_bytes, self._request, self._topic, key)
            reply = await client.submit(self._task, *arguments, key=key)
            assert len(reply) == self._reply_bytes  # noqa: S101
            self._replies += 1


def measure(number: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one scheduler with `number` workers."""
    with tempfile.TemporaryDirectory() as home:
        scheduler_file = Path(home, "scheduler.json")
        processes = [
            start_silent(BIN / "dask", "scheduler", *ONLY_HERE, "--scheduler-file", scheduler_file)
        ]
        try:
            while not scheduler_file.exists():
                if processes[0].poll() is not None:
                    sys.exit("bench: 'dask scheduler' does not start")
                time.sleep(0.1)
            address = json.loads(scheduler_file.read_text())["address"]
            began = time.monotonic()
            for first in range(0, number, IN_ONE_PROCESS):
                count = str(min(IN_ONE_PROCESS, number - first))
                processes.append(
                    start_silent(sys.executable, __file__, "--be", address, count, home)
                )
            workers = wait_for_workers(address, number, arguments.limit)
            joined_s = time.monotonic() - began
            scheduler = psutil.Process(processes[0].pid)
            idle = _idle_share(scheduler)
            load = Load(address, scheduler, arguments)
            tasks = arguments.tasks or 10 * workers
            figures = asyncio.run(load.run(workers, tasks, arguments.limit))
            return {"workers": workers, "joined_s": joined_s, "idle": idle, **figures}
        finally:
            for process in processes:
                process.kill()
                process.wait()


def start_silent(*command: str | Path) -> subprocess.Popen[bytes]:
    """Start a process that can import this module, and drop its output."""
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for_workers(address: str, number: int, limit_s: float) -> int:
    """Return how many workers have joined, once all have or the time is over."""
    deadline = time.monotonic() + limit_s
    with distributed.Client(address, set_as_default=False, timeout=60) as client:
        while (workers := len(client.nthreads())) < number and time.monotonic() < deadline:
            time.sleep(0.5)
    return workers


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time that a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _idle_share(scheduler: psutil.Process) -> float:
    """Return the share of a processor that heartbeats alone take, which are no submission's."""
    before_s = cpu_s(scheduler)
    time.sleep(IDLE_S)
    return (cpu_s(scheduler) - before_s) / IDLE_S


def print_figures(figures: dict[str, float], arguments: argparse.Namespace) -> None:
    """Print three lines about one number of workers."""
    count = max(figures["count"], 1)
    busy = count / figures["took_s"] * arguments.seconds / figures["workers"]
    work_s = figures["scheduler_s"] - figures["idle"] * figures["took_s"]
    print(
        f"{figures['workers']:.0f} workers, joined after {figures['joined_s']:.0f} s: "
        f"{figures['count']:.0f} submissions of {arguments.seconds:g} s with replies of "
        f"{arguments.reply_kb} KB, {count / figures['took_s']:.0f} a second "
        f"({busy:.0%} of what the workers could do)\n"
        f"  scheduler: {1000 * work_s / count:.2f} ms of processor time each, "
        f"{figures['idle']:.0%} of a core when idle, {figures['memory_mib']:.0f} MiB: at most "
        f"{(1 - figures['idle']) * count / work_s:.0f} a second\n"
        f"  coordinator: {1000 * figures['coordinator_s'] / count:.2f} ms each, without writing",
        flush=True,
    )


def main() -> None:
    """Print the figures for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="1000", help="numbers of workers, as in 100,500,1000")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long a submission takes")
    parser.add_argument("--tasks", type=int, default=0, help="10 for each worker if not given")
    parser.add_argument("--reply-kb", type=int, default=150)
    parser.add_argument("--limit", type=float, default=90.0, help="seconds for each number")
    # The script starts itself with this option, as a process that holds many workers.
    parser.add_argument(
        "--be", nargs=3, metavar=("ADDRESS", "NUMBER", "HOME"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.be:
        address, number, home = arguments.be
        asyncio.run(run_workers(address, int(number), home))
        return
    for number in map(int, arguments.workers.split(",")):
        print_figures(measure(number, arguments), arguments)


if __name__ == "__main__":
    main()
