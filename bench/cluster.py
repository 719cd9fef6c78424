"""Compare a Dask cluster of two workers on this machine with two local workers, in turns.

``python bench/cluster.py [--rounds 5] [--students 40]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from classes import ASSIGNMENTS, BIN, command, make_course, our_config, submit_class

# Without these Dask opens its ports on all networks, and the connection is not encrypted here.
ONLY_HERE = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
TWO_WORKERS = ["--nworkers", "2", "--nthreads", "1"]


@contextlib.contextmanager
def two_workers(folder: Path) -> Iterator[str]:
    """Give the address of a scheduler with two worker processes of one thread each."""
    scheduler_file = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:

        def dask(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [BIN / "dask", *words, *ONLY_HERE],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            # Run in reverse order: the process is terminated first, then waited for.
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        scheduler = dask("scheduler", "--port", "0", "--scheduler-file", str(scheduler_file))
        while not scheduler_file.exists():
            if scheduler.poll() is not None:
                sys.exit("bench: 'dask scheduler' does not start")
            time.sleep(0.1)
        address = json.loads(scheduler_file.read_text())["address"]
        dask("worker", address, *TWO_WORKERS, "--local-directory", str(folder))
        yield address


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--students", type=int, default=40)
    options = parser.parse_args()
    assignment = ASSIGNMENTS["numpy"]
    with tempfile.TemporaryDirectory(prefix="nbmark-bench-") as name:
        folder = Path(name)
        make_course(folder, our_config(), assignment)
        submit_class(folder, assignment, options.students, mixed=False)
        with two_workers(folder) as address:
            ways = {"local": ["--workers", "2"], "cluster": ["--scheduler", address]}
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(options.rounds + 1):
                for way, words in ways.items():
                    began = time.monotonic()
                    command(folder, "nbmark", "grade", assignment, "--force", *words)
                    # The first round verifies the assignment and starts the cluster's processes.
                    if number:
                        times[way].append(time.monotonic() - began)
    medians = {way: statistics.median(seconds) for way, seconds in times.items()}
    for way, seconds in medians.items():
        print(f"{way:8} {seconds:.2f} s, {60 * options.students / seconds:.0f} a minute")
    print(f"cluster / local throughput: {100 * medians['local'] / medians['cluster']:.0f} %")


if __name__ == "__main__":
    main()
