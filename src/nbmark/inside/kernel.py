"""Starts the ipykernel of one submission, with the agent at hand.

The agent is a module of this process and not a name in the notebook: a student's variables stay
theirs. A fork server would import here what the assignment imports, and fork before `launch`.
"""

import importlib.util
import os
import sys


def load_agent(folder):
    """The agent as a module that is found under no name a notebook would use."""
    spec = importlib.util.spec_from_file_location(
        "_nbmark_agent", os.path.join(folder, "agent.py"))  # fmt: skip
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


def launch(connection_file):
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(
        ["-f", connection_file, "--IPKernelApp.capture_fd_output=True",
         "--InteractiveShell.cache_size=0", "--HistoryManager.enabled=False"])  # fmt: skip


if __name__ == "__main__":
    load_agent(os.path.dirname(os.path.abspath(__file__)))
    sys.path[0] = ""  # as in any notebook: the working directory, not this folder
    launch(sys.argv[1])
