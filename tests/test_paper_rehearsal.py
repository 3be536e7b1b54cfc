"""Profile `paper` as a user starts it: every study, LLM class and corpus layout, at about 8 examples a stage.

Models are tiny and random, of the true classes under the real names (`true_classes.py`), and corpora lie in
their published layouts (`published.py`). Every run of the plan has to end well, and what passes between the
suite and the models is looked at on the way: how prompts and transcripts begin, what ends an answer.
"""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
import yaml
from chats import CHATS
from published import (
    write_common_voice,
    write_fluent_speech,
    write_harper_valley,
    write_librispeech_slue,
    write_slurp,
)
from transformers.models.whisper.modeling_whisper import WhisperDecoder
from true_classes import write_audio_llm, write_llm, write_whisper

from speechllm_bench.errors import MissingInput
from speechllm_bench.models import decoding, speech_llm
from speechllm_bench.models.chat import text_begin
from speechllm_bench.planning import studies
from speechllm_bench.running import jobs
from speechllm_bench.settings import overrides
from speechllm_bench.storage import paths
from speechllm_bench.training import stages

SEED = [0]
TRANSCRIPT = [50258, 50259, 50359, 50363]  # start, English, transcription, no timestamps
SMALL = {
    "budgets": {"alignment": 0, "slots": 8, "transcription": 8, "understanding": 8},
    "lora": {"rank": 2, "alpha": 8, "dropout": 0.05},
    "lora_qkv": {"rank": 2, "alpha": 2, "dropout": 0.05, "targets": "qkv"},
    "decoding": {"batch_size": 8, "max_new_tokens": 3, "trace_tokens": 4},
}
TRAINING = {"batch_size": 4, "evaluations": 1, "validation_examples": 2, "decoded_turns": 1}
WIDTHS = {"width": 16, "heads": 2, "feed_forward": 16}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine with the models, the corpora and the profile's own file, at small sizes: its spies."""
    root = tmp_path_factory.mktemp("paper")
    profile = small(yaml.safe_load((paths.EXPERIMENTS / "profiles" / "paper.yaml").read_text("utf-8")))
    for name in named(profile, "path"):
        write_whisper(root / name)
    for name in named(profile, "llm") | set(profile["llms"].values()):
        write_llm(name, root / name)
    write_audio_llm(profile["audio_llm"], root / profile["audio_llm"])
    write_slurp(root)
    for write in (write_librispeech_slue, write_harper_valley, write_fluent_speech, write_common_voice):
        write(root)
    experiments = shutil.copytree(
        paths.EXPERIMENTS, root / "experiments", ignore=shutil.ignore_patterns("zoo")
    )
    (experiments / "profiles" / "paper.yaml").write_text(yaml.safe_dump(profile), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # where hub names are folders
        patch.setattr(paths, "EXPERIMENTS", experiments)
        patch.setenv("SPEECHLLM_BENCH_HOME", str(root / "home"))
        patch.setenv("SPEECHLLM_BENCH_DATA", str(root))
        yield Spies(patch)


def small(profile: dict) -> dict:
    """The profile with its own models, corpora, prompts and settings, and other sizes."""
    profile |= SMALL
    profile["corpora"]["languages"].pop("sizes")
    profile["training"] |= TRAINING
    for adapter in profile["adapters"].values():
        adapter |= {key: n for key, n in WIDTHS.items() if key in adapter}
    for own in profile["papers"].values():
        if "warm_start" in own:
            own["warm_start"] |= {"examples": 8, "batch_size": 4}
        if "decoding" in own:
            own["decoding"] |= SMALL["decoding"]
    return profile


def named(profile: dict, key: str) -> set[str]:
    """What stands under a key anywhere in the profile."""
    inside = [value for value in profile.values() if isinstance(value, dict)]
    found = {profile[key]} if key in profile else set()
    return found.union(*(named(some, key) for some in inside))


class Spies:
    """What was given to models, and what is wrong with it."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.heard: Counter = Counter()  # how transcripts began
        self.seen: Counter = Counter()  # prompts by the name of their LLM
        for module in (stages, decoding):
            patch.setattr(module, "collate", self._collate(module.collate))
        patch.setattr(speech_llm.SpeechLLM, "generate", self._generate(speech_llm.SpeechLLM.generate))
        patch.setattr(WhisperDecoder, "forward", self._decoder(WhisperDecoder.forward))

    def _collate(self, collate):
        def spy(tokenizer, examples, **told):
            batch, name = collate(tokenizer, examples, **told), tokenizer.name_or_path
            chat, begin = CHATS[name], text_begin(tokenizer)
            assert begin == [tokenizer.bos_token_id] * chat.adds
            self.seen[name] += 1
            self.tokenizer = tokenizer
            for example, ids, real, answer in zip(
                examples, batch.tokens, batch.attended & ~batch.speech, batch.answer, strict=True
            ):
                prompt = tokenizer.decode(ids[real & ~answer])
                assert prompt.count(chat.bos or "<none>") == chat.begins, (name, prompt)
                assert not chat.begins or ids[real][0] == tokenizer.bos_token_id
                assert example.system in prompt and not prompt.rstrip().endswith("<think>")
                if told["with_answer"]:
                    assert tokenizer.decode(ids[answer]) == example.target + chat.end, name
            return batch

        return spy

    def _generate(self, generate):
        def spy(model, batch, max_new_tokens, eos_token_id, *more):
            chat = CHATS[self.tokenizer.name_or_path]
            ends = set(self.tokenizer.convert_ids_to_tokens(eos_token_id))
            assert ends == {chat.end, chat.eos, *chat.stops}
            settings = model.llm.generation_config
            assert not settings.do_sample and settings.repetition_penalty in (None, 1.0)
            return generate(model, batch, max_new_tokens, eos_token_id, *more)

        return spy

    def _decoder(self, forward):
        def spy(decoder, input_ids=None, **told):
            if told.get("past_key_values") is None or told["past_key_values"].get_seq_length() == 0:
                self.heard[tuple(input_ids[0].tolist())] += 1
            return forward(decoder, input_ids=input_ids, **told)

        return spy


@pytest.mark.parametrize("study", sorted(file.stem for file in paths.EXPERIMENTS.glob("*.yaml")))
def test_every_run_that_is_offered_ends_well(study, machine: Spies):
    if study == "fresh_test":  # of a test set that `small` alone has
        with pytest.raises(MissingInput, match="has no split C-test"):
            studies.plan([study], "paper", ["all"], SEED)
        return
    plan = studies.plan([study], "paper", ["all"], SEED)
    for run in plan.missing:
        jobs.execute(run.config, run.profile, lambda phase, share: None)
    rows = {row["variant"]: row for row in studies.records(study, "paper", SEED)}
    offered = {run.variant for run in plan.runs}
    assert {name: rows[name]["status"] for name in offered} == dict.fromkeys(offered, "ok")
    assert not studies.plan([study], "paper", ["all"], SEED).missing
    without = {row["status"] for name, row in rows.items() if name not in offered}
    assert without <= {"NOT RUN", "NOT TESTABLE"}
    recognised = any(run.config.recognised for run in plan.runs)
    assert set(machine.heard) == {tuple(TRANSCRIPT)} or not (recognised or machine.heard)


@pytest.mark.parametrize(
    ("corpus", "study", "variants", "untestable"),
    [
        ("harper_valley", "context", ["context_3", "described_b_ood"], []),
        ("fluent_speech", "context", ["drawn", "chance"], ["context_3", "drawn_b_ood"]),
    ],
)
def test_another_corpus_in_slurps_place(corpus, study, variants, untestable, machine: Spies):
    """`context` means something where there is dialogue; a corpus without a B-test is not asked for it."""
    profile = overrides.with_settings("paper", {"corpus.name": corpus})
    plan = studies.plan([study], profile, variants, SEED)
    for run in plan.missing:
        jobs.execute(run.config, run.profile, lambda phase, share: None)
    rows = {row["variant"]: row["status"] for row in studies.records(study, profile, SEED)}
    assert {name: rows[name] for name in variants} == dict.fromkeys(variants, "ok")
    assert {name for name in untestable if rows[name] != "NOT TESTABLE"} == set()
    assert (rows["context_3"] == "NOT TESTABLE") == (corpus == "fluent_speech")
