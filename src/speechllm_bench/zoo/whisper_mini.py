"""whisper-mini: a small Whisper, trained on the zoo split with the sum of CTC loss and decoder loss.

CTC is used because an encoder learns the alignment far more slowly from a decoder alone (Kim et al.,
1609.06773). The CTC head is dropped after training.

Axes: B utterances, M mel frames (100 Hz), T = M / 2 encoder frames, D width, N decoder tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import torch
from tokenizers import processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

from speechllm_bench.data.corpora import call_centre
from speechllm_bench.data.frames import FrameStore
from speechllm_bench.models.ctc import collapsed
from speechllm_bench.models.encoder import encoder_states, log_mel, real_frames
from speechllm_bench.storage.schema import Utterance
from speechllm_bench.training import schedule
from speechllm_bench.training.loop import FitResult
from speechllm_bench.zoo.fitting import Course, Progress, Spoken, byte_level_bpe, spoken_features
from speechllm_bench.zoo.recipes import Phase, WhisperRecipe
from speechllm_bench.zoo.texts.readings import LONG, MIXED, SHORT, VARIED, read_aloud

N_MELS = 80
CHARACTERS = " 'abcdefghijklmnopqrstuvwxyz"  # CTC classes from 1 on; 0 is the blank
_SIZES = {
    "d_model",
    "dropout",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
}
PHASES = {
    "training": SHORT,
    "finishing": SHORT,
    "lengthening": LONG,
    "varying": VARIED,
    "polishing": MIXED,
}
PAD, END, START = "<|pad|>", "<|endoftext|>", "<|startoftranscript|>"


class WhisperCTC(nn.Module):
    """Whisper with a CTC head over characters on its encoder."""

    def __init__(self, whisper: WhisperForConditionalGeneration):
        super().__init__()
        self.whisper = whisper
        self.head = nn.Linear(whisper.config.d_model, len(CHARACTERS) + 1)

    def character_logits(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return encoder states (B, T, D) and character logits (B, T, classes). mel: (B, 80, M)."""
        states = encoder_states(self.whisper.model.encoder, mel)
        return states, self.head(states)

    def losses(
        self, mel: Tensor, real: Tensor, characters: list[list[int]], tokens: Tensor
    ) -> dict[str, Tensor]:
        """Return the CTC loss in nats per character and the decoder's cross-entropy in nats per token.

        real: (B,) number of encoder frames of the audio without padding. tokens: (B, N), each row starts with
        START and ends with END and padding.
        """
        states, logits = self.character_logits(mel)
        lengths = torch.tensor([len(c) for c in characters])
        ctc = (
            nn.functional.ctc_loss(
                logits.log_softmax(-1).transpose(0, 1),  # (T, B, classes)
                torch.tensor([c for row in characters for c in row]),
                real,
                lengths,
                reduction="sum",
                zero_infinity=True,
            )
            / lengths.sum()
        )
        hidden = self.whisper.model.decoder(
            input_ids=tokens[:, :-1], encoder_hidden_states=states, use_cache=False
        ).last_hidden_state  # (B, N - 1, D)
        decoder = nn.functional.cross_entropy(
            self.whisper.proj_out(hidden).transpose(1, 2),
            tokens[:, 1:],
            ignore_index=self.whisper.config.pad_token_id,
        )
        return {"ctc": ctc, "decoder": decoder}


def train_tokenizer(recipe: WhisperRecipe, utterances: list[Utterance]) -> PreTrainedTokenizerFast:
    alphabet = list(CHARACTERS.replace(" ", "\u0120"))  # \u0120 is the space of byte-level BPE
    lines = (u.transcript for u in utterances)
    tokenizer = byte_level_bpe(lines, recipe.vocabulary, [PAD, END, START], alphabet)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, tokenizer.token_to_id(t)) for t in (START, END)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, bos_token=START)


def untrained(recipe: WhisperRecipe, tokenizer: PreTrainedTokenizerFast) -> WhisperForConditionalGeneration:
    """Return the Whisper of a recipe with random weights (`recipe.seed`)."""
    torch.manual_seed(recipe.seed)
    sizes = recipe.model_dump(include=_SIZES)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        max_target_positions=128,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **sizes,
    )
    model = WhisperForConditionalGeneration(config)
    for name, layer in model.named_modules():
        # transformers' default of 0.02 suits real widths. At this width the audio would enter at a thirtieth
        # of the spread of the position embeddings. With this initialisation it is about a quarter.
        if isinstance(layer, nn.Linear | nn.Conv1d) and name != "proj_out":
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    return model


def train(
    recipe: WhisperRecipe, checkpoints: Path, n_workers: int, progress: Progress
) -> tuple[WhisperForConditionalGeneration, PreTrainedTokenizerFast, dict[str, FitResult]]:
    """Train from scratch, or resume a killed training. Return model, tokenizer, and the fits by phase."""
    short = read_aloud(recipe.utterances, recipe.seed, SHORT)
    tokenizer = train_tokenizer(recipe, short)
    model = WhisperCTC(untrained(recipe, tokenizer))
    course = Course(recipe, checkpoints, progress)
    fits = {phase: train_phase(course, recipe, phase, model, tokenizer, n_workers) for phase in PHASES}
    return model.whisper, tokenizer, fits


def mels_of(utterances: list[Utterance], n_workers: int) -> FrameStore:
    """Return log-mel features (M, 80) by utterance, M in multiples of 0.64 s.

    The store's key has the number of encoder frames of each audio without padding.
    """
    real: dict[str, int] = {}

    def features(spoken: Iterator[Spoken]) -> Iterator[tuple[str, np.ndarray]]:
        for utterance, audio in spoken:
            real[utterance.id] = real_frames(len(audio))
            yield utterance.id, log_mel(audio, "trimmed").T.numpy()

    return spoken_features("features", utterances, features, N_MELS, {"real_frames": real}, n_workers)


def train_phase(
    course: Course,
    recipe: WhisperRecipe,
    phase: str,
    model: WhisperCTC,
    tokenizer: PreTrainedTokenizerFast,
    n_workers: int,
) -> FitResult:
    """Train one phase, in place."""
    spoken = {
        "zoo": read_aloud(recipe.utterances, recipe.seed, PHASES[phase]),
        "validation": call_centre.utterances("validation", recipe.validation_utterances),
    }
    mels = {split: mels_of(utterances, n_workers) for split, utterances in spoken.items()}
    # Whisper's encoder positions are fixed sinusoids, so they are not trained.
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    config: Phase = getattr(recipe, phase)

    def loss(items: list[tuple[int, int]]) -> dict[str, Tensor]:
        model.train()
        heard = [spoken["zoo"][i] for i, _ in items]
        transcripts = [utterance.transcript for utterance in heard]
        return model.losses(
            pad_mels([_mel(mels["zoo"], utterance) for utterance in heard]),
            torch.tensor([mels["zoo"].key["real_frames"][utterance.id] for utterance in heard]),
            [[CHARACTERS.index(c) + 1 for c in text] for text in transcripts],
            tokenizer(transcripts, padding=True, return_tensors="pt")["input_ids"],
        )

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        model.eval()
        said = []
        for utterance in spoken["validation"]:
            logits = model.character_logits(_mel(mels["validation"], utterance)[None])[1][0]
            logits = logits[: mels["validation"].key["real_frames"][utterance.id]]
            said.append(greedy_text(logits.argmax(-1).tolist()))
        truth = [u.transcript for u in spoken["validation"]]
        return {"ctc_wer": jiwer.wer(truth, said), "ctc_cer": jiwer.cer(truth, said)}

    rng = np.random.default_rng(recipe.seed + list(PHASES).index(phase))
    lengths = [mels["zoo"].n_frames(utterance.id) for utterance in spoken["zoo"]]
    pairs = schedule.order(len(lengths), config.examples, rng)
    batches = schedule.batches(pairs, [lengths[i] for i, _ in pairs], config.batch_size, rng)
    return course.fit(config, phase, parameters, batches, loss, validate)


def _mel(store: FrameStore, utterance: Utterance) -> Tensor:
    return torch.from_numpy(store[utterance.id].astype(np.float32)).T  # (80, M)


def pad_mels(rows: list[Tensor]) -> Tensor:
    """Pad features (80, M_i) to (B, 80, M) with each row's minimum, which is its silence."""
    longest = max(row.shape[1] for row in rows)
    return torch.stack([nn.functional.pad(r, (0, longest - r.shape[1]), value=r.min().item()) for r in rows])


def greedy_text(classes: list[int]) -> str:
    """Return the text of CTC classes, one per frame. Repeats are merged and blanks dropped."""
    return "".join(CHARACTERS[c - 1] for c in collapsed(classes))
