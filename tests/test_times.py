"""The time of a submission is read as the exchange wrote it, or refused with a sentence."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from traitlets.config import Config

from conftest import run
from helpers import RIGHT, dump_gradebook, submit_toy
from nbmark.course.times import TimestampReader
from nbmark.errors import UnreadableTime, UsageError

BERLIN = "Europe/Berlin"
NOON = datetime(2026, 7, 2, 12)


def reader(timezone: str = "UTC", **options: str) -> TimestampReader:
    return TimestampReader.of_course(Config(Exchange={"timezone": timezone, **options}))


@pytest.mark.parametrize(
    ("timezone", "text"),
    [
        ("UTC", "2026-07-02 12:00:00.000000 UTC"),
        ("UTC", "2026-07-02 14:00:00.000000 +0200\n"),
        ("UTC", "2026-07-02 06:30:00 -05:30"),
        ("UTC", "2026-07-02T14:00:00+02:00"),
        ("UTC", "2026-07-02 12:00:00"),
        ("UTC", "2026-07-02 14:00:00 Europe/Berlin"),
        (BERLIN, "2026-07-02 14:00:00.000000 CEST"),
        (BERLIN, "2026-07-02 14:00:00"),
        (BERLIN, "2026-07-02 12:00:00 UTC"),
        ("America/New_York", "2026-07-02 08:00:00.000000 EDT"),
        ("Asia/Shanghai", "2026-07-02 20:00:00.000000 CST"),
    ],
)
def test_a_time_is_read_in_its_own_zone(timezone, text):
    assert reader(timezone).read(text) == NOON


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d.%m.%Y %H:%M:%S %Z", "02.07.2026 14:00:00 CEST"),
        ("%d.%m.%Y %H:%M", "02.07.2026 14:00"),
        ("%Y-%m-%d %H:%M:%S %z", "2026-07-02 14:00:00 +0200"),
    ],
)
def test_a_time_is_read_in_the_configured_format(form, text):
    assert reader(BERLIN, timestamp_format=form).read(text) == NOON


def test_the_name_of_the_zone_tells_the_hour_that_comes_twice():
    times = reader(BERLIN)
    assert times.read("2026-10-25 02:30:00 CEST") == datetime(2026, 10, 25, 0, 30)
    assert times.read("2026-10-25 02:30:00 CET") == datetime(2026, 10, 25, 1, 30)


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-02 14:00:00 CEST",  # no zone of this course
        "2026-07-02 14:00:00 IST",
        "2026-07-02 14:00:00 /etc/passwd",
        "2026-07-02 14:00:00 ../x/\0",
        "02.07.2026 14:00:00",
        "yesterday",
        "0001-01-01 00:00:00 +0100",
        "",
        "9" * 10_000,
    ],
)
def test_a_time_that_is_not_certain_is_refused(text):
    with pytest.raises(UnreadableTime) as caught:
        reader().read(text)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_an_unknown_time_zone_in_the_configuration_is_refused():
    with pytest.raises(UsageError, match=r"c\.Exchange\.timezone = 'Berlin' is no time zone"):
        reader("Berlin")


def grade(course: Path) -> dict[str, str]:
    """Run ``nbmark grade``, which must succeed; return the only row."""
    completed = run(course, "nbmark", "grade", "toy", "--json")
    assert completed.returncode == 0, completed.stderr
    (row,) = json.loads(completed.stdout)["students"]
    return row


def test_an_unreadable_time_is_reported_at_each_run_until_the_zone_is_configured(toy_course):
    folder = submit_toy(toy_course, "ada", RIGHT)
    (folder / "timestamp.txt").write_text("2026-07-02 14:00:00.000000 CEST")
    for outcome in ("graded", "up to date"):
        row = grade(toy_course)
        assert (row["outcome"], row["points"]) == (outcome, 3)
        (note,) = row["notes"]
        assert note.startswith("its timestamp.txt cannot be read, so it is not counted as late: ")
        assert "the time zone 'CEST' is not one of c.Exchange.timezone (UTC)" in note
    assert dump_gradebook(toy_course, "toy")[0]["timestamp"] == "None"
    with (toy_course / "nbgrader_config.py").open("a") as config:
        config.write(f"\nc.Exchange.timezone = {BERLIN!r}\n")
    assert grade(toy_course)["notes"] == []
    assert dump_gradebook(toy_course, "toy")[0]["timestamp"] == "2026-07-02 12:00:00"


def test_an_unreadable_time_does_not_stop_nbgraders_feedback(toy_course):
    (submit_toy(toy_course, "ada", RIGHT) / "timestamp.txt").write_text("yesterday")
    grade(toy_course)
    for _ in range(2):
        completed = run(toy_course, "nbgrader", "generate_feedback", "toy")
        assert completed.returncode == 0, completed.stderr
    assert (toy_course / "feedback" / "ada" / "toy" / "toy.html").exists()


def test_without_a_timestamp_the_time_in_the_gradebook_stays(toy_course):
    folder = submit_toy(toy_course, "ada", RIGHT)
    grade(toy_course)
    (folder / "timestamp.txt").unlink()
    assert grade(toy_course)["notes"] == []
    assert dump_gradebook(toy_course, "toy")[0]["timestamp"] == "2026-11-02 10:00:00"
