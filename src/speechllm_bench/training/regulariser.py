"""The classifier regulariser in training: L = (1 - a) L_LLM + a L_classifier (2509.04473, method).

The classifier predicts the entity tags and the sentiment of an utterance. In the paper the weight of a tag is
the number of all tags divided by the number of this tag. We use it as the weight of utterances that have the
label. We count over the stage's training turns, and compute the weights of sentiments separately.

Axes: B utterances, L speech tokens, E LLM embedding width, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from speechllm_bench.errors import UserError
from speechllm_bench.models import adapters
from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import ClassifierConfig, StageConfig
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS, Utterance

LABELS = (*ENTITY_TAGS, *SENTIMENTS)
CHANNELS = (1, 16, 32, 64)
STRIDE = 2


class Classifier(nn.Module):
    """Maps embeddings (B, L, E), of which `lengths` (B,) are speech, to logits (B, K), one per label.

    The paper specifies a 2-D CNN of three layers; channels, kernels and strides are ours. C: channels.
    """

    def __init__(self, n_labels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, stride=STRIDE, padding=1) for a, b in pairwise(CHANNELS)
        )
        self.out = nn.Linear(CHANNELS[-1], n_labels)

    def forward(self, speech: Tensor, lengths: Tensor) -> Tensor:
        x = _cut(speech[:, None], lengths)  # (B, 1, L, E)
        for convolution in self.convolutions:
            lengths = -(-lengths // STRIDE)
            x = _cut(nn.functional.gelu(convolution(x)), lengths)  # (B, C, ceil(L / 2), ceil(E / 2))
        mean = x.sum(dim=2).mean(dim=2) / lengths[:, None]  # (B, C): mean over speech tokens and features
        return self.out(mean)


def _cut(x: Tensor, lengths: Tensor) -> Tensor:
    """Zero positions of (B, C, L, E) beyond `lengths` (B,). Padding would leak into the last positions."""
    return x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None, :, None]


class Regulariser:
    """A classifier and the loss that it adds. It is trained with the model and dropped after the stage.

    Raises UserError where no turn of the stage has gold entities or sentiment, as in LibriSpeech. There the
    classifier would learn nothing, and its share of the loss would only scale the LLM's loss down.
    """

    def __init__(self, config: ClassifierConfig, train: Sequence[Utterance], seed: int, device: torch.device):
        if not known(train).any():
            raise UserError(
                "a stage has a classifier, and none of its training turns has entities or a sentiment to "
                "learn; leave the variant out of this profile"
            )
        torch.manual_seed(seed)
        self.classifier = Classifier(len(LABELS)).to(device)
        self.alpha = config.alpha
        self.weights = label_weights(train).to(device) if config.class_weights else None  # (K,)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"classifier.{name}": p for name, p in self.classifier.named_parameters()}

    def loss(self, model: SpeechLLM, batch: Batch, utterances: Sequence[Utterance]) -> dict[str, Tensor]:
        """Return both loss terms, each times its share. The adapter's output is computed once for both."""
        assert model.adapter is not None
        speech = model.speech(batch)  # (B, L, E)
        logits = self.classifier(speech, model.adapter.out_length(batch.n_frames))  # (B, K)
        wanted = label_matrix(utterances).to(logits.device)  # (B, K)
        weight = known(utterances).to(logits.device)  # (B, K)
        classified = nn.functional.binary_cross_entropy_with_logits(
            logits.float(), wanted, weight, pos_weight=self.weights, reduction="sum"
        ) / weight.sum().clamp(min=1)
        return {
            "llm_share_of_loss": (1 - self.alpha) * model.loss(batch, speech),
            "classifier_share_of_loss": self.alpha * classified,
        }


def n_parameters(stages: Sequence[StageConfig]) -> int:
    """Number of classifier parameters of a run: those of one classifier, 0 where no stage has one.

    Each stage with a classifier trains a new one.
    """
    return adapters.n_parameters(Classifier(len(LABELS))) if any(s.classifier for s in stages) else 0


def label_matrix(utterances: Sequence[Utterance]) -> Tensor:
    """Return (B, K): 1 where an utterance has a label, else 0."""
    having = [{*(entity.tag for entity in u.entities), u.sentiment} for u in utterances]
    return torch.tensor([[float(label in has) for label in LABELS] for has in having])


def known(utterances: Sequence[Utterance]) -> Tensor:
    """Return (B, K): 1 where an utterance has gold for a label, else 0."""
    both = [
        [float("entities" in u.gold)] * len(ENTITY_TAGS) + [float("sentiment" in u.gold)] * len(SENTIMENTS)
        for u in utterances
    ]
    return torch.tensor(both)


def label_weights(utterances: Sequence[Utterance]) -> Tensor:
    """Return the weights (K,): the count of all tags divided by the count of each tag.

    Sentiments have their own total. A label without examples counts as one example.
    """
    counted = label_matrix(utterances).sum(dim=0)
    parts = counted.split([len(ENTITY_TAGS), len(SENTIMENTS)])
    return torch.cat([part.sum() / part.clamp(min=1) for part in parts])
