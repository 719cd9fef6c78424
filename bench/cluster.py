"""A Dask cluster of two workers on this machine beside two local workers, by turns.

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

from classes import ASSIGNMENTS, BIN, command, hand_in, make_course, our_config

ONLY_HERE = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


@contextlib.contextmanager
def two_workers(folder: Path) -> Iterator[str]:
    """The address of a scheduler with two worker processes of one thread each."""
    place = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:

        def dask(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [BIN / "dask", *words, *ONLY_HERE],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        scheduler = dask("scheduler", "--port", "0", "--scheduler-file", str(place))
        while not place.exists():
            if scheduler.poll() is not None:
                sys.exit("bench: 'dask scheduler' does not start")
            time.sleep(0.1)
        address = json.loads(place.read_text())["address"]
        dask(
            "worker",
            address,
            "--nworkers",
            "2",
            "--nthreads",
            "1",
            "--local-directory",
            str(folder),
        )
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
        hand_in(folder, assignment, options.students, mixed=False)
        with two_workers(folder) as address:
            ways = {"local": ["--workers", "2"], "cluster": ["--scheduler", address]}
            times: dict[str, list[float]] = {one: [] for one in ways}
            for number in range(options.rounds + 1):
                for way, words in ways.items():
                    began = time.monotonic()
                    command(folder, "nbmark", "grade", assignment, "--force", *words)
                    if number:  # the first round warms up both
                        times[way].append(time.monotonic() - began)
    middle = {way: statistics.median(found) for way, found in times.items()}
    for way, seconds in middle.items():
        print(f"{way:8} {seconds:.2f} s, {60 * options.students / seconds:.0f} a minute")
    print(f"cluster / local throughput: {100 * middle['local'] / middle['cluster']:.0f} %")


if __name__ == "__main__":
    main()
