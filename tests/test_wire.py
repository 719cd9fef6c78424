"""A wire carries frames, keeps its deadlines, and refuses bytes that are not a frame."""

from __future__ import annotations

import os
import struct
import time

import pytest

from nbmark.sandbox.wire import Wire, WireClosed, WireGarbage, WireTimeout


def wire_and_peer() -> tuple[Wire, int, int]:
    """Return a wire, and the descriptors with which its peer writes and reads."""
    (our_reader, peer_writer), (peer_reader, our_writer) = os.pipe(), os.pipe()
    return Wire(our_reader, our_writer), peer_writer, peer_reader


def soon() -> float:
    return time.monotonic() + 0.2


@pytest.mark.parametrize(
    "data",
    [struct.pack(">I", 5) + b"nojsn", struct.pack(">I", 1 << 30), struct.pack(">I", 2) + b"[]"],
)
def test_bytes_that_are_not_a_frame_are_garbage(data):
    wire, peer_writer, _ = wire_and_peer()
    os.write(peer_writer, data)
    with pytest.raises(WireGarbage):
        wire.receive(deadline=soon(), max_bytes=1000)


def test_a_silent_peer_times_out_and_a_vanished_one_is_reported():
    wire, peer_writer, _ = wire_and_peer()
    os.write(peer_writer, b"\0\0")
    with pytest.raises(WireTimeout):
        wire.receive(deadline=soon(), max_bytes=1000)
    os.close(peer_writer)
    with pytest.raises(WireClosed):
        wire.receive(deadline=soon(), max_bytes=1000)


def test_sending_to_a_peer_that_reads_nothing_times_out():
    wire, _, _ = wire_and_peer()
    with pytest.raises(WireTimeout):
        wire.send({"text": "x" * (1 << 20)}, deadline=soon())
