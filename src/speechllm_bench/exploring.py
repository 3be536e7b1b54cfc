"""Notebook widgets to explore stored results: curves, differences, changed answers, questions to a model.

    exploring.Explorer("lora", "mini")

The computations are in `cite.comparing`; this module has widgets alone. A question loads torch.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt

from speechllm_bench.cite.comparing import ALL, KINDS, Comparing, Pair, slice_label, without_scores
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.reports import looks, show
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.stats import p_shown, shown
from speechllm_bench.storage import paths
from speechllm_bench.tasks import METRICS, slots

DPI = 220  # of the curves, so that they are sharp on a screen of two pixels a point
_WHOLE = {"description_width": "initial"}  # labels are not cut off
_WIDE = {"width": "auto", "max_width": "100%"}


class Explorer:
    """Dropdowns for stored results, and their views. For a study without scores it shows one sentence."""

    def __init__(self, study: str = "lora", profile: str = "mini"):
        self.study = _dropdown("Study", studies.known_studies(), study)
        self.profile = _dropdown("Profile", _with_runs() or [profile], profile)
        self.test_set, self.first, self.second = map(_dropdown, ("Test set", "First", "Second"))
        self.metric, self.slice = map(_dropdown, ("Metric", "Slice"))
        self.kind = _dropdown("Turns", list(KINDS))
        self.place = widgets.BoundedIntText(description="Number", min=1, max=1, value=1)
        self.said, self.turn = widgets.HTML(), widgets.HTML()
        self.curves = widgets.Image(format="png", layout=widgets.Layout(max_width="min(100%, 60rem)"))
        self.hear = widgets.Button(description="Hear the turn", icon="volume-up")
        self.sound, self.sound_said = widgets.VBox(), widgets.HTML()
        self.file = _text("Recording", "call.wav", "22rem")
        self.upload = widgets.FileUpload(description="or upload one", accept="audio/*,.flac,.ogg")
        self.slots = _text("Slots", "name: the caller's name, city", "32rem")
        self.ask = widgets.Button(description="Ask the second variant")
        self.record = widgets.HTML(recorder())
        self.recorded = widgets.Textarea(layout=widgets.Layout(display="none"))  # a wav in base64
        self.recorded.add_class("bench-recorded")
        self.upload.observe(lambda new: self._take(*(bytes(f["content"]) for f in new["new"])), "value")
        self.recorded.observe(lambda new: self._take(base64.b64decode(new["new"])), "value")
        for button in (self.hear, self.upload, self.ask):
            button.layout = widgets.Layout(width="auto")
        self.answer = widgets.HTML()
        self._silent = False
        self._given = b""  # what was uploaded or recorded last
        self._found: Any = None  # Comparing, once a study is loaded
        self._kinds: dict[str, list[Pair]] = {}  # turns by kind
        on = {
            self._load: (self.study, self.profile),
            self._choose_set: (self.test_set,),
            self._choose_variants: (self.first, self.second),
            self._choose_slice: (self.slice,),
            self._show_difference: (self.metric,),
            self._choose_kind: (self.kind,),
            self._show_turn: (self.place,),
        }
        for act, chosen in on.items():
            for widget in chosen:
                widget.observe(self._listener(act), "value")
        self.hear.on_click(self._listener(self._hear))
        self.ask.on_click(self._listener(self._ask))
        self.view = widgets.VBox(
            [
                _row(self.study, self.profile, self.test_set),
                _row(self.first, self.second, self.metric, self.slice),
                self.said,
                self.curves,
                _row(self.kind, self.place, self.hear),
                self.turn,
                self.sound_said,
                self.sound,
                _row(self.file, self.upload, self.record, self.recorded, self.slots, self.ask),
                self.answer,
            ]
        )
        self._listener(self._load)()

    def _repr_mimebundle_(self, **given) -> dict:
        """Return the widgets as Jupyter's representation of this object."""
        return self.view._repr_mimebundle_(**given)

    def _listener(self, act: Callable[[], None]) -> Callable[..., None]:
        """Wrap an action: skip it while options are being set, and show a UserError in the action's view."""

        def listen(*_) -> None:
            if self._silent or (self._found is None and act != self._load):
                return
            try:
                act()
            except UserError as error:
                place = {self._ask: self.answer, self._hear: self.sound_said}.get(act, self.said)
                place.value = _paragraph(f"{str(error)[0].upper()}{str(error)[1:]}.")

        return listen

    def _load(self) -> None:
        self._found = None
        for dropdown in (self.test_set, self.first, self.second, self.metric, self.slice):
            self._options(dropdown, ())
        self._options(self.kind, list(KINDS))
        self.answer.value, self.turn.value, self.sound_said.value, self.sound.children = "", "", "", ()
        self._show_curves(b"")
        self.said.value = _paragraph("Loading …")
        lacking = without_scores(self.profile.value)
        names = [(f"{n} (no scores)" if n in lacking else n, n) for n in studies.known_studies()]
        self._options(self.study, names, self.study.value)
        self._found = Comparing(self.study.value, self.profile.value)
        self._options(self.test_set, list(self._found.test_sets()))
        self._choose_set()

    def _choose_set(self) -> None:
        names, own = self._found.test_sets()[self.test_set.value], looks.of(self._found.study)
        told = [(f"{name}: {label}" if (label := own[name].label) != name else name, name) for name in names]
        first = self._found.baseline(names) or self._asked(names)[0]
        self._options(self.first, told, first)
        others = [name for name in names if name != first]
        self._options(self.second, told, self._best(others) if others else first)
        self._choose_variants()

    def _choose_variants(self) -> None:
        self.answer.value, self.said.value = "", _paragraph("Loading …")
        second = self._found.slices(self.second.value)
        slices = [s for s in self._found.slices(self.first.value) if s in second]
        self._options(self.slice, [(slice_label(s), s) for s in slices], self.slice.value)
        figure = self._found.curves(dict.fromkeys([self.first.value, self.second.value]))
        self._show_curves(b"" if figure is None else _png(figure))
        self._choose_slice()

    def _choose_slice(self) -> None:
        """Show a slice by the main metric, which is its only one, and the turns in it."""
        metrics = self._found.metrics(self.first.value)
        metrics = metrics if self.slice.value == ALL else metrics[:1]
        self._options(self.metric, [(METRICS[m].heading, m) for m in metrics], self.metric.value)
        self._show_difference()
        pair = self.first.value, self.second.value
        self._kinds = {kind: self._found.turns(*pair, kind, self.slice.value) for kind in KINDS}
        told = [(f"{kind} ({len(turns)})", kind) for kind, turns in self._kinds.items()]
        filled = [kind for kind, turns in self._kinds.items() if turns]
        kept = self.kind.value in filled or not filled
        self._options(self.kind, told, self.kind.value if kept else filled[0])
        self._choose_kind()

    def _show_curves(self, png: bytes) -> None:
        self.curves.value, self.curves.layout.display = png, None if png else "none"

    def _show_difference(self) -> None:
        chosen = (self.metric.value, self.slice.value)
        first, second = self.first.value, self.second.value
        values = {name: self._found.value(name, *chosen) for name in dict.fromkeys([first, second])}
        lines = [f"{name}: {shown(v)}" for name, v in values.items()]
        if first != second:
            lines.append(f"{second} − {first}: {self._gap(first, second, *chosen)}")
        rests = values[first]
        seeds = f"{rests.n_seeds} seed{'s' if rests.n_seeds > 1 else ''}"
        turns = self._found.turns_in(first, self.slice.value)
        lines.append(f"{turns} turns of {rests.n_speakers} speakers, {seeds}; 95 % intervals")
        self.said.value = "".join(map(_paragraph, lines))

    def _gap(self, first: str, second: str, metric: str, slice_: str) -> str:
        try:
            gap = self._found.difference(first, second, metric, slice_)
        except UserError as error:  # the values of both are shown all the same
            return str(error)
        return f"{shown(gap, '+')}, p {p_shown(gap.p)} before any correction"

    def _choose_kind(self) -> None:
        self._turns = self._kinds.get(self.kind.value, [])
        self._silent = True
        self.place.max, self.place.value = max(1, len(self._turns)), 1
        self._silent = False
        self._show_turn()

    def _show_turn(self) -> None:
        self.sound.children, self.sound_said.value = (), ""
        if not self._turns:
            self.turn.value = _paragraph("There is no such turn.")
            return
        first, second = self._turns[self.place.value - 1]
        lines = {
            "said": first.transcript,
            "asked for": ", ".join(map(slots.spoken_name, first.asked)),
            "wanted": first.gold,
            self.first.value: first.raw,
            self.second.value: second.raw,
            "turn": f"{self.place.value} of {len(self._turns)} of {slice_label(self.slice.value)}, "
            f"{first.utterance_id}, by {first.speaker}",
        }
        self.turn.value = show.sheet({name: text for name, text in lines.items() if text})

    def _hear(self) -> None:
        if not self._turns:
            raise UserError("there is no turn to hear")
        run = studies.run(self.study.value, self.first.value, self._seed(), self.profile.value)
        self._tell_sound("The turn is being loaded …")
        turn = self._turns[self.place.value - 1][0]
        shipped, speaks = paths.results(run.profile) / "turns", "The turn is being spoken …"
        turns = SingleTurns(run.config.tested, shipped, lambda: self._tell_sound(speaks))
        wav = turns.wav(run.config.evaluation.split, turn.utterance_id)
        self.sound_said.value = ""
        self.sound.children = (widgets.Audio(value=wav, format="wav", autoplay=False, loop=False),)

    def _tell_sound(self, sentence: str) -> None:
        self.sound.children, self.sound_said.value = (), _paragraph(sentence)

    def _ask(self) -> None:
        """Ask the second variant, as `bench.load(...).ask` does, and a cascade if one is trained."""
        from speechllm_bench.commands import asking

        recording = self._recording()  # a missing one is refused before a model is loaded
        self.answer.value = _paragraph("The model is being loaded, and listens …")
        model = asking.load(self.study.value, self.second.value, self.profile.value, self._seed())
        wanted = asking.listed(self.slots.value)
        beside = asking.cascade(model.run) if wanted else None
        found = model.ask(recording, wanted, cascade=beside)
        answers = {one.model: f"{one.raw}  {one.seconds:.2f} s" for one in (found, found.cascade) if one}
        recogniser = Path(model.config.encoder.path).name
        self.answer.value = show.sheet({f"heard by {recogniser}": found.transcript} | answers)

    def _take(self, recording: bytes = b"") -> None:
        """Take what was uploaded or recorded, in place of what was given before."""
        self._given, self.file.value = recording, ""

    def _recording(self) -> str | bytes:
        """Return the named file, or what was uploaded or recorded last. Raises UserError without any.

        A name is looked for in the notebook's folder and in the folder of the results.
        """
        if named := self.file.value.strip():
            places = [folder / Path(named).expanduser() for folder in (Path.cwd(), paths.home())]
            if not (found := next((place for place in places if place.is_file()), None)):
                raise UserError(f"there is no file {named}; name one by its whole path, or upload it")
            return str(found)
        if not self._given:
            raise UserError("name, upload or record what is to be heard: wav, FLAC, Ogg or MP3, up to 30 s")
        return self._given

    def _seed(self) -> int:
        return self._found.runs[self.second.value][0].seed

    def _best(self, names: Sequence[str]) -> str:
        """Return the variant with the best main metric, of those with a model's answers."""
        main = self._found.metrics(names[0])[0]
        sign = -1 if METRICS[main].lower_is_better else 1
        value = {n: self._found.runs[n][0].score["metrics"][main]["value"] for n in self._asked(names)}
        return max(value, key=lambda name: sign * value[name])

    def _asked(self, names: Sequence[str]) -> Sequence[str]:
        """Return the variants with a model's answers; all variants if there are none."""
        asked = [n for n in names if self._found.runs[n][0].config["evaluation"]["answerer"] == "model"]
        return asked or names

    def _options(self, dropdown: widgets.Dropdown, options: Sequence, value: object = None) -> None:
        """Set the options, names or (label, name) pairs, and choose `value` or else the first of them."""
        values = [option if isinstance(option, str) else option[1] for option in options]
        self._silent = True
        dropdown.options = options
        dropdown.value = value if value in values else next(iter(values), None)
        self._silent = False


def _with_runs() -> list[str]:
    return [name for name in known_profiles() if any((paths.results(name) / "runs").glob("*/run.json"))]


def _dropdown(label: str, options: Sequence[str] = (), value: str | None = None) -> widgets.Dropdown:
    chosen = value if value in options else next(iter(options), None)
    return widgets.Dropdown(description=label, options=options, value=chosen, style=_WHOLE, layout=_WIDE)


def _text(label: str, placeholder: str, width: str) -> widgets.Text:
    layout = widgets.Layout(width=f"min(100%, {width})")
    return widgets.Text(description=label, placeholder=placeholder, layout=layout, style=_WHOLE)


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts, layout=widgets.Layout(flex_flow="row wrap"))


def _png(figure: plt.Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def recorder() -> str:
    """Return a button that records into the hidden text of its row. Widgets run only a script that it has."""
    script = files("speechllm_bench").joinpath("recorder.js").read_text("utf-8")
    return f'<button class="jupyter-button" type="button" onclick="{html.escape(script)}">Record</button>'


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
