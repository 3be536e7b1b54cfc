"""Fetching, from a package index that is a folder of tiny wheels: whole or not at all, and once."""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from model_files import write_wheel
from tiny_whisper import write_tiny_whisper

from speechllm_bench import cli
from speechllm_bench.commands import doctor
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.fetch import folders, pinned, whisper
from speechllm_bench.fetch.pinned import Pins, Wheel
from speechllm_bench.planning import identity
from speechllm_bench.settings.strict import load_yaml
from speechllm_bench.storage import paths

IMPORTED = "raise AssertionError('a wheel was imported')\n"


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def payload(content: bytes, *parts: str) -> dict:
    return {"sha256": digest(content), "parts": list(parts)}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> dict[str, bytes]:
    """The files of a tiny Whisper, and what its conversion writes."""
    folder = tmp_path_factory.mktemp("source")
    files = write_tiny_whisper(folder).files
    (folder / "out").mkdir()
    whisper.convert(*files, folder / "out")
    written = {f"out/{file.name}": file.read_bytes() for file in (folder / "out").iterdir()}
    return {**{file.name: file.read_bytes() for file in files}, **written}


@pytest.fixture
def index(source, tmp_path, monkeypatch, home) -> Path:
    """The index: `tiny-a` and `tiny-b` hold halves of a Whisper, `tiny-voice` a voice; pins to match."""
    folder, model = tmp_path / "index", source["model.bin"]
    members = {
        "tiny-a": {
            "tiny_a/__init__.py": IMPORTED.encode(),
            "tiny_a/model.part1": model[:1000],
            "tiny_a/config.json": source["config.json"],
            "tiny_a/tokenizer.json": source["tokenizer.json"],
            "tiny_a/unasked.bin": b"not a payload",
        },
        "tiny-b": {"tiny_b/model.part2": model[1000:], "tiny_b/LICENSE": b"MIT"},
        "tiny-voice": {"tiny_voice/voice.onnx": b"a voice"},
    }
    wheels = {name: write_wheel(folder, name, "1.0", content) for name, content in members.items()}
    common = {"role": "a part", "original": "A tiny one", "licence": "MIT", "spdx": "mit"}
    common |= {"source": "here", "changed": "Names.", "mebibytes": 1.0}
    pins = {
        "wheels": {
            name: {"version": "1.0", "sha256": digest(file.read_bytes()), "mebibytes": 1.0}
            for name, file in wheels.items()
        },
        "folders": {
            "whisper-tiny": {
                **common,
                "converter": "whisper",
                "inputs": {
                    "model.bin": payload(model, "tiny-a tiny_a/model.part1", "tiny-b tiny_b/model.part2"),
                    "config.json": payload(source["config.json"], "tiny-a tiny_a/config.json"),
                    "tokenizer.json": payload(source["tokenizer.json"], "tiny-a tiny_a/tokenizer.json"),
                },
                "copied": {"LICENSE": payload(b"MIT", "tiny-b tiny_b/LICENSE")},
                "written": {
                    name.removeprefix("out/"): digest(content)
                    for name, content in source.items()
                    if name.startswith("out/")
                },
            },
            "voice": {
                **common,
                "inputs": {},
                "copied": {"voice.onnx": payload(b"a voice", "tiny-voice tiny_voice/voice.onnx")},
                "written": {},
            },
        },
    }
    (tmp_path / "pinned.yaml").write_text(yaml.safe_dump(pins, sort_keys=False))
    monkeypatch.setattr(pinned, "PINS", tmp_path / "pinned.yaml")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    pinned.pins.cache_clear()
    identity.backbone_hash.cache_clear()
    yield folder
    pinned.pins.cache_clear()
    identity.backbone_hash.cache_clear()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def never(package, wheel, folder):
    raise AssertionError(f"{package} was downloaded again")


def copied_from(index: Path):
    def download(package: str, wheel: Wheel, folder: Path) -> Path:
        [file] = index.glob(f"{package.replace('-', '_')}-*.whl")
        return Path(folder / file.name).write_bytes(file.read_bytes()) and folder / file.name

    return download


def test_pip_brings_the_wheels_and_the_folders_are_whole(index, home, source, capsys):
    assert cli.main(["fetch", "small"]) == 0
    told = capsys.readouterr()
    assert told.out.split() == ["fetched/whisper-tiny", "fetched/voice"]
    assert "whisper-tiny: converting" in told.err and "voice: tiny-voice 1.0" in told.err
    got = contents(home / "fetched" / "whisper-tiny")
    written = {name.removeprefix("out/"): content for name, content in source.items() if "out/" in name}
    assert {name: got[name] for name in written} == written
    assert set(got) == {*written, "LICENSE", "README.md", "fetched.json"}  # nothing else of the wheels
    assert contents(home / "fetched" / "voice")["voice.onnx"] == b"a voice"
    assert not {"tiny_a", "tiny_b", "tiny_voice"} & set(sys.modules)
    assert not [p for p in home.rglob("*.tmp")]


def test_the_card_and_the_record_tell_the_hashes_before_and_after(index, home, source):
    (folder,) = folders.fetch_folders(["whisper-tiny"], download=copied_from(index))
    record = json.loads((folder / "fetched.json").read_text("utf-8"))
    files = contents(folder)
    assert record["files"] == {name: digest(files[name]) for name in files if name != "fetched.json"}
    assert record["payloads"]["model.bin"] == digest(source["model.bin"])
    assert record["wheels"]["tiny-b"]["version"] == "1.0"
    card = files["README.md"].decode()
    for word in (
        "tiny-a 1.0, tiny-b 1.0",
        "MIT",
        digest(source["model.bin"]),
        record["files"]["model.safetensors"],
    ):
        assert word in card


def test_a_second_call_does_nothing(index, home):
    first = contents(next(folders.fetch_folders(["whisper-tiny"], download=copied_from(index))))
    folder = home / "fetched" / "whisper-tiny"
    times = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert next(folders.fetch_folders(["whisper-tiny"], download=never)) == folder
    assert contents(folder) == first and {p: p.stat().st_mtime_ns for p in folder.iterdir()} == times


@pytest.mark.parametrize(
    "damage", ["lost", "cut", "changed", "no record", "bad record", "odd record", "both"]
)
def test_a_damaged_folder_is_made_again_from_the_kept_wheels(index, home, damage):
    folder = next(folders.fetch_folders(["whisper-tiny"], download=copied_from(index)))
    whole = contents(folder)
    weights, record = folder / "model.safetensors", folder / "fetched.json"
    if damage == "lost":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "changed":
        (folder / "config.json").write_text("{}")
    elif damage == "no record":
        record.unlink()
    elif damage == "bad record":
        record.write_text('{"files": ')
    elif damage == "odd record":
        record.write_text('{"files": [], "payloads": {}}')
    else:  # both the file and its hash in the record: the pins still tell
        weights.write_bytes(b"other weights")
        told = json.loads(record.read_text())
        told["files"]["model.safetensors"] = digest(b"other weights")
        record.write_text(json.dumps(told))
    assert folders.fault(folder, "whisper-tiny")
    assert contents(next(folders.fetch_folders(["whisper-tiny"], download=never))) == whole


def test_what_was_interrupted_goes_on_from_there(index, home):
    asked, real = [], copied_from(index)

    def stopped(package, wheel, folder):
        asked.append(package)
        if package == "tiny-b":
            (folder / "half.whl").write_bytes(b"half")
            raise KeyboardInterrupt
        return real(package, wheel, folder)

    with pytest.raises(KeyboardInterrupt):
        list(folders.fetch_folders(["whisper-tiny"], download=stopped))
    assert asked == ["tiny-a", "tiny-b"] and list((home / "fetched").iterdir()) == []
    assert [p.name for p in (home / ".cache" / "wheels").iterdir()] == ["tiny-a-1.0.whl"]

    def second(package, wheel, folder):
        assert package == "tiny-b"
        return real(package, wheel, folder)

    assert (
        folders.fault(next(folders.fetch_folders(["whisper-tiny"], download=second)), "whisper-tiny") is None
    )


def test_a_conversion_that_is_stopped_leaves_nothing(index, home, monkeypatch):
    def stopped(*inputs):
        (inputs[-1] / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(whisper, "convert", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(folders.fetch_folders(["whisper-tiny"], download=copied_from(index)))
    assert list((home / "fetched").iterdir()) == []


def test_a_cut_wheel_in_the_cache_is_taken_anew(index, home):
    next(folders.fetch_folders(["voice"], download=copied_from(index)))
    kept = home / ".cache" / "wheels" / "tiny-voice-1.0.whl"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-20])
    (home / "fetched" / "voice" / "voice.onnx").unlink()
    next(folders.fetch_folders(["voice"], download=copied_from(index)))
    assert kept.read_bytes() == whole


def test_another_wheel_under_the_same_name_is_refused_by_pip_and_by_us(index, home, capsys):
    write_wheel(index, "tiny-voice", "1.0", {"tiny_voice/voice.onnx": b"another voice"})
    assert cli.main(["fetch", "small", "--only", "voice"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(
        "speechllm-bench: the package index gave another tiny-voice 1.0 than the pinned one"
    )
    with pytest.raises(UserError, match="gave another tiny-voice 1.0 than the pinned one"):
        next(folders.fetch_folders(["voice"], download=copied_from(index)))
    assert not list((home / ".cache" / "wheels").iterdir()) and not list((home / "fetched").iterdir())


def test_a_package_that_the_index_has_not_is_told(index, home, capsys):
    [wheel] = index.glob("tiny_voice-*")
    wheel.unlink()
    assert cli.main(["fetch", "small"]) == 2  # what came before it stays
    told = capsys.readouterr().err.splitlines()[-1]
    assert "tiny-voice 1.0 cannot be downloaded: pip says 'No matching distribution" in told
    assert [p.name for p in (home / "fetched").iterdir()] == ["whisper-tiny"]


def changed_pins(change) -> None:
    pins = yaml.safe_load(pinned.PINS.read_text())
    change(pins)
    pinned.PINS.write_text(yaml.safe_dump(pins, sort_keys=False))
    pinned.pins.cache_clear()


def test_a_payload_that_is_not_the_pinned_one_is_refused(index, home):
    changed_pins(lambda pins: pins["folders"]["voice"]["copied"]["voice.onnx"].update(sha256="0" * 64))
    with pytest.raises(UserError, match=r"voice wrote another voice\.onnx than the pinned one"):
        next(folders.fetch_folders(["voice"], download=copied_from(index)))
    assert not list((home / "fetched").iterdir())


def test_a_conversion_with_other_bits_is_refused(index, home):
    changed_pins(lambda pins: pins["folders"]["whisper-tiny"]["written"].update({"config.json": "0" * 64}))
    with pytest.raises(UserError, match=r"conversion of whisper-tiny wrote another config\.json"):
        next(folders.fetch_folders(["whisper-tiny"], download=copied_from(index)))
    assert not list((home / "fetched").iterdir())


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", ""])
def test_no_file_is_written_outside_the_folder(index, name):
    changed_pins(lambda pins: pins["folders"]["voice"]["copied"].update({name: payload(b"", "a b")}))
    with pytest.raises(UserError, match="pinned.yaml"):
        pinned.pins()


def test_a_full_disk_is_told_before_anything_is_downloaded(index, home, monkeypatch):
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"voice needs 3 MiB of disk and .*fetched has 1 MiB free; make room"):
        next(folders.fetch_folders(["voice"], download=never))


def test_a_full_disk_under_pip_is_told_as_one(index, home, monkeypatch, capsys):
    from speechllm_bench.fetch import wheels

    class Answer:
        returncode, stdout = 1, ""
        stderr = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"

    monkeypatch.setattr(wheels.subprocess, "run", lambda *a, **k: Answer)
    assert cli.main(["fetch", "small"]) == 2
    assert "no space left on the disk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No", "cannot be reached"),
        ("/usr/bin/python: No module named pip", "this Python has no pip"),
        ("ERROR: Cannot connect to proxy\nERROR: 407", "pip says '407'"),
        ("", "pip says 'no reason given'"),
    ],
)
def test_why_pip_failed_is_one_sentence(index, monkeypatch, said, told, capsys):
    from speechllm_bench.fetch import wheels

    class Answer:
        returncode, stdout, stderr = 1, "", said

    monkeypatch.setattr(wheels.subprocess, "run", lambda *a, **k: Answer)
    assert cli.main(["fetch", "small", "--only", "voice"]) == 2
    [sentence] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("speechllm-bench: ")]
    assert "tiny-voice 1.0 cannot be downloaded" in sentence and told in sentence


def test_only_some_and_to_another_folder(index, home, tmp_path, capsys):
    assert cli.main(["fetch", "small", "--only", "voice", "--to", str(tmp_path / "there")]) == 0
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["voice"]
    assert not (home / "fetched").exists()


def test_an_unknown_name_is_refused_before_anything_is_done(index, home, capsys):
    assert cli.main(["fetch", "small", "--only", "voice", "whisper"]) == 2
    told = capsys.readouterr().err
    assert told == "speechllm-bench: 'whisper' cannot be fetched; known are whisper-tiny, voice\n"
    assert not (home / "fetched").exists()


def test_a_fetched_folder_is_a_backbone_and_its_record_no_part_of_it(index, home):
    with pytest.raises(MissingInput, match="fetch it with `speechllm-bench fetch small`"):
        identity.backbone_folder("fetched/whisper-tiny")
    known = identity.backbone_hash("fetched/whisper-tiny")  # by its pins
    identity.backbone_hash.cache_clear()
    folder = next(folders.fetch_folders(["whisper-tiny"], download=copied_from(index)))
    assert (
        identity.backbone_folder("fetched/whisper-tiny") == folder == paths.backbone("fetched/whisper-tiny")
    )
    before = identity.backbone_hash("fetched/whisper-tiny")
    assert before == known
    identity.backbone_hash.cache_clear()
    (folder / "fetched.json").write_text("{}")
    (folder / "README.md").write_text("")
    assert identity.backbone_hash("fetched/whisper-tiny") == before
    identity.backbone_hash.cache_clear()
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"'fetched/whisper-tiny' is damaged \(config.json is not the pinned"):
        identity.backbone_hash("fetched/whisper-tiny")


def test_doctor_says_what_is_fetched(index, home):
    told = doctor.fetched_lines()
    assert told[0].startswith("MISSING whisper-tiny") and told[0].endswith(": it has not been fetched")
    folder = next(folders.fetch_folders(["whisper-tiny"], download=copied_from(index)))
    assert doctor.fetched_lines()[0].startswith("present whisper-tiny")
    (folder / "config.json").write_text("{}")
    assert doctor.fetched_lines()[0].endswith(": config.json was changed")
    assert "Fetched by" in doctor.report()


def test_the_real_pins_are_coherent():
    pins = load_yaml(Pins, Path(pinned.__file__).with_name("pinned.yaml"))
    used = {package for folder in pins.folders.values() for package in folder.packages()}
    assert used == set(pins.wheels)
    for folder in pins.folders.values():
        assert bool(folder.converter) == bool(folder.inputs) == bool(folder.written)
        assert not set(folder.written) & set(folder.copied)
    # Of Systran/faster-whisper-base on the hub, as other projects pin it.
    known = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
    assert pins.folders["whisper-base"].inputs["model.bin"].sha256 == known
