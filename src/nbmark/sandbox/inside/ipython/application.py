"""ipykernel's application around the kernel, without its sockets and threads.

Magics and libraries ask for the application: `%matplotlib` looks for its kernel in it, `tqdm` and
`ipywidgets` look for its name. It also finds the folder of settings, replaces the debugger and
hides its own names, as in any notebook.
"""

import json
import os
import sys
import types
from importlib.util import find_spec

from ipykernel import kernelapp
from traitlets.config import Config

from .channel import FrameSession

# With history on, IPython would open a database and start a thread that writes to it, and no thread
# survives a fork.
SETTINGS = Config(
    {"HistoryManager": {"enabled": False}, "IPKernelApp": {"connection_file": "kernel.json"}}
)

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
NO_CONNECTION = {
    **dict.fromkeys(PORTS, 0),
    "ip": "127.0.0.1",
    "transport": "tcp",
    "key": "",
    "signature_scheme": "hmac-sha256",
    "kernel_name": "python3",
    "jupyter_session": "",
}


class IPKernelApp(kernelapp.IPKernelApp):
    """ipykernel's application, which starts with frames in place of ZeroMQ.

    It has the name of ipykernel's class, which libraries look for.

    Parameters
    ----------
    channel
        The connection to the driver.
    """

    def __init__(self, channel=None, **options):
        super().__init__(config=SETTINGS, outstream_class=None, **options)
        self._channel = channel

    def set_up_files(self):
        """Write the files of this process; a forked child has empty folders."""
        os.makedirs(os.path.join(self.profile_dir.location, "db"), exist_ok=True)
        self.profile_dir.check_dirs()
        os.makedirs(self.connection_dir, exist_ok=True)
        with open(self.abs_connection_file, "w") as file:
            json.dump(NO_CONNECTION, file)
        self._add_working_directory()
        # As ipykernel is started: a notebook may read them with argparse.
        sys.argv = [find_spec("ipykernel_launcher").origin, "-f", self.abs_connection_file]

    def init_pdb(self):
        super().init_pdb()
        # As debugpy does while nobody debugs: the cell goes on.
        sys.breakpointhook = _ignore_breakpoint

    def _add_working_directory(self):
        """Let a notebook import the files beside it, but not in place of Python's own modules."""
        # IPython would do so in `init_path`, though never after `python -I`. It has to be in the
        # kernel's process only: the driver must not import a file that a student wrote.
        last = [os.path.basename(path) for path in sys.path]
        sys.path.insert(last.index("site-packages") if "site-packages" in last else 0, "")

    def init_sockets(self):
        self.session = FrameSession(self._channel)

    def init_kernel(self):
        # ipykernel loads a debugger if it can import one. A notebook may still do so later.
        sys.modules["debugpy"] = None
        self.kernel = self.kernel_class.instance(
            parent=self,
            session=self.session,
            iopub_socket=object(),
            # No cell runs in the parent of this thread, so ipykernel leaves SIGINT to `channel`.
            shell_channel_thread=types.SimpleNamespace(parent_thread=None),
            profile_dir=self.profile_dir,
            log=self.log,
            user_ns=None,
        )
        del sys.modules["debugpy"]
        # Subshells would be threads, which take messages from ZeroMQ.
        type(self.kernel)._supports_kernel_subshells = False
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count

    def _do_nothing(self, *arguments):
        """Stand in for the steps that need sockets, and for those that others do here."""

    init_path = init_poller = init_connection_file = init_heartbeat = init_signal = _do_nothing
    write_connection_file = log_connection_info = _do_nothing


def _ignore_breakpoint(*arguments, **options):
    """Do nothing, in place of ``breakpoint()``."""
