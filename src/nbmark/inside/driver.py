"""Runs one kernel inside the wall and obeys the trusted side, frame by frame.

A frame is four bytes of length (big endian) and JSON. Requests carry an `id`; every reply repeats
it. ``start`` sets the limits and starts the kernel, ``furnish`` puts files beside the notebook,
``cell`` runs one cell, ``ask`` puts one question to the agent. The kernel's own messages stay in
here: the trusted side never sees ZeroMQ.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
INTERRUPT_GRACE_S = 3.0
PR_SET_DUMPABLE = 4


def main():
    # The kernel runs under the same user id: it must not open this process's descriptors. As the
    # first process of its namespace this one cannot be killed or stopped from inside either.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    kernel = Kernel()
    handlers = {"start": kernel.start, "furnish": kernel.furnish, "cell": kernel.run_cell,
                "ask": kernel.ask}  # fmt: skip
    while (request := read_frame(requests)) is not None:
        reply = handlers[request.pop("op")](**request.pop("args"))
        write_frame(replies, {"id": request["id"], **reply})
    kernel.stop()


class Kernel:
    """One ipykernel and the client that talks to it."""

    def start(self, limits, timeout_s):
        set_limits(limits)
        self.folder = tempfile.mkdtemp(prefix=".kernel-", dir="/tmp")
        connection = os.path.join(self.folder, "kernel.json")
        key = os.urandom(16).hex()
        with open(connection, "w") as file:
            json.dump({"transport": "ipc", "ip": os.path.join(self.folder, "socket"), "key": key,
                       "signature_scheme": "hmac-sha256", "kernel_name": "python3",
                       "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4,
                       "hb_port": 5}, file)  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "kernel.py"), connection],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # Imported while the kernel starts: the two run side by side.
        from jupyter_client.blocking.client import BlockingKernelClient

        self.client = BlockingKernelClient(connection_file=connection)
        self.client.load_connection_file()
        self.client.start_channels(hb=False, stdin=False)
        try:
            self._wait_until_ready(timeout_s)
        except RuntimeError as error:
            return {"status": "failed", "message": str(error)[:300]}
        return {"status": "ok"}

    def furnish(self, text, timeout_s):
        code = f"__import__('_nbmark_agent').furnish({text!r})"
        status, content = self._execute(
            {"code": code, "silent": True, "store_history": False}, timeout_s, lambda message: None
        )
        return {"status": "ok" if status == content.get("status") == "ok" else "failed"}

    def run_cell(self, code, timeout_s, max_output_bytes):
        outputs = Outputs(max_output_bytes)
        began = time.monotonic()
        status, content = self._execute(
            {"code": code, "store_history": True, "stop_on_error": False}, timeout_s, outputs.add
        )
        if status == "ok" and content.get("status") != "ok":
            status = "error"
        return {
            "status": status, "outputs": outputs.items, "truncated": outputs.truncated,
            "execution_count": content.get("execution_count"),
            "error_name": str(content.get("ename", ""))[:200],
            "error_message": str(content.get("evalue", ""))[:500],
            "seconds": time.monotonic() - began,
        }  # fmt: skip

    def ask(self, question, timeout_s, max_bytes):
        ask = f"__import__('_nbmark_agent').Reply({question!r}, {max_bytes})"
        status, content = self._execute(
            {"code": "", "silent": True, "store_history": False,
             "user_expressions": {"answer": ask}},
            timeout_s, lambda message: None,
        )  # fmt: skip
        if status != "ok":
            return {"status": status, "answer": ""}
        found = content.get("user_expressions", {}).get("answer", {})
        text = found.get("data", {}).get("text/plain", "")
        return {"status": "ok", "answer": text if len(text) <= max_bytes else ""}

    def stop(self):
        if getattr(self, "process", None):
            self.process.kill()

    def _wait_until_ready(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.client.kernel_info()
            try:
                self.client.get_shell_msg(timeout=0.2)
                return self._wait_for_iopub(deadline)
            except queue.Empty:
                if self.process.poll() is not None:
                    raise RuntimeError("the kernel ended while starting") from None
        raise RuntimeError(f"the kernel was not ready after {timeout_s:g} s")

    def _wait_for_iopub(self, deadline):
        """A subscriber may miss the first messages: ask until one arrives, then drain."""
        while time.monotonic() < deadline:
            self.client.kernel_info()
            try:
                self.client.get_iopub_msg(timeout=0.2)
                break
            except queue.Empty:
                continue
        while True:
            try:
                self.client.get_iopub_msg(timeout=0.02)
            except queue.Empty:
                break
        while True:
            try:
                self.client.get_shell_msg(timeout=0.02)
            except queue.Empty:
                return

    def _execute(self, request, timeout_s, on_output):
        """How it ended, and the content of the kernel's reply.

        ``ok``, ``timeout`` (interrupted in time), ``stuck`` (it would not be interrupted and was
        killed) or ``died``.
        """
        if self._has_ended():
            return "died", {}
        silent = request.setdefault("silent", False)
        message_id = self.client.execute(allow_stdin=False, **request)
        deadline, interrupted = time.monotonic() + timeout_s, False
        idle, reply = False, None
        while not (idle and reply is not None):
            message = self._next_message(idle)
            if message is not None and message["parent_header"].get("msg_id") == message_id:
                kind, content = message["header"]["msg_type"], message["content"]
                if kind == "execute_reply":
                    reply = content
                elif kind == "status":
                    idle = idle or content.get("execution_state") == "idle"
                elif not silent:
                    on_output(message)
            elif self._has_ended():
                return ("stuck" if interrupted else "died"), {}
            if time.monotonic() > deadline:
                if interrupted:
                    self.process.kill()
                    self.process.wait()
                    return "stuck", {}
                interrupted = True
                self.process.send_signal(signal.SIGINT)
                deadline = time.monotonic() + INTERRUPT_GRACE_S
        return ("timeout" if interrupted else "ok"), reply

    def _has_ended(self):
        """Whether the kernel has; buries other processes, whose CPU time then counts for this one."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                found = None
            if found is None or found.si_pid == self.process.pid:
                return self.process.poll() is not None
            os.waitpid(found.si_pid, 0)

    def _next_message(self, idle):
        try:
            if idle:
                return self.client.get_shell_msg(timeout=0.1)
            return self.client.get_iopub_msg(timeout=0.1)
        except (queue.Empty, ValueError, KeyError):  # a forged message fails its signature
            return None


class Outputs:
    """The outputs of one cell in nbformat's form, up to a size."""

    def __init__(self, max_bytes):
        self.items, self.bytes_left, self.truncated = [], max_bytes, False

    def add(self, message):
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "clear_output":
            self.items.clear()
        if kind not in ("stream", "display_data", "execute_result", "error"):
            return
        self.bytes_left -= len(json.dumps(content, default=str))
        if self.bytes_left < 0:
            self.truncated = True
        elif kind == "stream" and self.items and self.items[-1].get("name") == content["name"]:
            self.items[-1]["text"] += content["text"]
        else:
            fields = {"stream": ("name", "text"), "error": ("ename", "evalue", "traceback")}
            names = fields.get(kind, ("data", "execution_count"))
            self.items.append({"output_type": kind, **{n: content.get(n) for n in names}})


def set_limits(limits):
    """Limits of each process; the kernel inherits them and cannot raise them again."""
    for name, amount in limits.items():
        which = getattr(resource, "RLIMIT_" + name)
        _, hard = resource.getrlimit(which)
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(which, (amount, amount))


def read_frame(stream):
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(struct.unpack(">I", head)[0]))


def write_frame(stream, value):
    data = json.dumps(value, default=str).encode()
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


if __name__ == "__main__":
    main()
