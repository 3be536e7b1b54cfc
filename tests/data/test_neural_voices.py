"""Neural voices: what a voice is made of, and clips that survive a stop. No test needs the weights."""

from __future__ import annotations

import numpy as np
import pytest

from speechllm_bench.data import clips as clips_module
from speechllm_bench.data import neural_voices, synthesis
from speechllm_bench.data.clips import Clips
from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.corpora.call_centre.splits import NEURAL
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.storage import paths
from speechllm_bench.storage.schema import Voice

VOICE = Voice("kokoro-us", "jf_alpha:6+jm_kumo:4@96", 100, 100, 35.0, 7)


def test_a_variant_is_shares_of_styles_and_a_scale():
    assert neural_voices.parse_variant(VOICE.variant) == ({"jf_alpha": 0.6, "jm_kumo": 0.4}, 0.96)
    assert neural_voices.parse_variant("joe@104") == ({"joe": 1.0}, 1.04)


def test_every_speaker_of_the_edition_can_be_read():
    for group in ("train", "validation", "test", "C-test"):
        for accent, variant in NEURAL.speakers(group):
            assert neural_voices.is_neural(Voice(accent, variant, 100, 100, 35.0, 0))
            shares, scale = neural_voices.parse_variant(variant)
            assert shares == {"joe": 1} or set(shares) <= set(neural_voices.STYLES)
            assert sum(shares.values()) == pytest.approx(1) and 0.5 < scale < 2
    assert not neural_voices.is_neural(Voice("en-us", "m3", 150, 50, 20.0, 0))


@pytest.mark.parametrize(
    ("transcript", "read"),
    [
        ("i want a jacket", "i want a jacket."),
        ("nine thirty a m please", "nine thirty ay m please."),
        ("it is o'hara o h a r a", "it is o'hara o h ay r ay."),
        ("code b a seven", "code b ay seven."),
    ],
)
def test_the_letter_a_is_no_article(transcript, read):
    assert neural_voices.speakable(transcript) == read


def test_missing_weights_are_told_with_the_command_that_brings_them(home):
    with pytest.raises(MissingInput, match="kokoro.onnx is missing.*speechllm-bench fetch small"):
        neural_voices.voice_files()
    changed = home / "fetched" / "kokoro-82m" / "kokoro.onnx"
    changed.parent.mkdir(parents=True)
    changed.write_bytes(b"other")
    with pytest.raises(MissingInput, match="kokoro.onnx has changed"):
        neural_voices.voice_files()


def test_clips_that_are_there_are_not_spoken_again(home):
    """The neural voices are not on this machine: whatever is heard comes from the clips."""
    utterances = call_centre.utterances("A-test", 3, NEURAL)
    clips, rng = Clips(home / "clips"), np.random.default_rng(0)
    for utterance in utterances[:2]:
        samples = (3000 * rng.standard_normal(8000)).astype(np.int16)
        kept = clips.keep(utterance.transcript, utterance.voice, samples, 16000)
        assert np.array_equal(clips.read(utterance.transcript, utterance.voice), kept)
        assert len(kept) == len(samples) and np.corrcoef(kept, samples)[0, 1] > 0.5
    assert clips.synthesis_ahead(utterances[:2], 1) is None
    assert clips.synthesis_ahead(utterances, 2).startswith(
        "Turns that the neural voices have to speak: 1 (0.0 h"
    )
    spoken = list(synthesis.speak_all(utterances[:2], 1, False, home / "clips"))
    assert [u.id for u, _ in spoken] == [u.id for u in utterances[:2]]
    with pytest.raises(UserError, match="neural voices are not on this machine"):
        list(synthesis.speak_all(utterances, 1, False, home / "clips"))


def test_a_damaged_clip_is_spoken_again(home):
    clips = Clips(home / "clips")
    clips.keep("hello", VOICE, np.ones(800, np.int16), 16000)
    (file,) = (home / "clips").rglob("*.opus")
    whole = file.read_bytes()
    assert clips.read("hello", VOICE) is not None
    damaged = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])  # of which libsndfile drops a page in silence
    last_page_lost = whole[: whole.rindex(b"OggS")]
    for content in (damaged, last_page_lost, whole[:20], b""):
        file.write_bytes(content)
        assert clips.read("hello", VOICE) is None


def test_packed_clips_are_taken_in_elsewhere(home):
    said = [(f"turn {i}", VOICE) for i in range(3)]
    rng, here, there = np.random.default_rng(0), Clips(home / "a" / "speech"), Clips(home / "b" / "speech")
    samples = [here.keep(*one, (3000 * rng.standard_normal(800)).astype(np.int16), 16000) for one in said]
    (pack,) = here.pack(said, home / "packs")
    there.keep(*said[0], np.ones(400, np.int16), 16000)
    there.keep(*said[1], np.ones(400, np.int16), 16000)
    half = there._file(*said[1])
    half.write_bytes(half.read_bytes()[:100])  # what a power cut left is taken in again
    there.unpack([pack])
    heard = [there.read(*one) for one in said]
    assert len(heard[0]) == 400  # what is there is kept
    assert all(np.array_equal(a, b) for a, b in zip(heard[1:], samples[1:], strict=True))
    other = Clips(home / "c" / "other speech")
    other.unpack([pack])
    assert not any(other.has(*one) for one in said)
    with pytest.raises(UserError, match='"turn 9" is not spoken yet'):
        here.pack([("turn 9", VOICE)], home / "packs")
    whole = pack.read_bytes()
    place = whole.index(b"OpusHead") + 3
    pack.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    with pytest.raises(UserError, match=r"0\.parquet is damaged \(a clip has another hash\)"):
        there.unpack([pack])
    pack.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"0\.parquet is damaged .*git checkout"):
        there.unpack([pack])


def test_many_clips_make_several_packs(home, monkeypatch):
    monkeypatch.setattr(clips_module, "_PACK_BYTES", 1000)
    said = [(f"turn {i}", VOICE) for i in range(6)]
    here, there = Clips(home / "a" / "speech"), Clips(home / "b" / "speech")
    for one in said:
        here.keep(*one, np.ones(1600, np.int16), 16000)
    packs = here.pack(said, home / "packs")
    assert len(packs) > 1
    there.unpack(packs)
    assert all(there.has(*one) for one in said)


def test_shipped_clips_are_found_from_a_home_elsewhere(home, tmp_path, monkeypatch):
    """Else an hour of speech is spoken again that the checkout has."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "checkout")
    (utterance,) = call_centre.utterances("A-test", 1, NEURAL)
    spoken = Clips(tmp_path / "spoken")
    spoken.keep(utterance.transcript, utterance.voice, np.zeros(800, np.int16), 16000)
    in_checkout = paths.PROJECT / "results" / "small" / "clips"
    spoken.pack([(utterance.transcript, utterance.voice)], in_checkout)
    assert paths.result_files("*/clips/*.parquet") == [in_checkout / "0.parquet"]
    own = home / "results" / "small" / "clips" / "0.parquet"
    own.parent.mkdir(parents=True)
    own.write_bytes((in_checkout / "0.parquet").read_bytes())
    assert paths.result_files("*/clips/*.parquet") == [own]
    monkeypatch.setenv("SPEECHLLM_BENCH_HOME", str(paths.PROJECT))
    assert paths.result_files("*/clips/*.parquet") == [in_checkout / "0.parquet"]
