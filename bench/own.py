"""Measure the students' own compute: the code cells of all submissions, run in one warm process.

``python own.py COURSE ASSIGNMENT`` prints seconds by student as JSON. All libraries are imported
and have been used once before the clock starts. There is no sandbox, no check and no feedback.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

# The same settings as in the sandbox, because the compute of both is compared.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    TF_CPP_MIN_LOG_LEVEL="2",
    TF_ENABLE_ONEDNN_OPTS="0",
)

from ipykernel.inprocess.ipkernel import InProcessKernel  # libraries read the environment once


def main(course: Path, assignment: str) -> None:
    """Run every submission, and print its seconds by student."""
    kernel = InProcessKernel()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    folders = sorted((course / "submitted").glob(f"*/{assignment}"))
    sys.path.insert(0, "")  # modules beside the notebook, as in a kernel
    seconds = {}
    # The first submission runs twice. Its first run warms up, and its second replaces the time.
    for folder in [folders[0], *folders]:
        os.chdir(folder)
        notebook = json.loads((folder / f"{assignment}.ipynb").read_text())
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
        began = time.perf_counter()
        for source in sources:
            with kernel._redirected_io():
                loop.run_until_complete(kernel.do_execute(source, silent=False))
        seconds[folder.parent.name] = time.perf_counter() - began
        kernel.shell.reset(new_session=True)
    # The kernel has put its own stream in the place of `sys.stdout`.
    print(json.dumps(seconds), file=sys.__stdout__)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
