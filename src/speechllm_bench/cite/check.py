"""Check of a LaTeX paper: numbers cited by id exist, are current, rounded correctly and have their interval.

Ids are found in the macros `\\bench{ID}`, `\\benchvalue{ID}` and `\\benchinterval{ID}`, in the definitions of
a numbers.tex that the paper inputs, and in a comment after literal numbers on the same line:

    F1 rises to 0.300 [0.266, 0.334] % mini/lora/mlp_lora/A/f1
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from speechllm_bench.cite import sliced, why
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.settings.overrides import base_profile
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.storage import numbers
from speechllm_bench.storage.numbers import Cell, Number, escaped

ID = re.compile(r"(?<![\w/.])[A-Za-z0-9][\w.+=,%-]*(?:/[\w.:+-]+){4}(?:@[\w.:+=-]+)?(?![\w/])")
MACRO = re.compile(r"\\(bench(?:value|interval)?)\{([^{}]*)\}")
DEFINITION = re.compile(r"\\benchdef\{([^{}]*)\}\{(.*)\}\{([^{}]*)\}\s*")
INPUT = re.compile(
    r"\\(?:input|include|subfile|subfileinclude|(?P<optional>InputIfFileExists))\s*\{(?P<name>[^{}]+)\}"
    r"|\\(?:sub)?(?:import|inputfrom|includefrom)\*?\s*\{(?P<folder>[^{}]*)\}\s*\{(?P<inside>[^{}]+)\}"
    r"|\\input\s+(?P<bare>[^\s{}\\]+)"
)  # of TeX and LaTeX, and of the packages subfiles and import
OF_TEX = ("glyphtounicode", "epsf", "xy")  # files of TeX itself that papers input
COMMENT = re.compile(r"(?<!\\)%")
RANGE = re.compile(r"\s*(\[[^\]]*\])")
LITERAL = re.compile(r"(?<![\w.])([+-]?)(\d[\d,]*(?:\.\d+)?|\.\d+)(\s*\\?%)?(?![\w])")


@dataclass(frozen=True)
class Fault:
    """A fault in a line, with the right value."""

    file: Path
    line: int
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.said}"


@dataclass(frozen=True)
class Checked:
    """Findings of a check of a paper."""

    n: int  # citations, each place counted
    faults: tuple[Fault, ...]
    untold: frozenset[str] = frozenset()  # why some numbers could not be compared with today's plan
    missing: frozenset[Fault] = frozenset()  # those of the faults that are inputs that are not found


def check_papers(files: Sequence[Path]) -> Checked:
    """Check papers and all files that they input. UserError for a file that cannot be read."""
    missing: list[Fault] = []
    seen: set[Path] = set()
    lines = [line for file in files for line in _lines(file, file.parent, seen, missing)]
    defined = {m[1]: (file, n, m) for file, n, text in lines if (m := DEFINITION.match(text))}
    found, untold, n = list(missing), set(), 0
    intervals = _intervals(lines)
    for file, number, text in lines:
        if DEFINITION.match(text) or text.lstrip().startswith(r"\providecommand"):
            continue
        body, comment = _split(text)
        uses = [(m[2], m[1]) for m in MACRO.finditer(body)]
        uses += [(m[0], None) for m in ID.finditer(comment) if _of_profile(m[0])]
        n += len(uses)
        for id, macro in uses:
            try:
                cited = sliced.find(id)
            except UserError as error:
                found.append(Fault(file, number, str(error)))
                continue
            try:
                stale = _causes(cited.profile, cited.row.key)
            except MissingInput as error:
                stale = ()
                untold.add(str(error))
            if stale:
                causes = "; ".join(map(str, stale))
                found.append(Fault(file, number, f"{id} is stale ({causes}); run and report it again"))
            elif macro and sliced.SIGN in id:
                said = f"{id} is of a slice, and numbers.tex has none; write it with its id in a comment"
                found.append(Fault(file, number, f"{said}: {cited.cell.shown}"))
            elif macro is None:
                wrong = _literal(cited.cell, body)
                found += [Fault(file, number, f"{id} {said}; it is {cited.cell.shown}") for said in wrong]
            elif macro == "benchvalue" and cited.cell.low is not None and id not in intervals[file, number]:
                said = rf"{id} stands without its interval; write \bench or add \benchinterval"
                found.append(Fault(file, number, f"{said}: {cited.cell.shown}"))
            elif id in defined:
                found += _defined(cited, *defined[id])
    return Checked(n, tuple(dict.fromkeys(found)), frozenset(untold), frozenset(missing))


def told(checked: Checked) -> str:
    """Return a line for each fault, and a closing sentence."""
    lines = [*map(str, checked.faults), *(f"not compared with today's plan: {why}" for why in checked.untold)]
    wrong = len(checked.faults) - len(checked.missing)
    closing = f"{checked.n} numbers cited; " + (f"{wrong} wrong." if wrong else "nothing is wrong with them.")
    closing += f" Inputs that are not checked: {len(checked.missing)}." if checked.missing else ""
    return "\n".join([*lines, closing])


def _lines(file: Path, root: Path, seen: set[Path], missing: list[Fault]) -> Iterator[tuple[Path, int, str]]:
    """Yield the lines of a file of a paper and of its inputs, each file once.

    Inputs are relative to the paper's folder, `root`, as TeX reads them, or else to the file that inputs
    them, with or without `.tex`. Those that are not found are added to `missing`.
    """
    if (place := file.resolve()) in seen:
        return
    seen.add(place)
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        yield file, number, line
        for match in INPUT.finditer(_split(line)[0]):
            name = (match["name"] or match["inside"] or match["bare"]).strip(' "')
            name = str(Path((match["folder"] or "").strip(), name))
            inner = (folder / end for folder in (root, file.parent) for end in (f"{name}.tex", name))
            if other := next(filter(Path.is_file, inner), None):
                yield from _lines(other, root, seen, missing)
            elif not (match["optional"] or name.removesuffix(".tex") in OF_TEX or "#" in name):
                # a name with "#" is a macro's argument
                said = (
                    f"{name} is not found, so it is not checked; write its path from the main file's folder"
                )
                missing.append(Fault(file, number, f"{said}, and check the main file"))


def _split(line: str) -> tuple[str, str]:
    """Split a line into the part that TeX reads and the comment."""
    found = COMMENT.search(line)
    return (line[: found.start()], line[found.end() :]) if found else (line, "")


def _intervals(lines: Sequence[tuple[Path, int, str]]) -> dict[tuple[Path, int], set[str]]:
    """Return the place of each line -> ids whose intervals are in its paragraph."""
    found: dict[tuple[Path, int], set[str]] = {}
    before: Path | None = None
    ids: set[str] = set()
    for file, number, text in lines:
        if file != before or not text.strip():
            before, ids = file, set()
        ids |= {m[2] for m in MACRO.finditer(_split(text)[0]) if m[1] != "benchvalue"}
        found[file, number] = ids  # one set per paragraph; later lines add to it
    return found


def _of_profile(id: str) -> bool:
    return base_profile(id.split("/")[0]) in known_profiles()


@cache
def _causes(profile: str, key: str) -> tuple[why.Cause, ...]:
    return tuple(why.causes(profile, numbers.read(profile)[key]))


def _defined(cited: Number, file: Path, line: int, found: re.Match) -> list[Fault]:
    """Return a fault where a definition in the paper's numbers.tex differs from the current results."""
    now = tuple(map(escaped, cited.cell.parts))
    if (found[2], found[3]) == now:
        return []
    said = f"{cited.id} is defined as {' '.join([found[2], found[3]]).strip()}, it is {' '.join(now).strip()}"
    return [Fault(file, line, f"{said}; copy numbers.tex anew")]


def _literal(cell: Cell, text: str) -> list[str]:
    """Return the faults of the literal numbers in a line that cites a cell."""
    value = cell.value
    if value is None:
        return [] if escaped(cell.shown) in text or cell.shown in text else ["is not in the line"]
    plain = text.replace("{,}", ",").replace("\\,", "").replace("$", "").replace("−", "-").replace("~", " ")
    written = [(m, _digits(m)) for m in LITERAL.finditer(plain)]
    right = [(m, one) for m, one in written if _rounds(value, *one)]
    if not right and _in_points(cell, plain, [digits for _, (digits, _) in written]):
        return []
    if not right:
        alike = [(m, one) for m, one in written if "." in one[0] or _digits_of(cell.shown) == 0]
        alike = [(m, one) for m, one in alike if not _bracketed(plain, m.start())] or alike
        near = min(alike, key=lambda pair: abs(_value(*pair[1]) - value), default=None)
        return [f"is written as {near[0][0].strip()}" if near else "is not in the line"]
    if cell.low is None or cell.high is None:
        return []

    def there(bound: float) -> bool:  # the per-cent sign may follow the last bracket only
        return any(_rounds(bound, one[0], one[1] or right[0][1][1]) for _, one in written)

    if _with_interval(cell, plain, there):
        return []
    behind = [(found[1], one[1]) for m, one in right if (found := RANGE.match(plain, m.end()))]
    return [_wrong_interval(cell, *behind[0]) if behind else "does not stand with its interval"]


def _bracketed(text: str, place: int) -> bool:
    """Return whether a place lies in square brackets, as the bounds of an interval do."""
    return text.rfind("[", 0, place) > text.rfind("]", 0, place)


def _wrong_interval(cell: Cell, written: str, percent: bool) -> str:
    """Return the fault of a wrong interval, with the bounds to as many places as are written.

    The printed interval is rounded, so rounding it once more may not give the same. percent: whether the
    number before it is in per cent.
    """
    bounds = [_digits(found) for found in LITERAL.finditer(written)]
    said = f"stands with {written}"
    if len(bounds) != 2 or any(signed for _, signed in bounds) or cell.low is None or cell.high is None:
        return said
    low, high = (100 * bound if percent else bound for bound in (cell.low, cell.high))
    places = min(len(digits.partition(".")[2]) for digits, _ in bounds)
    sign = "+" if cell.shown.startswith(("+", "-")) else ""
    return f"{said} and not with [{low:{sign}.{places}f}, {high:{sign}.{places}f}]"


def _in_points(cell: Cell, text: str, written: Sequence[str]) -> bool:
    """Return whether a number and its interval are in per cent without the sign, as 30.0 [26.6, 33.4]."""

    def there(bound: float) -> bool:
        return any(_rounds(bound, digits, True) for digits in written)

    return cell.low is not None and there(cell.value or 0.0) and _with_interval(cell, text, there)


def _with_interval(cell: Cell, text: str, there: Callable[[float], bool]) -> bool:
    """Return whether both bounds of a cell are written, or half its width behind a sign of plus or minus."""
    value, low, high = (float(end or 0.0) for end in (cell.value, cell.low, cell.high))
    halves = (value - low, high - value, (high - low) / 2)
    return (there(low) and there(high)) or (r"\pm" in text and any(map(there, halves)))


def _digits(found: re.Match) -> tuple[str, bool]:
    """Return the number as written, without thousands separators, and whether it is in per cent."""
    return found[1] + found[2].replace(",", ""), bool(found[3])


def _digits_of(shown: str) -> int:
    return len(shown.split(" ")[0].partition(".")[2])


def _value(digits: str, percent: bool) -> float:
    return float(digits) / (100 if percent else 1)


def _rounds(value: float, digits: str, percent: bool) -> bool:
    """Return whether the digits are the value rounded to their number of decimal places.

    A whole number stands for a fraction only from 10 on.
    """
    places = len(digits.partition(".")[2])
    scaled = value * (100 if percent else 1)
    if not places and abs(scaled) < 10 and scaled != round(scaled):
        return False  # 0 is no acceptable rounding of 0.3
    half = 0.5 * 10**-places
    return abs(float(digits) - scaled) <= half * (1 + 1e-6)
