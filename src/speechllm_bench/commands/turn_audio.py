"""The audio of a test turn as a wav file, for the notebook widgets."""

from __future__ import annotations

import io
from collections.abc import Callable

import soundfile

from speechllm_bench.data import audio, corpora, synthesis
from speechllm_bench.data.corpora import shipped
from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import Run
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Prediction


def heard(run: Run, turn: Prediction, speaks: Callable[[], None] = lambda: None) -> bytes:
    """Return a turn as a wav file: the shipped audio, else the recording, else new synthesis.

    speaks: called before the synthesis. Raises UserError for a turn that is not in the corpus.
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
        speaks()
        ((_, samples),) = synthesis.speak_all([found], 1, progress=False)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
