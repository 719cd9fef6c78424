"""The time of a submission, as it stands in ``timestamp.txt`` and in names in the exchange.

nbgrader reads "CEST" as UTC and "+0100" as 100 seconds, without a word. Here a text is read as
``c.Exchange.timezone`` and ``c.Exchange.timestamp_format`` have written it, or it is refused.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import zoneinfo
from collections.abc import Iterator

from traitlets.config import Config

from nbmark.errors import UnreadableTime, UsageError

# nbgrader's own defaults.
FORMAT = "%Y-%m-%d %H:%M:%S.%f %Z"
TIMEZONE = "UTC"
UTC_NAMES = ("UTC", "GMT", "Z")
OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>[0-5]\d)?")
MAX_SHOWN = 60


class TimestampReader:
    """Reads times as the exchange of a course writes them.

    Raises
    ------
    UsageError
        If the configured time zone does not exist.
    """

    def __init__(self, timezone: str = TIMEZONE, timestamp_format: str = FORMAT) -> None:
        zone = _zone(timezone)
        if zone is None:
            raise UsageError(
                f"nbgrader_config.py: c.Exchange.timezone = {timezone!r} is no time zone; write "
                "one like 'Europe/Berlin'"
            )
        self._zone = zone
        self._zone_name = timezone
        self._format = timestamp_format

    @classmethod
    def of_course(cls, config: Config) -> TimestampReader:
        """Return the reader for the time zone and the format in nbgrader's configuration."""
        exchange = config.get("Exchange", {})
        return cls(exchange.get("timezone", TIMEZONE), exchange.get("timestamp_format", FORMAT))

    def read(self, text: str) -> datetime.datetime:
        """Return the instant in UTC without a zone, as nbgrader keeps it.

        Raises
        ------
        UnreadableTime
            If the text is not a time, or names a time zone that is not known for certain.
        """
        text = text.strip()
        with contextlib.suppress(OverflowError):  # the year 1 or 9999
            for local, zone in self._readings(text):
                instant = self._placed(local, zone) if local.tzinfo is None else local
                return instant.astimezone(datetime.UTC).replace(tzinfo=None)
        raise UnreadableTime(f"{text[:MAX_SHOWN]!r} is not a time like '2026-11-02 10:00:00 UTC'")

    def _readings(self, text: str) -> Iterator[tuple[datetime.datetime, str]]:
        """Yield local time and name of the zone for each way in which the text can be read."""
        words, _, zone = text.rpartition(" ")
        # The configured format comes first, because 02.11.2026 may be in November or in February.
        with contextlib.suppress(ValueError):
            if "%Z" in self._format:
                # `strptime` knows only this machine's own names of zones, so it sees none.
                bare = self._format.replace("%Z", "").strip()
                yield datetime.datetime.strptime(words, bare), zone
            else:
                yield datetime.datetime.strptime(text, self._format), ""
        for local, name in ((text, ""), (words, zone)):
            with contextlib.suppress(ValueError):
                yield datetime.datetime.fromisoformat(local), name

    def _placed(self, local: datetime.datetime, zone: str) -> datetime.datetime:
        """Return a local time with its zone; without a name it is the configured one."""
        offset = OFFSET.fullmatch(zone)
        if offset:
            minutes = int(offset["hours"]) * 60 + int(offset["minutes"] or 0)
            signed = datetime.timedelta(minutes=-minutes if offset["sign"] == "-" else minutes)
            return local.replace(tzinfo=datetime.timezone(signed))
        if zone.upper() in UTC_NAMES:
            return local.replace(tzinfo=datetime.UTC)
        if not zone:
            return local.replace(tzinfo=self._zone)
        # An hour comes twice when summer ends, and only the zone's name tells which one it is.
        for fold in (0, 1):
            candidate = local.replace(tzinfo=self._zone, fold=fold)
            if candidate.tzname() == zone:
                return candidate
        # Abbreviations like CST or IST have several meanings. Names with a slash have one.
        named = _zone(zone) if "/" in zone else None
        if named is None:
            raise UnreadableTime(
                f"the time zone {zone[:MAX_SHOWN]!r} is not one of c.Exchange.timezone "
                f"({self._zone_name}); set that to the students' zone, like 'Europe/Berlin'"
            )
        return local.replace(tzinfo=named)


def _zone(name: str) -> datetime.tzinfo | None:
    """Return the time zone with a name such as ``Europe/Berlin``, or None."""
    if name in UTC_NAMES:  # a small machine may have no table of time zones
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # the name may hold anything, also a folder's
        return None
