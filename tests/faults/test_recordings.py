"""Recordings that are cut, lie, lack or are shorter than their annotation: named, or left out by name."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "corpora"))

from test_librispeech_slue import published, sense  # noqa: F401

from speechllm_bench import cli
from speechllm_bench.commands import arguments
from speechllm_bench.data import corpora, lengths
from speechllm_bench.data.audio import decode_flac, encode_flac, read_audio
from speechllm_bench.data.corpora import RECORDED, common_voice, exclusions, fluent_speech, librispeech_slue
from speechllm_bench.data.corpora.published import table_rows
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.planning import identity, studies
from speechllm_bench.running import jobs, preparation
from speechllm_bench.settings.config import CorpusConfig
from speechllm_bench.storage import runs

TONE = (0.5 * np.sin(np.arange(16000) / 10)).astype(np.float32)
CORPUS = CorpusConfig(name="librispeech_slue")


def packed(kind: str, samples: np.ndarray = TONE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16000, format=kind)
    return buffer.getvalue()


def told(wav: bytes, size: int) -> bytes:
    """A WAV whose header tells of `size` bytes of samples."""
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def flac_told(flac: bytes, n: int) -> bytes:
    about = int.from_bytes(flac[18:26], "big") >> 36 << 36 | n
    return flac[:18] + about.to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF", "AU", "W64", "RF64"])
def test_a_whole_file_is_read_and_a_cut_one_is_named(tmp_path, kind):
    whole = packed(kind)
    file = tmp_path / f"turn.{kind.lower()}"
    file.write_bytes(whole)
    assert len(read_audio(file)) == len(TONE)
    pages = [i for i in range(1, len(whole)) if whole[i : i + 4] == b"OggS"]
    for cut in {*(len(whole) * tenth // 10 for tenth in range(10)), len(whole) - 1, *pages}:
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=f"turn.{kind.lower()} is (damaged|no audio|empty)"):
            read_audio(file)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_cut_mp3_is_named(tmp_path, share):
    whole = packed("MP3")
    file = tmp_path / "turn.mp3"
    file.write_bytes(whole)
    assert len(read_audio(file)) == len(TONE)
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="turn.mp3 is damaged: its header says 16000 samples"):
        read_audio(file)


@pytest.mark.parametrize("loud", ["end", "start"])
def test_an_mp3_of_varying_bit_rate_without_a_header_of_its_length(loud):
    """libsndfile's estimate is too long if the first frame is quiet, and too short if it is loud."""
    noise = np.random.default_rng(0).normal(0, 0.3, 32000)
    halves = (np.zeros(32000), noise) if loud == "end" else (noise, np.zeros(32000))
    buffer = io.BytesIO()
    form = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.3}
    soundfile.write(buffer, np.concatenate(halves), 16000, **form)
    whole = buffer.getvalue()
    (_, size, _), *_ = lengths._frames(whole)
    assert lengths.untold_samples(whole) is None and lengths.untold_samples(b"ID3" + bytes(20)) is None
    assert lengths.untold_samples(whole[size:]) == 576 * (len(list(lengths._frames(whole))) - 1)
    assert len(read_audio(whole)) == 64000
    if loud == "end":
        assert abs(len(read_audio(whole[size:])) - 64000) < 4 * 576
    else:
        with pytest.raises(UserError, match=r"no header says that it has \d+ samples, and only \d+ can be"):
            read_audio(whole[size:])


@pytest.mark.parametrize("size", [0, 10, 1000, 31000, 32002, 64000, 2**31])
def test_a_wav_whose_header_lies_is_named(tmp_path, size):
    file = tmp_path / "turn.wav"
    file.write_bytes(told(packed("WAV"), size))
    with pytest.raises(UserError, match="turn.wav is (damaged: .*; fetch or export it again|empty)"):
        read_audio(file)


@pytest.mark.parametrize(
    ("at", "form", "value"), [(22, "<H", 2), (24, "<I", 8000), (34, "<H", 24), (28, "<I", 1)]
)
def test_a_wav_whose_format_contradicts_itself_is_named(tmp_path, at, form, value):
    """Read as 24 bits it would be noise, and at another rate another voice."""
    lies = bytearray(packed("WAV"))
    struct.pack_into(form, lies, at, value)
    (tmp_path / "turn.wav").write_bytes(lies)
    with pytest.raises(UserError, match="turn.wav is damaged: its header says .* bytes a frame"):
        read_audio(tmp_path / "turn.wav", channel=0)


@pytest.mark.parametrize(
    "kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"]
)
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_every_kind_of_wav_is_read(kind, form):
    buffer = io.BytesIO()
    if not soundfile.check_format(form, kind):
        return
    soundfile.write(buffer, TONE, 16000, format=form, subtype=kind)
    assert abs(len(read_audio(buffer.getvalue())) - len(TONE)) < 512  # ADPCM has whole blocks


def test_a_wav_that_was_written_to_a_pipe_is_read():
    assert len(read_audio(told(packed("WAV"), 2**32 - 1))) == len(TONE)


@pytest.mark.parametrize("n", [0, 1, 8000, 15999, 16001, 32000, 2**36 - 1])
def test_a_flac_whose_header_lies_is_named(tmp_path, n):
    file = tmp_path / "turn.flac"
    file.write_bytes(flac_told(packed("FLAC"), n))
    with pytest.raises(UserError, match="turn.flac is (damaged|no audio|empty)"):
        read_audio(file)


def test_what_we_wrote_ourselves_is_no_lie():
    mono = packed("FLAC", TONE)
    assert np.array_equal(read_audio(mono), decode_flac(mono))
    assert len(read_audio(encode_flac(TONE))) == len(TONE)


def chapter(root: Path, subset: str = "train-clean-100") -> Path:
    return root / "LibriSpeech" / subset / "103" / "1240"


def test_one_missing_recording_is_named(published, home):  # noqa: F811
    (chapter(published) / "103-1240-0001.flac").unlink()
    with pytest.raises(UserError) as error:
        preparation.ensure_corpus(CORPUS, 1)
    assert "103-1240-0001.flac does not exist" in str(error.value)
    assert "or start with --skip-missing, which leaves such recordings out" in str(error.value)


def test_a_header_of_31_seconds_drops_nothing_in_silence(published, home):  # noqa: F811
    file = chapter(published) / "103-1240-0001.flac"
    file.write_bytes(flac_told(file.read_bytes(), 31 * 16000))
    with pytest.raises(UserError, match="103-1240-0001.flac is no audio that can be read"):
        preparation.ensure_corpus(CORPUS, 1)


def test_a_recording_shorter_than_its_annotation_is_named(published):  # noqa: F811
    table = published / "slue-voxceleb" / "slue-voxceleb_dev.tsv"
    whole = table.read_text()
    for start, end in (("0.5", "2.5"), ("2.5", "3.5"), ("1.5", "1.5"), ("1.5", "0.5"), ("-1", "0.5")):
        librispeech_slue._rows.cache_clear()
        table.write_text(whole.replace("\t0.5\t1.5", f"\t{start}\t{end}"))
        (turn,) = [u for u in RECORDED["librispeech_slue"].utterances("validation") if "id10001" in u.id]
        with pytest.raises(
            UserError, match="id10001_a_00001.flac lasts 2.00 s, and its annotation is of the part"
        ):
            RECORDED["librispeech_slue"].recording(turn)
    librispeech_slue._rows.cache_clear()
    table.write_text(whole.replace("\t0.5\t1.5", "\t0.5\t2.05"))  # rounded
    (turn,) = [u for u in RECORDED["librispeech_slue"].utterances("validation") if "id10001" in u.id]
    assert len(RECORDED["librispeech_slue"].recording(turn)) == 24000


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("voxceleb", "i loved it.", '"i loved it.'),
        ("voxceleb", "that was bad", '"that was bad'),  # in the last row
        ("voxpopuli", "article twenty", '"article twenty'),
        ("voxceleb", "i loved it.", "i loved\tit."),
        ("voxceleb", "id10002_b_00001", "id10001_a_00001"),
        ("voxceleb", "\t0.5\t1.5", "\tsoon\t1.5"),
    ],
)
def test_a_table_with_an_unbalanced_quote_is_named(published, source, old, new):  # noqa: F811
    table = published / f"slue-{source}" / f"slue-{source}_test.tsv"
    table.write_text(table.read_text().replace(old, new))
    librispeech_slue._rows.cache_clear()
    with pytest.raises(UserError, match=f"slue-{source}_test.tsv"):
        RECORDED["librispeech_slue"].utterances("A-test")
    librispeech_slue._rows.cache_clear()


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_two_unbalanced_quotes_swallow_no_row_between_them(tmp_path, delimiter):
    """They would make one row of three lines, with as many fields as any other."""
    lines = ["id,text,end", "1,one,a", '2,"two,b', "3,three,c", '4,four",d', "5,five,e"]
    (tmp_path / "table").write_text("\n".join(lines).replace(",", delimiter) + "\n")
    rows = table_rows(tmp_path / "table", ("id", "text"), "ours", delimiter=delimiter)
    with pytest.raises(UserError, match="table, line 5: a field runs over several lines"):
        list(rows)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b'1,"one\n' + 9000 * b"2,two of many words\n", "table, line .*field larger than field limit"),
        (b"1,\xff\n", "table is not UTF-8 text; fetch it again$"),
    ],
)
def test_a_table_that_csv_cannot_read_is_named(tmp_path, lines, told):
    """A quote without a counterpart makes one field of all lines after it, which may be too long for csv."""
    (tmp_path / "table").write_bytes(b"id,text\n" + lines)
    with pytest.raises(UserError, match=told):
        list(table_rows(tmp_path / "table", ("id", "text"), "ours"))


def test_a_clip_of_common_voice_has_one_row(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    row = "ann\tclip_1.mp3\tuno\t2\t0\n"
    (tmp_path / "common_voice" / "es").mkdir(parents=True)
    table = tmp_path / "common_voice" / "es" / "test.tsv"
    table.write_text("client_id\tpath\tsentence\tup_votes\tdown_votes\n" + row + row.replace("uno", "dos"))
    with pytest.raises(UserError, match="test.tsv, line 3: recording clip_1 has a row already"):
        common_voice._rows(table)


def test_a_recording_of_fluent_speech_has_one_row(tmp_path):
    row = "wavs/speakers/ann/1.wav,ann,lights on,activate,lights,none\n"
    table = tmp_path / "test_data.csv"
    table.write_text("path,speakerId,transcription,action,object,location\n" + row + row)
    with pytest.raises(UserError, match=r"test_data.csv, line 3: recording 1 has a row already"):
        fluent_speech._rows(table)


@pytest.fixture
def damaged(published, monkeypatch):  # noqa: F811
    """Two of 21 recordings are no good: one is missing, one is cut."""
    librispeech_slue._rows.cache_clear()
    (chapter(published) / "103-1240-0001.flac").unlink()
    other = published / "slue-voxceleb" / "fine-tune_raw" / "id10001_a_00001.flac"
    other.write_bytes(other.read_bytes()[:2000])
    return {"librispeech/train/103-1240-0001", "voxceleb/train/id10001_a_00001"}


def test_what_cannot_be_read_is_left_out_by_name_and_another_corpus(damaged, home, monkeypatch):
    monkeypatch.setattr(exclusions, "MOST", 0.2)
    before = identity.corpus_digest(CORPUS)
    found = corpora.skip_missing(CORPUS)
    assert found.keys() == damaged
    assert found["librispeech/train/103-1240-0001"].startswith("$SPEECHLLM_BENCH_DATA/librispeech_slue/Libri")
    after = identity.corpus_digest(CORPUS)
    assert after != before
    corpus = preparation.ensure_corpus(CORPUS, 1)
    assert corpus.info["recipe"]["excluded"] == sorted(damaged)
    assert not damaged & {u.id for u in corpus.utterances("train")}
    assert sum(len(corpus.utterances(split)) for split in corpus.splits) == 21 - 2
    reader = librispeech_slue.LibriSpeechSlue
    monkeypatch.setattr(reader, "recording", lambda *_: pytest.fail("looked at a second time"))
    assert corpora.skip_missing(CORPUS).keys() == damaged
    exclusions.record_file("librispeech_slue").unlink()
    assert identity.corpus_digest(CORPUS) == before


@pytest.mark.parametrize("content", [[], 3, None, {}, "whole"])
def test_a_damaged_record_of_what_was_left_out_is_told(published, home, content):  # noqa: F811
    librispeech_slue._rows.cache_clear()
    if content == "whole":
        recipe = runs.digest(librispeech_slue.LibriSpeechSlue().recipe())
        content = {"corpus": CORPUS.name, "recipe": recipe, "sizes": [], "utterances": ["a"]}
    runs.write_json(exclusions.record_file(CORPUS.name), content)
    for read in (corpora.left_out, corpora.skip_missing):
        with pytest.raises(UserError, match="librispeech_slue.json is no record of excluded recordings; del"):
            read(CORPUS)


def test_a_run_records_what_was_left_out(damaged, home, sense, monkeypatch):  # noqa: F811
    monkeypatch.setattr(exclusions, "MOST", 0.2)
    corpora.skip_missing(CORPUS)
    folder = jobs.execute(sense("ner"), "recorded", lambda phase, share: None)
    assert runs.read_json(folder / "run.json")["data"]["excluded"] == sorted(damaged)


def test_too_much_is_not_left_out(damaged, published, home, monkeypatch):  # noqa: F811
    for file in (published / "slue-voxpopuli" / "test").iterdir():
        file.unlink()
    with pytest.raises(
        UserError, match="4 of 21 recordings of corpus 'librispeech_slue' cannot be read, which"
    ):
        corpora.skip_missing(CORPUS)
    assert not exclusions.record_file("librispeech_slue").exists()


def test_a_whole_part_that_is_missing_is_not_left_out(published, home):  # noqa: F811
    librispeech_slue._rows.cache_clear()
    folder = published / "slue-voxpopuli" / "test"
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(MissingInput, match="has no test; fetch it"):
        corpora.skip_missing(CORPUS)


def test_nothing_wrong_changes_nothing(published, home):  # noqa: F811
    librispeech_slue._rows.cache_clear()
    before = identity.corpus_digest(CORPUS)
    assert corpora.skip_missing(CORPUS) == {} and identity.corpus_digest(CORPUS) == before
    assert corpora.skip_missing(CorpusConfig(name="call_centre", sizes={"train": 1})) == {}


@pytest.mark.parametrize("command", ["prepare", "run", "study"])
def test_the_commands_say_what_is_left_out(damaged, home, suite, monkeypatch, capsys, command):
    monkeypatch.setattr(exclusions, "MOST", 0.2)
    study, profile = studies.load("adapter_size", "smoke")
    monkeypatch.setattr(studies, "load", lambda *_: (study, profile.model_copy(update={"corpus": CORPUS})))
    chosen = arguments.parser(cli._commands()).parse_args(
        [command, "adapter_size", *(["cnn"] * (command != "study")), "--skip-missing"]
    )
    cli._leave_out(["adapter_size"], chosen)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        "Left out: 2 recordings of corpus 'librispeech_slue' that cannot be read, named in "
        "excluded/librispeech_slue.json."
    )
