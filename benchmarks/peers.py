"""Time of SLAM-LLM and of ultravox's model class beside the suite's. Writes benchmarks/peers.md.

    python benchmarks/peers.py SLAM_LLM ULTRAVOX

The arguments are checkouts of github.com/X-LANCE/SLAM-LLM and github.com/fixie-ai/ultravox. Needs the zoo,
and takes about two minutes on one core. Every program has the same encoder, LLM, turns and optimiser, and a
projector with as many weights. CPU-seconds are measured in one process on one thread, in alternation.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
import whisper
from hf_loop import NO_LABEL, PlainLoop, few_turns
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from speechllm_bench.data import corpora, questions
from speechllm_bench.models.chat import turn_end
from speechllm_bench.models.decoding import decode
from speechllm_bench.models.encoder import encode, encoder_states, load_encoder
from speechllm_bench.models.inputs import collate, prompt_halves
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.planning import studies
from speechllm_bench.running import preparation
from speechllm_bench.storage import runs
from speechllm_bench.storage.schema import Example, Utterance
from speechllm_bench.tasks.prompt import AUDIO
from speechllm_bench.training.stages import build_model

TURNS, LONGEST, ROUNDS = 8, 24, 3
PAGE = Path(__file__).with_name("peers.md")
TEXT = """# Beside other programs

CPU-seconds of other programs divided by those of the suite, by
`python benchmarks/peers.py SLAM_LLM ULTRAVOX` on {machine}, torch {torch}, transformers {transformers},
one thread. Both sides ran in one process, in {rounds} rounds in alternation. A cell has the median ratio and
the range. A step is one of training on {turns} turns: batch, loss, gradients, clipping and AdamW. Answers are
those to {turns} turns, at most {longest} tokens each.

{table}

*Stored*: the suite reads encoder frames, as in its trainings. *Encoded*: it encodes the audio each time.

Equal in all rows: the encoder, the LLM ({llm:.1f} M parameters), the turns and their answers, the optimiser,
and the number of trained weights, {trained:,}, within 2 %.

Not equal: SLAM-LLM ({slam}) pads audio to 30 s, which its projector turns
into 300 positions. It decodes with 4 beams. The width of its projector is changed, and its reading of files
is left out. The model class of ultravox ({ultravox}) pads audio to the longest of
the batch, and computes logits at every position. Its batches are made by the script, and its encoder's layers
are called as today's transformers ask. Both programs encode at each step. The plain loops are those of
[the ratios](speed.md).
"""


@dataclass
class Turns:
    """The turns of a batch, with the models that all programs share."""

    model: SpeechLLM
    encoder: WhisperEncoder
    tokenizer: transformers.PreTrainedTokenizerBase
    examples: list[Example]
    utterances: list[Utterance]
    audio: list[np.ndarray]
    frames: list[np.ndarray]

    @property
    def n_weights(self) -> int:
        return sum(part.numel() for part in self.model.adapter.parameters())

    @property
    def widths(self) -> tuple[int, int]:
        """Width of the encoder and of the LLM."""
        return self.encoder.config.d_model, self.model.llm.config.hidden_size

    def heard(self, stored: bool) -> list[np.ndarray]:
        if stored:
            return self.frames
        found = dict(encode(self.encoder, self.audio, "trimmed"))
        return [found[i] for i in range(len(self.audio))]

    def loss(self, stored: bool) -> Tensor:
        speech = {"frames": self.heard(stored), "speech_tokens": self.model.speech_tokens}
        return self.model.loss(collate(self.tokenizer, self.examples, **speech, with_answer=True))

    def answers(self, stored: bool) -> object:
        frames = self.heard(stored)
        sizes = {"batch_size": TURNS, "max_new_tokens": LONGEST}
        return decode(self.model, self.tokenizer, self.examples, self.utterances, frames=frames, **sizes)


def turns() -> Turns:
    config = few_turns(studies.run("adapter_size", "mlp", 0, "smoke").config)
    corpus = preparation.ensure_corpus(config.corpus, 2)
    encoder = load_encoder(config.encoder.path)
    audio = [corpus.audio("validation", i) for i in range(TURNS)]
    frames = dict(encode(encoder, audio, "trimmed"))
    model, tokenizer = build_model(config, encoder.config.d_model)
    model.trained_parameters(["adapter"])
    utterances = corpus.utterances("validation")[:TURNS]
    types_ = corpora.slot_types("call_centre")
    return Turns(
        model,
        encoder,
        tokenizer,
        [questions.evaluation_example(one, types_, "slots") for one in utterances],
        utterances,
        audio,
        [frames[i] for i in range(TURNS)],
    )


class Settings(dict):
    """Settings of SLAM-LLM, which reads them as attributes and as entries."""

    __getattr__ = dict.get


class Slam:
    """The model of SLAM-LLM with its linear projector, its data set and its batches."""

    def __init__(self, checkout: Path, own: Turns) -> None:
        sys.path.insert(0, str(checkout / "src"))
        for name in ("torchaudio", "slam_llm.utils.config_utils", "slam_llm.utils.train_utils"):
            stand_in = types.ModuleType(name)  # what they import is not needed here
            vars(stand_in).update(
                dict.fromkeys(("generate_peft_config", "print_module_size", "print_model_size"))
            )
            sys.modules[name] = stand_in
        models = importlib.import_module("slam_llm.models.slam_model")
        projectors = importlib.import_module("slam_llm.models.projector")
        data = importlib.import_module("slam_llm.datasets.speech_dataset")
        d_in, d_out = own.widths
        model_settings = Settings(
            encoder_name="whisper", encoder_projector="linear", encoder_projector_ds_rate=5,
            encoder_dim=d_in, llm_dim=d_out,
        )  # fmt: skip
        projector = projectors.EncoderProjectorConcat(model_settings)
        width = (own.n_weights - d_out) // (5 * d_in + d_out + 1)
        projector.linear1, projector.linear2 = nn.Linear(5 * d_in, width), nn.Linear(width, d_out)
        encoder = own.encoder
        encoder.extract_variable_length_features = lambda mel: encoder_states(encoder, mel)
        train_settings = Settings(freeze_encoder=True)
        self.trained = projector
        self.model = models.slam_model(
            encoder, own.model.llm, projector, own.tokenizer, train_settings, model_settings
        )
        data.whisper = types.SimpleNamespace(**vars(whisper) | {"load_audio": lambda i: own.audio[i]})
        self.data = data.SpeechDatasetJsonl.__new__(data.SpeechDatasetJsonl)
        vars(self.data).update(
            IGNORE_INDEX=NO_LABEL, mel_size=80, prompt_template="USER: {}\n ASSISTANT:", answer_template="{}",
            fix_length_audio=-1, normalize=False, input_type="mel", tokenizer=own.tokenizer,
            data_list=[{"source": i, "target": one.target} for i, one in enumerate(own.examples)],
        )  # fmt: skip
        self.prompts = [one.prompt.replace(AUDIO, "") for one in own.examples]

    def batch(self, inference: bool) -> dict:
        self.data.inference_mode, samples = inference, []
        for i, prompt in enumerate(self.prompts):
            self.data.prompt = prompt
            samples.append(self.data[i])
        return self.data.collator(samples)

    def loss(self) -> Tensor:
        outputs, _ = self.model(**self.batch(inference=False))
        return outputs.loss

    def answers(self, beams: int = 4) -> object:
        return self.model.generate(**self.batch(inference=True), max_new_tokens=LONGEST, num_beams=beams)


class Ultravox:
    """The model class of ultravox with its own encoder and projector."""

    def __init__(self, checkout: Path, own: Turns) -> None:
        package = types.ModuleType("ultravox_model")
        package.__path__ = [str(checkout / "ultravox/model")]
        sys.modules["ultravox_model"] = package
        module = importlib.import_module("ultravox_model.ultravox_model")

        class Layer(nn.Module):
            def __init__(self, layer: nn.Module) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, states: Tensor, mask: Tensor, **_) -> tuple[Tensor]:
                return (self.layer(states, mask),)

        class Encoder(module.ModifiedWhisperEncoder):
            def get_extended_attention_mask(self, mask: Tensor, _, dtype: torch.dtype) -> Tensor:
                return (1 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min

        class Model(module.UltravoxModel):
            def post_init(self) -> None:
                """Leave the weights as they are."""

            @classmethod
            def _create_audio_tower(cls, config) -> nn.Module:
                tower = Encoder(own.encoder.config)
                tower.load_state_dict(own.encoder.state_dict())
                tower.init_latency_mask(None, torch.float32)
                tower.layers = nn.ModuleList(map(Layer, tower.layers))
                return tower.requires_grad_(False).eval()

            @classmethod
            def _create_language_model(cls, config) -> nn.Module:
                return own.model.llm

        d_in, d_out = own.widths
        width = 2 * int((own.n_weights - 8 * d_in - d_out) / (8 * d_in + d_out / 2) / 2)
        texts, heard = own.model.llm.config, own.encoder.config
        config = module.UltravoxConfig(heard, texts, hidden_size=width, torch_dtype="float32")
        self.model, self.own = Model(config), own
        self.trained = self.model.multi_modal_projector

    def batch(self, with_answer: bool) -> dict:
        own, rows, starts, labels = self.own, [], [], []
        longest = -(-max(map(len, own.audio)) // 160) * 160
        padded = [np.pad(one, (0, longest - len(one))) for one in own.audio]
        mel = torch.stack([whisper.log_mel_spectrogram(torch.from_numpy(one)) for one in padded])
        lengths = torch.tensor([-(-len(one) // 160) for one in own.audio])
        positions = torch.ceil(lengths / 16).int()
        pad = own.tokenizer.pad_token_id
        for example, n in zip(own.examples, positions.tolist(), strict=True):
            before, after = prompt_halves(own.tokenizer, example)
            answer = own.tokenizer(example.target, add_special_tokens=False)["input_ids"]
            answer = [*answer, turn_end(own.tokenizer)] if with_answer else []
            rows.append(torch.tensor([*before, *[pad] * n, *after, *answer]))
            starts.append(len(before))
            labels.append(torch.tensor([NO_LABEL] * (len(rows[-1]) - len(answer)) + answer))
        side = "right" if with_answer else "left"
        tokens = pad_sequence(rows, True, pad, padding_side=side)
        kept = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True, padding_side=side)
        gaps = torch.tensor([0 if with_answer else tokens.shape[1] - len(row) for row in rows])
        found = {
            "input_ids": tokens, "attention_mask": kept, "audio_values": mel, "audio_lens": lengths,
            "audio_token_len": positions, "audio_token_start_idx": torch.tensor(starts) + gaps,
            "audio_batch_size": torch.ones(len(rows), dtype=torch.long),
        }  # fmt: skip
        return found | ({"labels": pad_sequence(labels, True, NO_LABEL)} if with_answer else {})

    def loss(self) -> Tensor:
        return self.model(**self.batch(with_answer=True)).loss

    @torch.inference_mode()
    def answers(self) -> object:
        ends = {"eos_token_id": turn_end(self.own.tokenizer), "pad_token_id": self.own.tokenizer.pad_token_id}
        batch = self.batch(with_answer=False)
        return self.model.generate(**batch, max_new_tokens=LONGEST, do_sample=False, **ends)


def step(loss: Callable[[], Tensor], trained: nn.Module) -> Callable[[], float]:
    """Return a step of training that leaves the weights as they are: every round does the same work."""
    optimizer = torch.optim.AdamW(trained.parameters(), lr=0.0)

    def one() -> float:
        found = loss()
        found.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return found.item()

    return one


def ratios(theirs: Callable[[], object], ours: Mapping[bool, Callable[[], object]]) -> list[str]:
    """Return theirs / ours with stored frames and with encoding, as cells of the table."""
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS + 1):
        for name, side in {"theirs": theirs, **{str(stored): one for stored, one in ours.items()}}.items():
            began = time.process_time()
            side()
            taken.setdefault(name, []).append(time.process_time() - began)
    cells = []
    for stored in ours:  # the first round warms up
        found = [a / b for a, b in zip(taken["theirs"][1:], taken[str(stored)][1:], strict=True)]
        cells.append(f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f})")
    return cells


def commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "log", "-1", "--format=commit %h of %cs"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main(slam_checkout: Path, ultravox_checkout: Path) -> None:
    torch.set_num_threads(1)
    own = turns()
    slam, ultravox = Slam(slam_checkout, own), Ultravox(ultravox_checkout, own)
    plain = PlainLoop(own.model, own.encoder, own.tokenizer, own.examples, own.audio, own.frames)
    for program in (slam, ultravox):
        share = sum(part.numel() for part in program.trained.parameters()) / own.n_weights
        assert abs(share - 1) < 0.02, f"its projector has {share:.3f} times our weights"
    end, adapter = own.tokenizer.eos_token_id, own.model.adapter
    steps = {stored: step(lambda stored=stored: own.loss(stored), adapter) for stored in (True, False)}
    answers = {stored: (lambda stored=stored: own.answers(stored)) for stored in (True, False)}
    ultravox.answers()
    programs = {
        "SLAM-LLM as shipped": (step(slam.loss, slam.trained), slam.answers),
        "SLAM-LLM, greedy": (None, lambda: slam.answers(beams=1)),
        "the model class of ultravox": (step(ultravox.loss, ultravox.trained), ultravox.answers),
        "a plain loop over transformers": (
            step(lambda: plain.loss(tricks=False), adapter),
            lambda: plain.answers(False, end, LONGEST),
        ),
        "a plain loop with trimmed audio, stored frames and logits at answers": (
            step(lambda: plain.loss(tricks=True), adapter),
            lambda: plain.answers(True, end, LONGEST),
        ),
    }
    lines = [
        "| program | step, stored | step, encoded | answers, stored | answers, encoded |",
        "|---" * 5 + "|",
    ]
    for name, (training, answering) in programs.items():
        trained = ratios(training, steps) if training else ["as above"] * 2
        lines.append(f"| {name} | {' | '.join([*trained, *ratios(answering, answers)])} |")
        print(lines[-1], flush=True)
    environment = runs.environment()
    text = TEXT.format(
        machine=environment["processor"],
        **{name: environment["libraries"][name] for name in ("torch", "transformers")},
        rounds=ROUNDS,
        turns=TURNS,
        longest=LONGEST,
        table="\n".join(lines),
        llm=sum(part.numel() for part in own.model.llm.parameters()) / 1e6,
        trained=own.n_weights,
        slam=commit(slam_checkout),
        ultravox=commit(ultravox_checkout),
    )
    runs.write_text(PAGE, text)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
