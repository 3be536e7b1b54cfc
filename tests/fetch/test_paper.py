"""`fetch paper` against a hub and a server that are made here."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from speechllm_bench import backbones, cli
from speechllm_bench.commands import doctor
from speechllm_bench.data.corpora import librispeech_slue
from speechllm_bench.errors import UserError
from speechllm_bench.fetch import archives, hub, hub_data, paper, sources
from speechllm_bench.fetch.sources import Archive, HubData
from speechllm_bench.storage import paths

INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
SHARDS = {
    **{"config.json": "{}", "tokenizer.json": "{}", "merges.txt": "", "model.safetensors.index.json": INDEX},
    **{"model-1.safetensors": "w", "model-2.safetensors": "ww", "pytorch_model.bin": "no", "README.md": "no"},
    "original/params.json": "no",
}


class Hub:
    """The client of a hub that has `files` of one model, and what it was asked for."""

    def __init__(self, files, gated=False, accepted=True, down=None):
        self.files, self.gated, self.accepted, self.down, self.asked = files, gated, accepted, down, []

    def put(self, monkeypatch, folder):
        self.folder = folder
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.one)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot)
        return self

    def model_info(self, name, files_metadata):
        if self.down:
            raise self.down
        siblings = [SimpleNamespace(rfilename=f, size=len(text)) for f, text in self.files.items()]
        card = {"license": "mit"}
        return SimpleNamespace(siblings=siblings, card_data=card, gated=self.gated)

    def auth_check(self, name, repo_type="model"):
        if not self.accepted:
            raise errors.GatedRepoError.__new__(errors.GatedRepoError)

    def one(self, name, file):
        (self.folder / file).write_text(self.files[file])
        return str(self.folder / file)

    def snapshot(self, name, allow_patterns):
        self.asked.append((name, tuple(allow_patterns)))
        for file in allow_patterns:
            self.one(name, file)
        return str(self.folder)


def test_of_a_model_safetensors_and_tokenizer_are_fetched_and_nothing_else(tmp_path, monkeypatch):
    asked = Hub(SHARDS).put(monkeypatch, tmp_path).asked
    found = hub.look_up("maker/model")
    assert (found.size, found.licence, found.gated) == (4 + 3 + len(INDEX), "mit", False)
    assert hub.download(found) == tmp_path
    kept = "config.json", "tokenizer.json", "merges.txt", "model.safetensors.index.json"
    assert asked == [("maker/model", (*kept, "model-1.safetensors", "model-2.safetensors"))]


def test_weights_in_one_file_are_preferred_to_the_same_in_several(tmp_path, monkeypatch):
    Hub(SHARDS | {"model.safetensors": "www"}).put(monkeypatch, tmp_path)
    found = hub.look_up("maker/model").files
    assert [file for file in found if file.endswith("safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({k: v for k, v in SHARDS.items() if k != "model-2.safetensors"}, "has no model-2.safetensors of"),
        (SHARDS | {"model.safetensors.index.json": "{}"}, "is damaged on the hub"),
        ({"config.json": "{}", "pytorch_model.bin": ""}, "has no safetensors on the hub"),
    ],
)
def test_a_model_that_is_not_whole_on_the_hub_is_refused_before_its_weights(
    tmp_path, monkeypatch, files, told
):
    asked = Hub(files).put(monkeypatch, tmp_path).asked
    with pytest.raises(UserError, match=told):
        hub.download(hub.look_up("maker/model"))
    assert not asked


@pytest.mark.parametrize(
    "down",
    [errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"), errors.HTTPError("Name or service not known")],
)
def test_a_hub_that_cannot_be_reached_is_one_sentence(suite, tmp_path, monkeypatch, capsys, down):
    Hub(SHARDS, down=down).put(monkeypatch, tmp_path)
    monkeypatch.setattr(doctor, "model_lacks", lambda name: "it is missing")
    assert cli.main(["fetch", "paper", "--only", "Qwen/Qwen3-4B"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "the hub cannot be reached for Qwen/Qwen3-4B" in told


def test_sizes_and_licences_are_told_first_and_a_gated_model_stops_no_other(
    suite, tmp_path, monkeypatch, capsys
):
    asked = Hub(SHARDS, gated="auto", accepted=False).put(monkeypatch, tmp_path).asked
    monkeypatch.setattr(doctor, "model_lacks", lambda name: "it is missing")
    monkeypatch.setattr(paper, "_hub_cache", lambda: tmp_path)
    gated, free = "meta-llama/Llama-3.2-1B-Instruct", "Qwen/Qwen3-4B"
    monkeypatch.setattr(hub, "admitted", lambda model: model.name == free)
    assert cli.main(["fetch", "paper", "--only", gated, free, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "Llama 3.2 Community (on the hub: mit), gated: to be fetched" in lines[0]
    assert not asked
    assert cli.main(["fetch", "paper", "--only", gated, free]) == 2
    told = capsys.readouterr()
    assert [name for name, *_ in asked] == [free] and f"{free} is there." in told.out
    assert f"do so at https://huggingface.co/{gated}, log in with `hf auth login`" in told.err


def test_what_is_there_is_not_asked_for(suite, tmp_path, monkeypatch, capsys):
    Hub(SHARDS, down=AssertionError()).put(monkeypatch, tmp_path)
    monkeypatch.setattr(doctor, "model_lacks", lambda name: None)
    assert cli.main(["fetch", "paper", "--only", "Qwen/Qwen3-4B"]) == 0
    assert "Apache-2.0: is there" in capsys.readouterr().out


def test_an_unknown_name_a_full_disk_and_a_missing_folder_are_one_sentence(
    suite, tmp_path, monkeypatch, capsys
):
    Hub(SHARDS).put(monkeypatch, tmp_path)
    monkeypatch.delenv("SPEECHLLM_BENCH_DATA", raising=False)
    assert cli.main(["fetch", "paper", "--only", "Qwen/Qwen9"]) == 2
    assert "'Qwen/Qwen9' cannot be fetched; known are openai/whisper-base" in capsys.readouterr().err
    assert cli.main(["fetch", "paper", "--only", "slurp"]) == 2
    assert "SPEECHLLM_BENCH_DATA is not set" in capsys.readouterr().err
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(paper.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 2**30))
    assert cli.main(["fetch", "paper", "--only", "slurp"]) == 2
    assert "needs 12 GiB of disk" in capsys.readouterr().err
    assert cli.main(["fetch", "paper", "--only", "fluent_speech"]) == 2
    assert "fluent_speech is fetched by hand (fluent.ai sends" in capsys.readouterr().err


def test_a_copy_of_the_hub_without_files_that_nobody_needs_is_found(tmp_path, monkeypatch):
    def incomplete(name, local_files_only):
        raise errors.IncompleteSnapshotError("pytorch_model.bin is missing", str(tmp_path))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", incomplete)
    assert backbones._folder("maker/model") == tmp_path


def test_every_source_of_the_profile_is_known():
    profile = doctor.studies.profile_named("paper")
    assert {name for _, name in profile.backbones()} <= set(sources.load_sources().models)
    assert set(profile.heard()) <= set(sources.load_sources().corpora)


def test_a_corpus_has_parts_or_says_how_it_is_fetched():
    for corpus in sources.load_sources().corpora.values():
        assert bool(corpus.parts) != bool(corpus.by_hand)
        for part in corpus.parts:
            assert isinstance(part, sources.HubData) or bool(part.to) != bool(part.folders)


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return out.getvalue()


TARBALL = packed({"top/wav/a.wav": b"a" * 5000, "top/wav/b/c.wav": b"c", "top/else.txt": b"x"})


@pytest.fixture
def server():
    """An HTTP server of one file that knows ranges, breaks off after `most` bytes, and notes what it sent."""
    state = SimpleNamespace(content=TARBALL, most=None, sent=[], tag="one")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith("/data.tar.gz"):
                return self.send_error(404)
            begin = self.headers.get("Range", "")
            fits = begin and self.headers.get("If-Range") == state.tag
            start = int(begin.removeprefix("bytes=").rstrip("-")) if fits else 0
            rest = state.content[start:]
            self.send_response(206 if fits else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", state.tag)
            self.end_headers()
            sent = rest[: state.most]
            state.sent.append(len(sent))
            self.wfile.write(sent)

        def log_message(self, *told):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{made.server_port}/data.tar.gz"
        yield state
        made.shutdown()


def archive(server, **more):
    return Archive(url=server.url, folders={"top/wav": "audio"}, **more)


def test_a_download_goes_on_where_it_broke_off(suite, tmp_path, server):
    server.most = 100
    wanted = archive(server, md5=md5(TARBALL).hexdigest())
    with pytest.raises(UserError, match="ended early, after 100 of|what has arrived stays"):
        archives.take(wanted, tmp_path)
    server.most = None
    archives.take(wanted, tmp_path)
    assert server.sent == [100, len(TARBALL) - 100]
    assert (tmp_path / "audio/a.wav").read_bytes() == b"a" * 5000
    assert (tmp_path / "audio/b/c.wav").is_file() and not (tmp_path / "else.txt").exists()
    archives.take(wanted, tmp_path)
    assert len(server.sent) == 2
    assert not list((paths.cache() / "downloads").glob("*.tar.gz"))


def test_another_file_of_the_name_is_fetched_from_its_beginning(suite, tmp_path, server):
    server.most = 100
    with pytest.raises(UserError):
        archives.take(archive(server), tmp_path)
    server.most, server.tag = None, "two"
    archives.take(archive(server), tmp_path)
    assert server.sent == [100, len(TARBALL)] and (tmp_path / "audio/a.wav").is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"md5": "0" * 32}, "is not what its publisher says"),
        ({"url": "/gone"}, "the server answers 404"),
        ({"content": b"no archive"}, "is damaged"),
        ({"content": packed({"other/a.wav": b""})}, "has no folder top/wav"),
    ],
)
def test_what_is_wrong_with_an_archive_is_one_sentence(suite, tmp_path, server, change, told):
    server.content = change.get("content", server.content)
    server.url += change.get("url", "")
    with pytest.raises(UserError, match=told):
        archives.take(archive(server, md5=change.get("md5")), tmp_path)
    assert not (tmp_path / "audio").exists()


def test_a_corpus_goes_into_its_folder_of_the_data(suite, tmp_path, monkeypatch, server, capsys):
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path / "data"))
    made = sources.Corpus(licence="free", gib=0.001, parts=[archive(server)])
    monkeypatch.setitem(sources.load_sources().corpora, "slurp", made)
    assert cli.main(["fetch", "paper", "--only", "slurp"]) == 0
    told = capsys.readouterr()
    assert "free: to be fetched" in told.out and "slurp is there." in told.out
    assert f"slurp: {server.url}" in told.err
    assert (tmp_path / "data" / "slurp" / "audio" / "b" / "c.wav").read_bytes() == b"c"


def test_no_server_is_one_sentence(suite, tmp_path):
    with pytest.raises(UserError, match="cannot be fetched .*refused"):
        archives.take(Archive(url="http://127.0.0.1:9/a.json", to="a.json"), tmp_path)


ROWS = [
    {"id": "p_1", "audio": {"bytes": b"sound", "path": "x"}, "normalized_text": "in rome", "speaker_id": None,
     "normalized_ner": {"type": ["GPE"], "start": [3], "length": [4]}},
    {"id": "p_2", "audio": {"bytes": b"more", "path": "y"}, "normalized_text": "so\tit is", "speaker_id": "7",
     "normalized_ner": {"type": [], "start": [], "length": []}},
]  # fmt: skip


def voxpopuli() -> HubData:
    [found] = [p for p in sources.load_sources().corpora["librispeech_slue"].parts if "voxpopuli" in str(p)]
    return found


def test_a_data_set_of_the_hub_becomes_the_authors_own_tables_and_recordings(suite, tmp_path, monkeypatch):
    folder, loaded = tmp_path / "librispeech_slue", []
    monkeypatch.setenv("SPEECHLLM_BENCH_DATA", str(tmp_path))

    def load(data, split):
        loaded.append(split)
        return [dict(row) for row in ROWS]

    hub_data.take(voxpopuli(), folder, load)
    hub_data.take(voxpopuli(), folder, load)
    assert loaded == ["train", "validation", "test"]
    assert (folder / "slue-voxpopuli/fine-tune/p_1.ogg").read_bytes() == b"sound"
    librispeech_slue._rows.cache_clear()
    first, second = librispeech_slue._voxpopuli("A-test")
    assert [(e.tag, e.text) for e in first.entities] == [("PLACE", "rome")]
    assert (second.transcript, second.speaker) == ("so it is", "voxpopuli/7")


def test_other_columns_and_a_gated_data_set_are_one_sentence(suite, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has other columns than this suite knows: name"):
        hub_data.take(voxpopuli(), tmp_path, lambda data, split: [{"name": 1, "audio": {"bytes": b""}}])
    Hub({}, accepted=False).put(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="huggingface.co/datasets/asapp/slue"):
        hub_data.take(voxpopuli(), tmp_path)
    assert not list(tmp_path.rglob("*.tsv"))


def test_a_recording_stays_in_its_folder(suite, tmp_path):
    """A row names its recording, and a row comes from elsewhere."""
    rows = [dict(ROWS[0]) | {"id": "../../../escaped"}]
    with pytest.raises(UserError, match="names a recording outside its folder"):
        hub_data.take(voxpopuli(), tmp_path / "corpus", lambda data, split: rows)
    assert not list(tmp_path.rglob("escaped*"))


def test_cells_are_as_the_authors_have_them():
    assert hub_data.cell([{"type": "GPE", "start": 3, "length": 4}]) == "[['GPE', 3, 4]]"
    assert hub_data.cell(["question_check"]) == "['question_check']"
    assert hub_data.ends({"start_ms": 100, "duration_ms": 50}) == {"end_ms": 150}
