"""Training with a classifier beside the LLM: L = (1 - a) L_LLM + a L_classifier (2509.04473, method).

The classifier says which entity tags an utterance has, and its sentiment. The paper's weight of a tag is the
number of all tags over that of its own. We read it as the weight of the utterances that have the label, count
over the stage's training turns, and weigh sentiments among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechllm_bench.errors import UserError
from speechllm_bench.models import adapters
from speechllm_bench.models.classifier import Classifier
from speechllm_bench.models.inputs import Batch
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.settings.config import ClassifierConfig, StageConfig
from speechllm_bench.storage.schema import ENTITY_TAGS, SENTIMENTS, Utterance

LABELS = (*ENTITY_TAGS, *SENTIMENTS)


class Regulariser:
    """A classifier with the loss it adds. It learns beside the model and is left behind with the stage.

    UserError where none of the stage's turns has gold of what it classifies, as LibriSpeech's have not: it
    would learn nothing, and its share of the loss only lower the learning rate.
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
        """Both terms of the loss, each times its share; the adapter's output is computed once for both."""
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
    """Parameters of the classifier that a stage of these trains; none is kept from one stage to the next."""
    return adapters.n_parameters(Classifier(len(LABELS))) if any(s.classifier for s in stages) else 0


def label_matrix(utterances: Sequence[Utterance]) -> Tensor:
    """(B, K) of 0 and 1: which labels each utterance has."""
    having = [{*(entity.tag for entity in u.entities), u.sentiment} for u in utterances]
    return torch.tensor([[float(label in has) for label in LABELS] for has in having])


def known(utterances: Sequence[Utterance]) -> Tensor:
    """(B, K) of 0 and 1: for which labels there is gold."""
    both = [
        [float("entities" in u.gold)] * len(ENTITY_TAGS) + [float("sentiment" in u.gold)] * len(SENTIMENTS)
        for u in utterances
    ]
    return torch.tensor(both)


def label_weights(utterances: Sequence[Utterance]) -> Tensor:
    """(K,): of tags all tags over those of each, of sentiments likewise; of a label that there is not, as if
    there were one.
    """
    counted = label_matrix(utterances).sum(dim=0)
    parts = counted.split([len(ENTITY_TAGS), len(SENTIMENTS)])
    return torch.cat([part.sum() / part.clamp(min=1) for part in parts])
