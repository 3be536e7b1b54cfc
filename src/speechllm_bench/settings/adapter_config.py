"""Settings of the adapters: one class per kind, with only the keys that this kind uses.

The adapters of 2510.15851, section 3.3, reduce the number of frames by a factor of 8. `pooling` is the
adapter of 2509.04473. It has no width, and `steps_per_30s` sets its rate.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from speechllm_bench.settings.strict import Strict

FRAMES_PER_30S = 1500  # output frames of Whisper's encoder for 30 s of audio


class _AdapterConfig(Strict):
    # True: outputs have the mean norm of the LLM's input embeddings. None: the last layer's norm is kept.
    scaled: Literal[True] | None = None

    def at_width(self, factor: float) -> Self:
        """Return the same kind with its width and its feed-forward size multiplied by `factor`.

        Both are rounded to multiples of 8, at least 8, so that 1, 2, 4 or 8 heads divide them.
        Raises ValueError for a kind without a width, unless the factor is 1, and for a width that its heads
        do not divide.
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
        try:
            return type(self).model_validate(self.model_dump() | scaled)
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"at width_factor {factor:g} {told}") from None


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
    layers: int = Field(gt=0)  # number of hidden layers


class TransformerConfig(_AdapterConfig):
    kind: Literal["transformer"]
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    feed_forward: int = Field(gt=0)  # hidden units of a layer's feed-forward network
    pre_norm: bool = False  # True: normalise before each sublayer, not after

    @model_validator(mode="after")
    def _workable(self) -> Self:
        if self.width % 2 or self.width < 4:  # its position embeddings are pairs of sinusoids, of two rates
            raise ValueError(
                f"the width of a Transformer is even and at least 4, but here it is {self.width}"
            )
        if self.width % self.heads:
            raise ValueError(f"heads divide the width, but {self.heads} heads do not divide {self.width}")
        return self


class PoolingConfig(_AdapterConfig):
    kind: Literal["pooling"]
    steps_per_30s: int = Field(
        gt=0, le=FRAMES_PER_30S
    )  # speech tokens per 30 s of audio; trimmed audio keeps this rate


AdapterConfig = Annotated[
    CNNConfig | CNNXLConfig | LinearConfig | MLPConfig | TransformerConfig | PoolingConfig,
    Field(discriminator="kind"),
]
