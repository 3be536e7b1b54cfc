"""The files of a backbone, byte for byte."""

from __future__ import annotations

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from speechllm_bench.fetch.weights import write_json, write_safetensors


def test_safetensors_by_hand_and_by_its_own_reader(tmp_path):
    file, swapped = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    tensors = {
        "b": np.array([[1.0, -2.0], [0.5, 4.0]], np.float16).T,  # not contiguous
        "a": np.array([1e-3], np.float32),
    }
    write_safetensors(file, tensors)
    write_safetensors(swapped, dict(reversed(tensors.items())))
    header = (
        b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"b":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]}}'
    )
    header += b" " * (-len(header) % 8)
    body = np.float32(1e-3).tobytes() + np.array([1.0, 0.5, -2.0, 4.0], np.float16).tobytes()
    assert file.read_bytes() == swapped.read_bytes() == len(header).to_bytes(8, "little") + header + body
    read = load_file(file)
    assert set(read) == set(tensors) and all(np.array_equal(read[k], tensors[k]) for k in tensors)
    with safe_open(file, "np") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_json_is_sorted_and_unescaped(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, "ü"], "a": None})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "a": null,\n  "b": [\n    1,\n    "ü"\n  ]\n}\n'
