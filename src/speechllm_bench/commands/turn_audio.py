"""The audio of a test turn as a wav file, for the notebook widgets."""

from __future__ import annotations

import io
from collections.abc import Callable

import soundfile

from speechllm_bench.data import audio
from speechllm_bench.data.corpora.single_turns import SingleTurns
from speechllm_bench.errors import UserError
from speechllm_bench.planning.studies import Run
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Prediction


def heard(run: Run, turn: Prediction, speaks: Callable[[], None] = lambda: None) -> bytes:
    """Return a turn as a wav file: the shipped audio, else the recording, else new synthesis.

    speaks: called before the synthesis. Raises UserError for a turn that is not in the corpus.
    """
    corpus, split = run.config.corpus, run.config.evaluation.split
    turns = SingleTurns(corpus, paths.results(run.profile) / "turns", speaks)
    ids = [utterance.id for utterance in turns.utterances(split)]
    if turn.utterance_id not in ids:
        raise UserError(f"turn {turn.utterance_id} is not in the current corpus {corpus.name}")
    buffer = io.BytesIO()
    samples = turns.audio(split, ids.index(turn.utterance_id))
    soundfile.write(buffer, samples, audio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
