"""Notebook widgets to explore stored results: curves, differences, changed answers, questions to a model.

    exploring.Explorer("lora", "mini")

The computations are in `reports.comparing`; this module has only widgets. Torch is loaded when a model is
asked.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import soundfile

from speechllm_bench.data import audio, corpora, synthesis
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import UserError
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Run
from speechllm_bench.reports import looks
from speechllm_bench.reports.comparing import KINDS, Comparing, slice_label
from speechllm_bench.settings.profiles import known_profiles
from speechllm_bench.stats import p_shown, with_interval
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Prediction
from speechllm_bench.tasks import METRICS


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
        self.curves = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.hear = widgets.Button(description="Hear the turn", icon="volume-up")
        self.sound = widgets.VBox()
        self.file = widgets.Text(description="Recording", placeholder="call.wav", value="")
        self.upload = widgets.FileUpload(description="or upload one", accept="audio/*,.flac,.ogg")
        self.slots = widgets.Text(description="Slots", placeholder="name: the caller's name, city")
        self.ask = widgets.Button(description="Ask the second variant", layout=widgets.Layout(width="auto"))
        self.answer = widgets.HTML()
        self._silent = False
        self._found: Any = None  # Comparing, once a study is loaded
        on = {
            self._load: (self.study, self.profile),
            self._choose_set: (self.test_set,),
            self._choose_variants: (self.first, self.second),
            self._show_difference: (self.metric, self.slice),
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
                self.sound,
                _row(self.file, self.upload, self.slots, self.ask),
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
                place = {self._ask: self.answer, self._hear: self.turn}.get(act, self.said)
                place.value = _paragraph(f"{str(error)[0].upper()}{str(error)[1:]}.")

        return listen

    def _load(self) -> None:
        self._found = None
        self.turn.value, self.curves.value, self.sound.children = "", b"", ()
        self._found = Comparing(self.study.value, self.profile.value)
        self._options(self.test_set, list(self._found.test_sets()))
        self._choose_set()

    def _choose_set(self) -> None:
        names, own = self._found.test_sets()[self.test_set.value], looks.of(self._found.study)
        told = [(f"{name}: {label}" if (label := own[name].label) != name else name, name) for name in names]
        base = self._found.study.baseline
        first = base if base in names else self._asked(names)[0]
        self._options(self.first, told, first)
        others = [name for name in names if name != first]
        self._options(self.second, told, self._best(others) if others else first)
        self._options(self.metric, [(METRICS[m].heading, m) for m in self._found.metrics(first)])
        self._options(self.slice, [(slice_label(s), s) for s in self._found.slices(first)])
        self._choose_variants()

    def _choose_variants(self) -> None:
        self._show_difference()
        figure = self._found.curves(dict.fromkeys([self.first.value, self.second.value]))
        self.curves.value = b"" if figure is None else _png(figure)
        self._choose_kind()

    def _show_difference(self) -> None:
        chosen = (self.metric.value, self.slice.value)
        first, second = self.first.value, self.second.value
        values = {name: self._found.value(name, *chosen) for name in dict.fromkeys([first, second])}
        lines = [f"{name}: {with_interval(v.value, v.low, v.high)}" for name, v in values.items()]
        if first != second:
            gap = self._found.difference(first, second, *chosen)
            lines.append(
                f"{second} − {first}: {with_interval(gap.value, gap.low, gap.high, '+')}, "
                f"p {p_shown(gap.p)} before any correction"
            )
        rests = values[first]
        seeds = f"{rests.n_seeds} seed{'s' if rests.n_seeds > 1 else ''}"
        turns = self._found.turns_in(first, self.slice.value)
        lines.append(f"{turns} turns of {rests.n_speakers} speakers, {seeds}; 95 % intervals")
        self.said.value = "".join(map(_paragraph, lines))

    def _choose_kind(self) -> None:
        self._turns = self._found.turns(self.first.value, self.second.value, self.kind.value)
        self._silent = True
        self.place.max, self.place.value = max(1, len(self._turns)), 1
        self._silent = False
        self._show_turn()

    def _show_turn(self) -> None:
        self.sound.children = ()
        if not self._turns:
            self.turn.value = _paragraph("There is no such turn.")
            return
        first, second = self._turns[self.place.value - 1]
        lines = {
            "said": first.transcript,
            "asked for": ", ".join(first.asked),
            "wanted": first.gold,
            self.first.value: first.raw,
            self.second.value: second.raw,
            "turn": f"{self.place.value} of {len(self._turns)}, {first.utterance_id}, by {first.speaker}",
        }
        self.turn.value = _sheet({name: text for name, text in lines.items() if text})

    def _hear(self) -> None:
        if not self._turns:
            raise UserError("there is no turn to hear")
        config = studies.run(self.study.value, self.first.value, self._seed(), self.profile.value)
        samples = heard(config, self._turns[self.place.value - 1][0])
        self.sound.children = (widgets.Audio(value=samples, format="wav", autoplay=False, loop=False),)

    def _ask(self) -> None:
        """Ask the second variant, as `bench.load(...).ask` does, and a cascade if one is trained."""
        from speechllm_bench.commands import asking

        self.answer.value = _paragraph("The model listens …")
        model = asking.load(self.study.value, self.second.value, self.profile.value, self._seed())
        wanted = asking.listed(self.slots.value)
        beside = asking.cascade(model.run) if wanted else None
        found = model.ask(self._recording(), wanted, cascade=beside)
        answers = {one.model: f"{one.raw}  {one.seconds:.2f} s" for one in (found, found.cascade) if one}
        self.answer.value = _sheet({"heard": found.transcript} | answers)

    def _recording(self) -> str | bytes:
        """Return the named file, or the content of the uploaded one. Raises UserError without both."""
        if named := self.file.value.strip():
            return named
        if not self.upload.value:
            raise UserError("name or upload a recording: wav, FLAC, Ogg or MP3, up to 30 s")
        return bytes(self.upload.value[0]["content"])

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
        """Set the options, names or (label, name) pairs, and choose `value`; None chooses the first."""
        first = options[0] if isinstance(options[0], str) else options[0][1]
        self._silent = True
        dropdown.options, dropdown.value = options, first if value is None else value
        self._silent = False


def heard(run: Run, turn: Prediction) -> bytes:
    """Return a turn as a wav file: the shipped audio, else the recording, else new synthesis.

    Raises UserError for a turn that is not in the corpus.
    """
    folder = paths.results(run.profile) / "turns"
    corpus, split = run.config.corpus, run.config.evaluation.split
    found = next((u for u in corpora.utterances(corpus).get(split, ()) if u.id == turn.utterance_id), None)
    if found is None:
        raise UserError(f"turn {turn.utterance_id} is not in the current corpus {corpus.name}")
    if (folder / f"{split}.parquet").is_file():
        samples = shipped.recording(folder)(found)
    elif recorded := corpora.recording(corpus.name):
        samples = recorded(found)
    else:
        ((_, samples),) = synthesis.speak_all([found], 1, progress=False)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _with_runs() -> list[str]:
    return [name for name in known_profiles() if any((paths.results(name) / "runs").glob("*/run.json"))]


def _dropdown(label: str, options: Sequence[str] = (), value: str | None = None) -> widgets.Dropdown:
    chosen = value if value in options else next(iter(options), None)
    return widgets.Dropdown(description=label, options=options, value=chosen)


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts, layout=widgets.Layout(flex_flow="row wrap"))


def _png(figure: plt.Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _sheet(lines: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top;padding-right:1em'>{html.escape(name)}</th>"
        f"<td style='text-align:left;white-space:pre-wrap'>{html.escape(text)}</td></tr>"
        for name, text in lines.items()
    )
    return f"<table>{rows}</table>"
