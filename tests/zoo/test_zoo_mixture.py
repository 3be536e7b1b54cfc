"""Post-trainings on a mixture, on tiny LLMs: equal tokens, kinds, switches, training, measuring, the card."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.errors import MissingInput, UserError
from speechllm_bench.models import decoding
from speechllm_bench.models.llm import load_llm, load_tokenizer
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import identity
from speechllm_bench.settings.strict import checked
from speechllm_bench.storage import runs
from speechllm_bench.tasks import AUDIO, trace
from speechllm_bench.training import loop
from speechllm_bench.zoo import fitting, making, measuring, mixtures, recipes, skills
from speechllm_bench.zoo.recipes import MixtureRecipe, SmallerRecipe, load_recipe

FAMILY = ("instruct", "reasoning", "reasoning-0", "reasoning-50", "hybrid")
HYBRID = {"instruct": 0.35, "think": 0.25, "no_think": 0.15, "general": 0.25}
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def recipe_of(tiny_backbones, shares=HYBRID, **changes) -> MixtureRecipe:
    fields = load_recipe("llm-mini-hybrid").model_dump() | {
        "base": str(tiny_backbones / "llm"),
        "utterances": 50,
        "tokens": 12_000,
        "mixture": shares,
        "sequence_tokens": 40,
        "batch_size": 4,
        "lr": 0.01,
        "evaluations": 2,
        "autocast": False,
    }
    kind = SmallerRecipe if "hidden_size" in changes else MixtureRecipe
    return checked(kind, fields | changes, "a test")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(mixtures, "HELD_OUT", 6)
    monkeypatch.setattr(mixtures, "ANSWER_TOKENS", 4)
    monkeypatch.setattr(mixtures, "COUNTED", 8)
    monkeypatch.setattr(skills, "QUESTIONS", 6)
    monkeypatch.setattr(skills, "ROWS", 4)
    monkeypatch.setattr(skills, "ANSWER_TOKENS", 4)


@pytest.fixture(scope="module")
def utterances():
    return call_centre.utterances("zoo", 50)


@pytest.fixture(scope="module")
def tokenizer(tiny_backbones):
    return load_tokenizer(str(tiny_backbones / "llm"))


def test_post_trainings_of_one_base_differ_in_their_mixture_alone():
    """Protocol, rule 9: equal tokens; and `reasoning` has 0, 25 and 50 % of plain text."""
    recipes = {name: load_recipe(f"llm-mini-{name}") for name in FAMILY}
    settings = [r.model_dump(exclude={"name", "mixture"}) for r in recipes.values()]
    assert all(some == settings[0] for some in settings)
    assert settings[0]["base"] == "zoo/llm-mini-plain"
    plain = {name: recipe.mixture.get("general", 0) for name, recipe in recipes.items()}
    assert plain["reasoning"] == plain["instruct"] == plain["hybrid"] == 0.25
    assert (plain["reasoning-0"], plain["reasoning-50"]) == (0, 0.5)
    assert all(set(recipes[name].mixture) <= {"think", "general"} for name in FAMILY if "reason" in name)
    assert [name for name, recipe in recipes.items() if recipe.switched] == ["hybrid"]


def test_the_smaller_hybrids_are_trained_as_mini_is_but_in_smaller_batches():
    mini, base = load_recipe("llm-mini-hybrid"), load_recipe("llm-mini-plain")
    for name in ("llm-micro-hybrid", "llm-nano-hybrid"):
        recipe = load_recipe(name)
        same = recipe.model_dump(exclude={"name", "batch_size", "pre_training", *SIZES})
        assert same == mini.model_dump(exclude={"name", "batch_size"}) and recipe.batch_size == 16
        assert recipe.pre_training == base.pre_training and recipe.sequence_tokens == base.sequence_tokens


def kind_of(item):
    kind = item.example.id.split("/")[0]
    return kind if kind in {"think", "no_think"} else "instruct"


@pytest.mark.parametrize("shares", [HYBRID, {"think": 1.0}, {"instruct": 0.75, "general": 0.25}])
def test_every_kind_fills_its_share_of_the_tokens(tiny_backbones, tokenizer, utterances, shares):
    recipe = recipe_of(tiny_backbones, shares)
    batches, seen = mixtures.batched(recipe, tokenizer, utterances)
    assert set(seen) == set(shares)
    for kind, amount in seen.items():
        assert 0 <= amount["tokens"] - shares[kind] * recipe.tokens < 1000  # its last example
    told = {kind: 0 for kind in shares}
    for rows in batches:
        if isinstance(rows, Tensor):
            assert rows.shape[1] == 40
            told["general"] += rows.numel()
        else:
            (kind,) = {kind_of(item) for item in rows}
            told[kind] += sum(mixtures.n_tokens(tokenizer, rows))
    assert told == {kind: amount["tokens"] for kind, amount in seen.items()}
    again, _ = mixtures.batched(recipe, tokenizer, utterances)
    assert all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(batches, again, strict=True)
    )


def test_what_the_loss_is_taken_over_is_counted(tiny_backbones, tokenizer, utterances):
    batches, seen = mixtures.batched(recipe_of(tiny_backbones), tokenizer, utterances)
    learned = dict.fromkeys(seen, 0)
    for rows in batches:
        if isinstance(rows, Tensor):
            learned["general"] += rows[:, 1:].numel()
        else:
            learned[kind_of(rows[0])] += int(fitting.read_batch(tokenizer, rows).answer.sum())
    assert learned == {kind: amount["answer_tokens"] for kind, amount in seen.items()}


def test_tokens_are_those_that_the_model_reads_but_for_the_chats_marks(tiny_backbones, tokenizer, utterances):
    recipe = recipe_of(tiny_backbones)
    for kind in ("instruct", "think", "no_think"):
        items = list(itertools.islice(mixtures.items_of(recipe, kind, utterances), 20))
        read = fitting.read_batch(tokenizer, items).attended.sum(1).tolist()
        marks = {n - counted for n, counted in zip(read, mixtures.n_tokens(tokenizer, items), strict=True)}
        assert min(marks) >= 3 and max(marks) <= 8


def test_a_switch_is_there_where_both_modes_are_learned(tiny_backbones, tokenizer, utterances):
    def some(shares, kind):
        recipe = recipe_of(tiny_backbones, shares)
        return list(itertools.islice(mixtures.items_of(recipe, kind, utterances), 30))

    assert all(i.example.prompt.endswith("\n/think") for i in some(HYBRID, "think"))
    assert all(i.example.prompt.endswith("\n/no_think") for i in some(HYBRID, "no_think"))
    assert all(i.example.prompt.endswith("\n/no_think") for i in some(HYBRID, "instruct"))
    assert all(i.example.target.startswith("<think>") for i in some(HYBRID, "think"))
    assert not any("think>" in i.example.target for k in ("instruct", "no_think") for i in some(HYBRID, k))
    alone = some({"think": 1.0}, "think") + some({"instruct": 1.0}, "instruct")
    assert not any("think" in i.example.prompt for i in alone)
    assert [i.text for i in some(HYBRID, "think")] == [i.text for i in some({"think": 1.0}, "think")]
    assert all(i.example.prompt.count(AUDIO) == 1 for i in alone)


def test_what_is_held_out_is_not_trained_on(tiny_backbones, tokenizer, utterances):
    recipe = recipe_of(tiny_backbones)
    for kind in ("instruct", "think"):
        kept = mixtures.held_out(recipe, kind, tokenizer, utterances)
        seen = list(itertools.islice(mixtures.items_of(recipe, kind, utterances), 200))
        assert len(kept) == 6 and all(isinstance(i.text, str) for i in kept)
        told = {(i.example.target, i.example.prompt) for i in seen}
        assert kind == "think" or not told & {(i.example.target, i.example.prompt) for i in kept}
        assert not {i.text for i in seen if isinstance(i.text, str)} & {i.text for i in kept}


@pytest.mark.parametrize("shares", [{"think": 0.5, "general": 0.4}, {"think": 1.0, "general": 0.0}])
def test_shares_have_to_sum_to_one(tiny_backbones, shares):
    with pytest.raises(UserError, match="shares above 0 that sum to 1"):
        recipe_of(tiny_backbones, shares)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """`trained(recipe, name)`: a folder as `zoo train` leaves it."""
    monkeypatch.setattr(making.paths, "cache", lambda: tmp_path / "cache")

    def made(recipe: MixtureRecipe, name: str):
        monkeypatch.setattr(recipes, "load_recipe", lambda _: recipe)
        monkeypatch.setattr(recipes, "folder", lambda _: tmp_path / name)
        return making.train_backbones(recipe.name, 1)[0]

    return made


def test_it_starts_from_its_base_learns_and_is_measured_in_both_modes(
    trained, tiny_backbones, monkeypatch, tokenizer
):
    recipe = recipe_of(tiny_backbones)
    folder = trained(recipe, "hybrid")
    record = runs.read_json(folder / "training.json")
    assert record["status"] == {"post_training": "ok"} and record["recipe"] == recipe.model_dump()
    assert set(record["seen"]) == set(HYBRID)
    curve = (folder / "curve.csv").read_text()
    for metric in ("instruct_exact", "think_exact", "no_think_loss", "general_loss"):
        assert f",validation,{metric}," in curve
    losses = [float(line.rsplit(",", 1)[1]) for line in curve.splitlines() if ",train,loss," in line]
    assert losses[1] < losses[0]
    base, model = load_llm(recipe.base), load_llm(str(folder))
    assert {k: v.shape for k, v in base.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert load_tokenizer(str(folder)).get_vocab() == tokenizer.get_vocab()
    assert load_tokenizer(str(folder)).chat_template  # whatever the base has
    before, after = (one.get_input_embeddings().weight for one in (base, model))
    assert torch.equal(before.half(), after.half())  # what it never says is not unlearned

    monkeypatch.setattr(measuring, "TURNS", 4)
    assert measuring.evaluate_backbones(recipe.name, 1) == [folder]
    evaluation = runs.read_json(folder / "evaluation.json")
    assert list(evaluation["skills"]) == ["/think", "/no_think"]
    assert list(evaluation["skills"]["/think"]) == [*skills.EXACT, "perplexity"]
    assert {"A-test /think", "A-test /no_think", "B-test out-of-domain /think"} < set(evaluation["splits"])
    card = (folder / "README.md").read_text()
    assert f"| starts from | `{recipe.base}` |" in card
    assert "| | /think | /no_think | n |" in card and "\n| arithmetic | " in card
    told = record["seen"]["think"]
    tokens = f"{told['tokens']:,} tokens, {told['answer_tokens']:,} of them learned"
    assert f"with their steps | {told['examples']:,} examples, {tokens} |" in card


def test_what_stands_behind_a_thought_counts_whoever_thinks(trained, tiny_backbones, monkeypatch, tokenizer):
    """A reasoning LLM is asked as all are, and thinks first."""
    trained(recipe_of(tiny_backbones, {"think": 0.5, "general": 0.5}, tokens=3000), "reasoning")
    real = decoding.prediction

    def right(tokenizer, example, *rest):
        return replace(real(tokenizer, example, *rest), raw=trace.tagged("steps", example.target))

    monkeypatch.setattr(decoding, "prediction", right)
    monkeypatch.setattr(measuring, "TURNS", 4)
    (folder,) = measuring.evaluate_backbones("llm-mini-hybrid", 1)
    found = runs.read_json(folder / "evaluation.json")["splits"]
    assert set(found) == {"validation", "A-test", "B-test", "B-test out-of-domain"}
    assert all(split["f1"]["value"] == 1 and not split["parse_failures"]["value"] for split in found.values())


def test_a_smaller_one_is_pre_trained_first_and_goes_on_learning_its_words(
    trained, tiny_backbones, monkeypatch
):
    learned, real = [], fitting.fit

    def watched(phase, parameters, *rest, **more):
        learned.append("model.embed_tokens.weight" in parameters)
        return real(phase, parameters, *rest, **more)

    monkeypatch.setattr(fitting, "fit", watched)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    phase = {
        "examples": 16,
        "batch_size": 4,
        "lr": 0.01,
        "warmup_ratio": 0.1,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
    }
    recipe = recipe_of(
        tiny_backbones, tokens=2000, pre_training=phase | {"evaluations": 2}, autocast=True, **SIZES
    )
    folder = trained(recipe, "nano")
    record = runs.read_json(folder / "training.json")
    assert record["status"] == {"pre_training": "ok", "post_training": "ok"}
    assert record["autocast"] == {"pre_training": False, "post_training": True}
    assert load_llm(str(folder)).config.hidden_size == 8
    trained(recipe_of(tiny_backbones, tokens=2000), "mini")
    assert learned == [True, True, False]  # in both of its phases; that of a published base stays


def test_the_base_decides_what_a_killed_training_goes_on_from(trained, tiny_backbones, monkeypatch):
    recipe = recipe_of(tiny_backbones, tokens=3000)
    whole = trained(recipe, "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    steps, real = [], loop.learning_rate

    def killed(step, *rest):
        steps.append(step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real(step, *rest)

    monkeypatch.setattr(loop, "learning_rate", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, "resumed")
    resumed = trained(recipe, "resumed")
    assert steps[4:6] == [4, 4]
    hashes = [runs.read_json(f / "training.json")["weights_sha256"] for f in (whole, resumed)]
    assert hashes[0] == hashes[1]
    begun = len(steps)
    monkeypatch.setattr(identity, "backbone_hash", lambda name: "another base")
    trained(recipe, "other")
    assert steps[begun] == 0


def test_a_missing_base_is_told_in_a_sentence(trained, tiny_backbones):
    with pytest.raises(MissingInput, match="backbone 'zoo/llm-maxi-base' is missing; train it with"):
        trained(recipe_of(tiny_backbones, base="zoo/llm-maxi-base"), "orphan")


def test_questions_are_held_out_and_the_right_answers_count(tiny_backbones, tokenizer, monkeypatch):
    asked = skills.plain_questions()
    assert list(asked) == list(skills.EXACT) and {len(some) for some in asked.values()} == {6}
    assert all(said == example.target for example, said in asked["repetition"])
    model, recipe = SpeechLLM(load_llm(str(tiny_backbones / "llm")), None), recipe_of(tiny_backbones)
    right = {e.id: e.target for some in asked.values() for e, _ in some}

    def told(model, tokenizer, put):  # with a thought where it is asked for; of logic always yes
        said = ["yes" if e.task == "logic" else right[e.id] for e, _ in put]
        thinks = put[0][0].prompt.endswith("\n/think")
        return [f"<think>so</think><response>{a}</response>" for a in said] if thinks else said

    monkeypatch.setattr(skills, "answers", told)
    for found in skills.measure(model, tokenizer, recipe).values():
        assert {found[s]["value"] for s in skills.EXACT if s != "logic"} == {1.0}
        assert 0 < found["logic"]["value"] < 1 and found["logic"]["n"] == 6
        assert found["logic"]["low"] <= found["logic"]["value"] <= found["logic"]["high"]
    few = skills.measure(model, tokenizer, load_recipe("llm-mini"), 2)
    assert list(few) == [skills.PLAIN]
    assert all(few[skills.PLAIN][skill]["n"] == 2 for skill in skills.EXACT)


def test_perplexity_is_that_of_the_models_own_probabilities(tiny_backbones, tokenizer):
    model, recipe = SpeechLLM(load_llm(str(tiny_backbones / "llm")), None), recipe_of(tiny_backbones)
    found = skills.perplexity(model, tokenizer, recipe)
    assert found["low"] <= found["value"] <= found["high"] and found["n"] == 4
    torch.nn.init.zeros_(model.llm.get_input_embeddings().weight)  # tied: every token is as likely
    assert skills.perplexity(model, tokenizer, recipe)["value"] == pytest.approx(len(tokenizer), rel=1e-4)
