"""A checkout in a deep folder speaks as any other does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from clean_speech import synthesise

from speechllm_bench.data import neural_voices
from speechllm_bench.errors import UserError
from speechllm_bench.storage.schema import Voice

VOICE = Voice("en-us", "m3", 170, 50, 20.0, 7)


@pytest.mark.parametrize("length", [120, 200, 400])
def test_a_long_path_speaks_as_a_short_one(tmp_path, monkeypatch, length):
    espeakng_loader = pytest.importorskip("espeakng_loader")
    short = synthesise("to rome on monday", VOICE)
    folder = tmp_path
    while len(str(folder)) < length:
        folder /= "a_deep_folder_of_somebody's"
    folder.mkdir(parents=True)
    (folder / "espeakng_loader").symlink_to(Path(espeakng_loader.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    assert np.array_equal(synthesise("to rome on monday", VOICE), short)


def test_neural_voices_that_cannot_speak_from_there_say_so(monkeypatch):
    class Found:
        origin = f"/{'a' * 150}/piper/__init__.py"

    monkeypatch.setattr(neural_voices, "find_spec", lambda package: Found)
    with pytest.raises(
        UserError, match="cannot speak from a path of 172 bytes .*, 140 at most; move the checkout"
    ):
        neural_voices._refuse_long_paths()
