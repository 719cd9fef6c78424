"""What a Dask scheduler costs a submission: a real scheduler, and as many workers as asked for.

Two cores hold no thousand worker processes. So the workers are Dask's own `Worker` objects, many in
one process, and their task sleeps for ``--seconds`` and sends back a reply of real size; a request
of real size goes in, and no more are under way than the product sends. All of it shares the
machine, so the rate is what this machine can do with everything on it. The processor time of the
scheduler's own process is what it would spend anywhere: it bounds the rate on a machine of its own.
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
from pathlib import Path

import dask
import distributed
import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
IN_ONE_PROCESS = 250
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


async def sleeping(
    seconds: float, reply_bytes: int, request: bytes, topic: str, task: str
) -> bytes:
    """In the place of `cluster_work.grade_there`: says that it has begun, and takes its time."""
    distributed.get_worker().log_event(topic, task)
    await asyncio.sleep(seconds)
    return bytes(reply_bytes)


async def work(address: str, number: int, home: str) -> None:
    """Be so many workers until the scheduler goes away."""
    with dask.config.set(LIGHT):
        workers = []
        for batch in range(0, number, 25):
            workers += await asyncio.gather(
                *(
                    distributed.Worker(
                        address,
                        nthreads=1,
                        memory_limit=0,
                        local_directory=home,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                    )
                    for _ in range(min(25, number - batch))
                )
            )
        await asyncio.gather(*(one.finished() for one in workers))


class Measured:
    """Sends submissions as `nbmark.workers.dask.cluster.Cluster` does, and counts."""

    def __init__(self, address: str, scheduler: psutil.Process, arguments: argparse.Namespace):
        self.scheduler = scheduler
        self.address = address
        self.seconds, self.reply_bytes = arguments.seconds, arguments.reply_kb << 10
        notebook = (ROOT / "source" / "mse" / "mse.ipynb").read_bytes()
        self.request = json.dumps(
            {
                "notebooks": {"mse": notebook.hex()[: len(notebook) * 4 // 3]},
                "student": "ada",
                "seed": "0" * 64,
            }
        ).encode()
        self.done = 0
        # Sent by name, as the product's own: as a part of this script it would be sent in full.
        self.task = importlib.import_module(Path(__file__).stem).sleeping

    async def run(self, workers: int, tasks: int, limit_s: float) -> dict[str, float]:
        """Until `tasks` are done or the time is over; everybody's first one is not counted."""
        async with distributed.Client(
            self.address, asynchronous=True, set_as_default=False, timeout=60
        ) as client:
            self.topic = f"nbmark-{uuid.uuid4().hex}"
            client.subscribe_topic(self.topic, lambda event: None)
            deadline = time.monotonic() + limit_s
            left = iter(range(workers + tasks))
            senders = [
                asyncio.create_task(self._send(client, left, deadline)) for _ in range(2 * workers)
            ]
            while self.done < workers and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            first, began, spent = self.done, time.monotonic(), cpu_s(self.scheduler)
            own = time.process_time()
            await asyncio.gather(*senders)
            took, count = time.monotonic() - began, self.done - first
            return {
                "count": count,
                "took_s": took,
                "scheduler_s": cpu_s(self.scheduler) - spent,
                "coordinator_s": time.process_time() - own,
                "memory_mib": self.scheduler.memory_info().rss / 2**20,
            }

    async def _send(self, client: distributed.Client, left: object, deadline: float) -> None:
        while time.monotonic() < deadline and next(left, None) is not None:
            task = f"nbmark-{uuid.uuid4().hex}"
            reply = await client.submit(
                self.task, self.seconds, self.reply_bytes, self.request, self.topic, task, key=task
            )
            assert len(reply) == self.reply_bytes  # noqa: S101
            self.done += 1


def measure(number: int, arguments: argparse.Namespace) -> dict[str, float]:
    """One scheduler with so many workers, from start to end."""
    with tempfile.TemporaryDirectory() as home:
        where = Path(home, "scheduler.json")
        processes = [
            quietly(
                BIN / "dask",
                "scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--dashboard-address",
                "127.0.0.1:0",
                "--scheduler-file",
                where,
            )
        ]
        try:
            while not where.exists():
                if processes[0].poll() is not None:
                    sys.exit("bench: 'dask scheduler' does not start")
                time.sleep(0.1)
            address = json.loads(where.read_text())["address"]
            began = time.monotonic()
            for first in range(0, number, IN_ONE_PROCESS):
                count = min(IN_ONE_PROCESS, number - first)
                processes.append(
                    quietly(sys.executable, __file__, "--be", address, str(count), home)
                )
            reached = wait_for(address, number, arguments.limit)
            joined_s = time.monotonic() - began
            scheduler = psutil.Process(processes[0].pid)
            spent = cpu_s(scheduler)
            time.sleep(IDLE_S)
            idle = (cpu_s(scheduler) - spent) / IDLE_S
            found = asyncio.run(
                Measured(address, scheduler, arguments).run(
                    reached, arguments.tasks or 10 * reached, arguments.limit
                )
            )
            return {"workers": reached, "joined_s": joined_s, "idle": idle, **found}
        finally:
            for process in processes:
                process.kill()
                process.wait()


def quietly(*command: str | Path) -> subprocess.Popen[bytes]:
    """A process that finds this module and says nothing."""
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(address: str, number: int, limit_s: float) -> int:
    """How many workers have come when all are there or the time is over."""
    deadline = time.monotonic() + limit_s
    with distributed.Client(address, set_as_default=False, timeout=60) as client:
        while (found := len(client.nthreads())) < number and time.monotonic() < deadline:
            time.sleep(0.5)
    return found


def main() -> None:
    """Print a row for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", default="1000", help="numbers of workers, as in 100,500,1000")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long a submission takes")
    parser.add_argument("--tasks", type=int, default=0, help="10 for each worker if not given")
    parser.add_argument("--reply-kb", type=int, default=150)
    parser.add_argument("--limit", type=float, default=90.0, help="seconds for each number")
    parser.add_argument(
        "--be", nargs=3, metavar=("ADDRESS", "NUMBER", "HOME"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.be:
        address, number, home = arguments.be
        asyncio.run(work(address, int(number), home))
        return
    for number in map(int, arguments.workers.split(",")):
        one = measure(number, arguments)
        count = max(one["count"], 1)
        busy = count / one["took_s"] * arguments.seconds / one["workers"]
        work_s = one["scheduler_s"] - one["idle"] * one["took_s"]
        print(
            f"{one['workers']:.0f} workers, there after {one['joined_s']:.0f} s: "
            f"{one['count']:.0f} submissions of {arguments.seconds:g} s with replies of "
            f"{arguments.reply_kb} KB, {count / one['took_s']:.0f} a second "
            f"({busy:.0%} of what the workers could do)\n"
            f"  scheduler: {1000 * work_s / count:.2f} ms of processor time each, "
            f"{one['idle']:.0%} of a core when idle, {one['memory_mib']:.0f} MiB: at most "
            f"{(1 - one['idle']) * count / work_s:.0f} a second\n"
            f"  coordinator: {1000 * one['coordinator_s'] / count:.2f} ms each, without writing",
            flush=True,
        )


def cpu_s(process: psutil.Process) -> float:
    """Processor time that a process has spent so far."""
    spent = process.cpu_times()
    return float(spent.user + spent.system)


if __name__ == "__main__":
    main()
