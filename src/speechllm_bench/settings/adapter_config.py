"""Settings of adapters, one class a kind: each has what its kind uses, and nothing else.

Every kind of 2510.15851, section 3.3, shortens the frames 8 times. `pooling` is the adapter of 2509.04473,
which has no width of its own and names its rate.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from speechllm_bench.settings.strict import Strict

FRAMES_PER_30S = 1500  # of Whisper's encoder


class _AdapterConfig(Strict):
    # Outputs have the mean norm of the LLM's input embeddings; None: whatever norm the last layer gives.
    scaled: Literal[True] | None = None

    def at_width(self, factor: float) -> Self:
        """The same kind, `factor` times as wide, in whole eighths so that heads divide it.

        ValueError for a kind without a width, unless the factor is 1.
        """
        if factor == 1:
            return self
        widths = [name for name in ("width", "feed_forward") if name in type(self).model_fields]
        if not widths:
            kind = self.model_dump()["kind"]
            raise ValueError(f"width_factor scales a width, and the adapter '{kind}' has none")
        scaled: dict[str, Any] = {
            name: max(8, 8 * round(getattr(self, name) * factor / 8)) for name in widths
        }
        return self.model_copy(update=scaled)


class CNNConfig(_AdapterConfig):
    kind: Literal["cnn"]
    width: int = Field(gt=0)  # channels


class CNNXLConfig(_AdapterConfig):
    kind: Literal["cnn_xl"]
    width: int = Field(gt=0)  # channels


class LinearConfig(_AdapterConfig):
    kind: Literal["linear"]


class MLPConfig(_AdapterConfig):
    kind: Literal["mlp"]
    width: int = Field(gt=0)  # units of a hidden layer
    layers: int = Field(gt=0)  # hidden ones


class TransformerConfig(_AdapterConfig):
    kind: Literal["transformer"]
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    feed_forward: int = Field(gt=0)  # units between a layer's two linear maps
    pre_norm: bool = False  # normalise before each sublayer, not after

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads divide the width, but {self.heads} heads do not divide {self.width}")
        return self


class PoolingConfig(_AdapterConfig):
    kind: Literal["pooling"]
    steps_per_30s: int = Field(gt=0, le=FRAMES_PER_30S)  # speech tokens; trimmed frames keep that rate


AdapterConfig = Annotated[
    CNNConfig | CNNXLConfig | LinearConfig | MLPConfig | TransformerConfig | PoolingConfig,
    Field(discriminator="kind"),
]


def validated(**settings) -> AdapterConfig:
    """Settings of one adapter from plain data; ValueError for wrong ones."""
    return TypeAdapter(AdapterConfig).validate_python(settings)
