"""The students' own compute: the code cells of every submission, run in one warm process.

``python own.py COURSE ASSIGNMENT`` prints seconds by student as JSON. Everything is imported and
has been used once before the clock starts; no wall, no checks, no feedback.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    TF_CPP_MIN_LOG_LEVEL="2",
    TF_ENABLE_ONEDNN_OPTS="0",
)

from ipykernel.inprocess.ipkernel import InProcessKernel  # after the environment


def main(course: Path, assignment: str) -> None:
    """Run everybody once to warm up and once for the clock."""
    kernel = InProcessKernel()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    folders = sorted((course / "submitted").glob(f"*/{assignment}"))
    sys.path.insert(0, "")
    seconds = {}
    for folder in [folders[0], *folders]:
        os.chdir(folder)
        notebook = json.loads((folder / f"{assignment}.ipynb").read_text())
        codes = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
        began = time.perf_counter()
        for code in codes:
            with kernel._redirected_io():
                loop.run_until_complete(kernel.do_execute(code, silent=False))
        seconds[folder.parent.name] = time.perf_counter() - began
        kernel.shell.reset(new_session=True)
    print(json.dumps(seconds), file=sys.__stdout__)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
