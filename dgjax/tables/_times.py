"""Dates and numbers by which the rows of a frame are ordered, and those that follow them."""

import warnings
from datetime import UTC, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from dgjax.tables import _typed
from dgjax.tables._frames import Frame

EVEN = 1e-6
"""Distances between rows that differ by no more than this share are even."""


class Times(NamedTuple):
    """Times of rows (n,), dates or real numbers, and of dates their zone, in which they are told; UTC in `values`."""

    values: np.ndarray
    zone: str = ""

    @property
    def dates(self) -> bool:
        """Whether they are dates."""
        return self.values.dtype.kind == "M"

    def numbers(self) -> np.ndarray:
        """Times as real numbers: of dates the seconds since the first."""
        if not self.dates or not len(self.values):
            return self.values.astype(float)
        return (self.values - self.values.min()) / np.timedelta64(1, "s")

    def told(self) -> np.ndarray:
        """Times as they are told: dates on the clocks of their zone."""
        if not self.zone:
            return self.values
        zone = ZoneInfo(self.zone)
        dates = [date.replace(tzinfo=UTC).astimezone(zone) for date in self.values.astype("M8[us]").tolist()]
        return np.array([date.replace(tzinfo=None) for date in dates], "M8[us]")

    def on_clocks(self, step: float) -> "Times":
        """Times as they are told if steps are whole days, which are not 24 hours each where clocks change."""
        return Times(self.told()) if self.zone and step % 86400 == 0 else self

    def of(self, rows: np.ndarray) -> "Times":
        """Times of some rows."""
        return Times(self.values[rows], self.zone)


def times_of(frame: Frame, name: str) -> Times:
    """Times by a column of a frame, or by an index of it. Raises ValueError for what is neither dates nor numbers."""
    values, zone = frame.times(name)
    if values.dtype.kind in "iuf":
        values, wrong = values.astype(float), ~np.isfinite(values.astype(float))
    elif values.dtype.kind == "M":
        wrong = np.isnat(values)
    else:
        told = _typed.of(frame.library, "dated", name=name) if name in frame.names else ""
        raise ValueError(f"order column {name!r} must hold dates or numbers; got text or others. {told}".rstrip())
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"order column {name!r} must say when each row was; it is missing in row {row}. Leave such rows out."
        )
    return Times(values, zone)


def step_of(step: Any) -> float:
    """Distance of steps as a number, of dates in seconds. Raises ValueError for what is none, or not above 0."""
    if isinstance(step, np.timedelta64):
        number = float(step / np.timedelta64(1, "s")) if np.datetime_data(step)[0] not in ("Y", "M") else np.nan
    elif isinstance(step, timedelta):
        number = step.total_seconds()
    else:
        number = float(step) if isinstance(step, int | float | np.number) else np.nan
    if not 0 < number < np.inf:
        raise ValueError(
            f"step must be a length of time of one size, or a number above 0; got {step!r}. Type "
            "step=np.timedelta64(1, 'D')."
        )
    return number


def following(times: Times, steps: int, step: float, name: str) -> np.ndarray | None:
    """Times of the `steps` steps after a sequence's, which are sorted; None of a single one without a `step`.

    At the same distance, of dates also a month, quarter, year or business day (`pandas.infer_freq`). Raises ValueError,
    with what to type, where distances differ.
    """
    if not step and len(times.values) < 2:
        return None
    clocks = times.on_clocks(step or float(Times(times.told()).numbers()[:2] @ [-1, 1]))
    if clocks is not times and (step or _even(clocks.numbers())):
        return _from_clocks(following(clocks, steps, step, name), times.zone)
    numbers, ahead = times.numbers(), np.arange(1, steps + 1)
    gaps = np.diff(numbers)
    if not step and not _even(numbers):
        found = _by_calendar(times, steps) if times.dates else None
        if found is None:
            raise ValueError(_uneven(times, gaps, name))
        return found
    step = step or float(gaps[0])
    if not times.dates:
        return numbers[-1] + step * ahead
    unit = "D" if np.datetime_data(times.values.dtype)[0] == "D" and step % 86400 == 0 else None
    last = times.values[-1].astype("M8[us]") + np.round(step * 1e6 * ahead).astype("m8[us]")
    return last.astype(f"M8[{unit}]") if unit else last


def _even(numbers):
    gaps = np.diff(numbers)
    return np.allclose(gaps, gaps[0], rtol=EVEN, atol=0)


def _from_clocks(values, zone):
    """Dates in UTC of those on the clocks of a zone."""
    own = ZoneInfo(zone)
    dates = [date.replace(tzinfo=own).astimezone(UTC) for date in values.astype("M8[us]").tolist()]
    return np.array([date.replace(tzinfo=None) for date in dates], "M8[us]")


def _by_calendar(times: Times, steps: int) -> np.ndarray | None:
    """Dates that follow by the calendar, as months do; None where there is no such rule, or no pandas to find it."""
    try:
        import pandas as pd
    except ImportError:
        return None
    index = pd.DatetimeIndex(times.values.astype("M8[us]"))
    index = index.tz_localize("UTC").tz_convert(times.zone) if times.zone else index
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it is to be a text or an object, of which either does
        rule = pd.infer_freq(index) if len(index) > 2 else None
    if rule is None:
        return None
    found = pd.date_range(index[-1], periods=steps + 1, freq=rule)[1:]
    found = found.tz_convert("UTC").tz_localize(None) if times.zone else found
    return found.to_numpy().astype(times.values.dtype)


def _uneven(times: Times, gaps: np.ndarray, name: str) -> str:
    """Error message for times at different distances."""
    least = float(gaps.min())
    at = int(np.argmax(~np.isclose(gaps, least, rtol=EVEN)))
    shares = gaps / least
    what = "dates" if times.dates else "numbers"
    if np.allclose(shares, np.round(shares), rtol=EVEN):
        size = f"np.timedelta64({_whole(least)})" if times.dates else f"{least:g}"
        told = (
            f"Type x = dgjax.Table.of(x, order={name!r}, step={size}), with the group if there is one, and fit a model "
            "to that: steps without a row are then steps whose cells are missing."
        )
    else:
        told = f"Give rows at even distances: in pandas type x = x.resample('1D', on={name!r}).mean().reset_index()."
    return (
        f"order column {name!r} must have {what} at even distances for those of a forecast to be known; after "
        f"{times.values[at]} comes {times.values[at + 1]}, and the least distance is "
        f"{f'{least:g} seconds' if times.dates else f'{least:g}'}. {told}"
    )


def _whole(seconds: float) -> str:
    """Arguments of `np.timedelta64` for seconds, in the largest unit of which they are a whole number."""
    units = {"D": 86400, "h": 3600, "m": 60, "s": 1}
    unit = next((unit for unit, size in units.items() if seconds % size == 0), None)
    return f"{round(seconds * 1e6)}, 'us'" if unit is None else f"{round(seconds / units[unit])}, {unit!r}"


def with_zones(frame: Any, zones: dict[str, str]) -> Any:
    """Frame whose columns of dates in UTC are told in their zones; a dict of columns stays as it is."""
    if not zones or isinstance(frame, dict):
        return frame
    import narwhals.stable.v2 as nw

    columns = [nw.col(name).dt.replace_time_zone("UTC").dt.convert_time_zone(zone) for name, zone in zones.items()]
    return nw.from_native(frame, eager_only=True).with_columns(*columns).to_native()
