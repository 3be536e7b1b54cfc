"""Label, colour, marker and dash of each variant. A variant looks the same in all figures of a study.

Values of axes may name a colour and a marker (`experiments/*.yaml`); other values get unused ones. A variant
has the colour of one of its axes and the marker of one of its axes. No two variants of a study have the same
colour and marker. The colours are Okabe and Ito's, which colour-blind readers can tell apart. Markers and
dashes work in grey print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, cast, get_args

from speechllm_bench.settings import axes
from speechllm_bench.settings.axes import Colour, Marker, Value
from speechllm_bench.settings.experiments import Study

FIRST = "control"
"""The axis with priority over others, so that controls look the same in all studies."""
COLOURS = {
    "blue": "#0072B2",
    "red": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#999999",
}
_DASHES = ("-", (0, (4, 1.5)), (0, (8, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = get_args(Marker)
_FREE = tuple(marker for marker in _MARKERS if marker not in ("X", "*", "|"))  # not those of controls
DASHES = {marker: _DASHES[i % len(_DASHES)] for i, marker in enumerate(_MARKERS)}


class Look(NamedTuple):
    """Label, colour (hex), marker and dash (of matplotlib) of a variant or an axis value."""

    label: str
    colour: str
    marker: str
    dash: str | tuple

    @property
    def line(self) -> dict[str, Any]:
        """Return the look as keywords of matplotlib's `plot`."""
        return {"color": self.colour, "marker": self.marker, "ls": self.dash, "label": self.label}


Looks = Mapping[str, Look]


def of(study: Study) -> dict[str, Look]:
    order = axes.order(study.grid, study.names)
    colours = [FIRST, *filter(None, [study.colour]), *order, axes.ALONE]
    markers = [FIRST, *filter(None, [study.marker]), *colours]
    values = {axis: _values(study, axis) for axis in dict.fromkeys(colours)}
    wanted = {}
    for name in study.variants:
        own = study.place(name).axes
        colour, marker = (_first(values, own, wished) for wished in (colours, markers))
        wanted[name] = (study.place(name).label, colour.colour, marker.marker)
    return _told_apart(cast(dict[str, tuple[str, Colour, Marker]], wanted), by_marker=study.marker is None)


def of_axis(study: Study, axis: str, others: Iterable[str] = ()) -> dict[str, Look]:
    """Return the look of each value of an axis, by its key. `others` are further keys in the same figure."""
    return _looks(_filled(dict.fromkeys(others, Value()) | _values(study, axis)))


def keys(*axes: Looks) -> dict[str, str]:
    """Return label -> key of the values of axes (`of_axis`), for ids (`cells.of_further`)."""
    return {look.label: key for values in axes for key, look in values.items()}


def of_names(names: Iterable[str]) -> dict[str, Look]:
    """Return looks for names that belong to no study."""
    return _looks(_filled(dict.fromkeys(names, Value())))


def _looks(values: Mapping[str, Value]) -> dict[str, Look]:
    return {key: _look(axes.label(key, v), v.colour, v.marker) for key, v in values.items()}


def _values(study: Study, axis: str) -> dict[str, Value]:
    """Return the values of an axis that the study uses, each with a colour and a marker."""
    known = axes.known(study.axes).get(axis, {})
    used = dict.fromkeys(p.axes[axis] for p in map(study.place, study.variants) if axis in p.axes)
    return _filled({key: known.get(key, Value()) for key in used})


def _first(values: Mapping[str, Mapping[str, Value]], own: Mapping[str, str], wished: Sequence[str]) -> Value:
    axis = next((axis for axis in wished if axis in own), next(iter(own)))
    return values[axis][own[axis]]


def _filled(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values with missing colours and markers filled in: first unused ones, then repeated ones."""
    found = dict(values)
    for part, there_are in (("colour", get_args(Colour)), ("marker", _FREE)):
        taken = {getattr(value, part) for value in found.values()}
        left = [one for one in there_are if one not in taken] or list(there_are)
        open_ = [key for key, value in found.items() if getattr(value, part) is None]
        for i, key in enumerate(open_):
            found[key] = found[key].model_copy(update={part: left[i % len(left)]})
    return found


def _told_apart(wanted: Mapping[str, tuple[str, Colour, Marker]], by_marker: bool) -> dict[str, Look]:
    """Return the wanted looks, with those replaced that an earlier variant already has.

    by_marker: make markers alone unique while unused ones are left, not just pairs of colour and marker.
    """
    found: dict[str, Look] = {}
    asked, every = {marker for _, _, marker in wanted.values()}, get_args(Colour)
    for name, (label, colour, marker) in wanted.items():
        used = {(look.colour, look.marker) for look in found.values()}
        dashes = {look.dash for look in found.values() if look.colour == COLOURS[colour]}
        there_are = sorted(_FREE, key=lambda one: DASHES[one] in dashes)  # unused dashes of the colour first
        if by_marker and marker in {one for _, one in used}:
            taken = asked | {one for _, one in used}
            marker = next((one for one in there_are if one not in taken), marker)
        pairs = [(colour, marker), *product([colour], there_are), *product(every, _FREE)]
        colour, marker = next((pair for pair in pairs if (COLOURS[pair[0]], pair[1]) not in used), pairs[0])
        taken_label = label in {look.label for look in found.values()}
        found[name] = _look(f"{label} ({name})" if taken_label else label, colour, marker)
    return found


def _look(label: str, colour: Colour | None, marker: Marker | None) -> Look:
    assert colour and marker, "filled before"
    return Look(label, COLOURS[colour], marker, DASHES[marker])
