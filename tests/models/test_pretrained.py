"""A backbone that cannot be loaded, or not exactly as it was stored, is told in one sentence."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from safetensors.torch import load_file, save_file

from speechllm_bench import backbones
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.models.asr import load_asr
from speechllm_bench.models.audio_llm import load_audio_llm
from speechllm_bench.models.encoder import load_encoder
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.storage import sealed


@pytest.mark.parametrize(("part", "load"), [("llm", load_llm), ("whisper", load_encoder)])
def test_a_sound_folder_is_loaded(tiny_backbones, part, load):
    assert load(str(tiny_backbones / part))


def test_loading_prints_no_warning_of_the_library(tiny_backbones):
    """Its list of layers that are not sharded would fill a screen before an answer."""
    told = []
    handler = logging.Handler()
    handler.emit = told.append
    logging.getLogger("transformers").addHandler(handler)
    try:
        load_llm(str(tiny_backbones / "llm"))
        load_asr(str(tiny_backbones / "whisper"))
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert told == []


@pytest.mark.parametrize(("part", "load"), [("llm", load_llm), ("whisper", load_encoder)])
def test_truncated_weights(tiny_backbones, tmp_path, part, load):
    folder = shutil.copytree(tiny_backbones / part, tmp_path / part)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="are damaged .* and run again") as told:
        load(str(folder))
    assert str(folder) in str(told.value) and "\n" not in str(told.value)


def test_missing_weights(tiny_backbones, tmp_path):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded .* and run again") as told:
        load_llm(str(folder))
    assert "\n" not in str(told.value)


def test_a_folder_of_the_zoo_comes_back_from_git():
    with pytest.raises(UserError, match="git checkout zoo/llm-maxi"):
        load_llm("zoo/llm-maxi")


LOADERS = [("llm", load_llm), ("whisper", load_encoder), ("whisper", load_asr), ("audio_llm", load_audio_llm)]


def changed_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(("part", "load"), LOADERS)
def test_a_flipped_bit_in_a_tensors_name_is_not_filled_with_random_weights(
    tiny_backbones, tmp_path, part, load
):
    folder = shutil.copytree(tiny_backbones / part, tmp_path / part)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    name = b"layers.0.self_attn.q_proj.weight"
    assert name in content
    weights.write_bytes(content.replace(name, name.replace(b"q_proj", b"q_prok"), 1))
    with pytest.raises(
        UserError, match=r"1 missing, such as .*q_proj.*1 unexpected, such as .*q_prok"
    ) as told:
        load(str(folder))
    assert "\n" not in str(told.value) and "run again" in str(told.value)


@pytest.mark.parametrize(("layers", "fault"), [(1, "unexpected"), (3, "missing")])
def test_another_number_of_layers_is_refused(tiny_backbones, tmp_path, layers, fault):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    changed_config(folder, num_hidden_layers=layers)
    with pytest.raises(UserError, match=rf"are not those of its config.json \(tensors: \d+ {fault}, such as"):
        load_llm(str(folder))


def test_another_width_is_refused(tiny_backbones, tmp_path):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    changed_config(folder, intermediate_size=16)
    with pytest.raises(UserError, match="6 of another shape, such as"):
        load_llm(str(folder))


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model_type": "lllama"}', '{"model_type": "llama", "hidden_size": "x"}']
)
def test_a_damaged_configuration_ends_in_a_sentence(tiny_backbones, tmp_path, content):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match="cannot be loaded .*run again") as told:
        load_llm(str(folder))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"type": "none"}}'])
def test_a_damaged_tokenizer_ends_in_a_sentence(tiny_backbones, tmp_path, content):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="cannot be loaded .*run again") as told:
        load_tokenizer(str(folder))
    assert "\n" not in str(told.value)


def test_files_that_a_folder_records_are_compared(tiny_backbones, tmp_path):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    sealed.write(folder / "training.json", {"seconds": 1})
    load_llm(str(folder))
    changed_config(folder, rope_theta=10001.0)  # nothing else would see it
    with pytest.raises(UserError, match="is damaged .*config.json is damaged: its sha256 .*run again"):
        load_llm(str(folder))


def test_a_model_that_is_there_in_part_is_not_there(tiny_backbones, tmp_path):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    one, two = folder / "model-1.safetensors", folder / "model-2.safetensors"
    (folder / "model.safetensors").rename(one)
    with open(one, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = [name for name in header if name != "__metadata__"]
    index = {"weight_map": dict.fromkeys(tensors, one.name) | {"lost": two.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingInput, match="is incomplete .model-2.safetensors is not in"):
        backbones.backbone_folder(str(folder))
    shutil.copy(one, two)
    assert "model-2.safetensors lacks tensors that" in backbones.fault(folder)
    two.write_bytes(one.read_bytes()[:-1])
    assert "model-2.safetensors is damaged or cut short" in backbones.fault(folder)
    one.unlink(), two.unlink(), (folder / "model.safetensors.index.json").unlink()
    assert "no .safetensors file" in backbones.fault(folder)


def test_what_the_hub_sent_is_compared_with_its_hashes(tiny_backbones, tmp_path):
    """A hub copy is links to blobs: small ones are named as git names them, large ones by their sha256."""
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshot"
    shutil.copytree(tiny_backbones / "llm", folder)
    blobs.mkdir()
    for file in list(folder.iterdir()):
        large = file.suffix == ".safetensors"
        name = backbones.file_sha256(file) if large else backbones._git_sha1(file)
        file.rename(blobs / name)
        file.symlink_to(blobs / name)
    backbones.refuse_changed(str(folder))
    for file in ("model.safetensors", "tokenizer.json"):
        blob = (folder / file).resolve()
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + b" ")
        with pytest.raises(UserError, match=f"{file} is not what the hub sent"):
            backbones.refuse_changed(str(folder))
        blob.write_bytes(content)


@pytest.mark.parametrize(
    ("part", "load", "setting", "value"),
    [
        ("llm", load_llm, "eos_token_id", "</s>"),
        ("llm", load_llm, "eos_token_id", [1, float("nan")]),
        ("audio_llm", load_audio_llm, "eos_token_id", {}),
        ("whisper", load_asr, "suppress_tokens", "x"),
        ("whisper", load_asr, "decoder_start_token_id", None),
        ("whisper", load_asr, "decoder_start_token_id", 99_999),
    ],
)
def test_a_setting_that_names_no_token_ends_in_a_sentence(
    tiny_backbones, tmp_path, part, load, setting, value
):
    folder = shutil.copytree(tiny_backbones / part, tmp_path / part)
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {setting: value}))
    with pytest.raises(UserError, match=f"is damaged .{setting} of its generation settings is ") as told:
        load(str(folder))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("part", "load"), LOADERS)
def test_weights_that_are_not_finite_are_refused(tiny_backbones, tmp_path, part, load):
    folder = shutil.copytree(tiny_backbones / part, tmp_path / part)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "q_proj.weight" in name)
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="q_proj.weight holds numbers that are not finite"):
        load(str(folder))


def test_an_index_names_no_file_outside_its_folder(tiny_backbones, tmp_path):
    """Such a file is in no digest."""
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
    (folder / backbones.INDEX).write_text(json.dumps(index))
    assert backbones.fault(folder) == f"{folder / backbones.INDEX} is damaged"


def test_a_refused_model_prints_no_report(tiny_backbones, tmp_path, caplog):
    folder = shutil.copytree(tiny_backbones / "llm", tmp_path / "llm")
    changed_config(folder, num_hidden_layers=3)
    with pytest.raises(UserError):
        load_llm(str(folder))
    assert "REPORT" not in caplog.text
