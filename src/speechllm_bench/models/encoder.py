"""The frozen Whisper encoder: audio in, encoder frames out, at the audio's real length.

Axes: B utterances, S audio samples (16 kHz), M mel frames (100 Hz), T encoder frames (50 Hz), D width.

Three settings of how Whisper is fed (a recorded choice, `EncoderConfig.padding`):
- `30s`: as it was trained by OpenAI: silence to 30 s, then the real frames are kept.
- `10s`: silence to 10 s, where there is less. Whisper-base's decoder is as good behind it as behind 30 s (WER
  0.25 and 0.23 on 40 short turns over the telephone), and it costs a quarter.
- `trimmed`: silence to the next 0.64 s only. The frames differ a little from the 30 s ones, since
  attention sees less silence, and cost a fraction.
Either way no mask is needed: utterances are batched with others of the same padded length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from whisper.audio import log_mel_spectrogram

from speechllm_bench.errors import UserError
from speechllm_bench.models.pretrained import load_pretrained

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 320  # hop of 160 samples, then a convolution of stride 2: 50 frames a second
BLOCK = 32 * SAMPLES_PER_FRAME  # 0.64 s: few enough distinct lengths to batch by, little silence
MAX_SAMPLES = 30 * SAMPLE_RATE
LEAST_SAMPLES = {"trimmed": 0, "10s": 10 * SAMPLE_RATE, "30s": MAX_SAMPLES}


def load_encoder(name: str, device: str = "cpu") -> WhisperEncoder:
    """The frozen encoder of a Whisper folder or hub name, in eval mode; fp32 whatever it is stored in."""
    encoder = load_pretrained(WhisperModel, name, unused={"proj_out.weight"}).get_encoder()
    return encoder.requires_grad_(False).eval().to(device)


def real_frames(n_samples: int) -> int:
    """Encoder frames that the audio itself fills, its last one perhaps in part."""
    return -(-n_samples // SAMPLES_PER_FRAME)


def padded_samples(n_samples: int, padding: str) -> int:
    """Length in samples at which an utterance is encoded."""
    if n_samples > MAX_SAMPLES:
        raise UserError(
            f"an utterance of {n_samples / SAMPLE_RATE:.1f} s is longer than Whisper's 30 s; cut it first"
        )
    whole_blocks = -(-n_samples // BLOCK) * BLOCK
    return min(MAX_SAMPLES, max(LEAST_SAMPLES[padding], whole_blocks))


def log_mel(audio: np.ndarray, padding: str, n_mels: int = 80) -> Tensor:
    """(S,) float audio -> (n_mels, M) log-mel features by Whisper's own front end."""
    silence = padded_samples(len(audio), padding) - len(audio)
    return log_mel_spectrogram(torch.from_numpy(np.pad(audio, (0, silence))), n_mels=n_mels)


def encoder_states(encoder: WhisperEncoder, mel: Tensor) -> Tensor:
    """(B, n_mels, M) -> (B, T, D) with T = M / 2, for any M up to 3000.

    The same computation as `WhisperEncoder.forward`, which insists on M = 3000 (test: equal at 30 s).
    """
    x = nn.functional.gelu(encoder.conv1(mel))  # (B, D, M)
    x = nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)  # (B, T, D)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    x = nn.functional.dropout(x, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers:
        x = layer(x, None)
    return encoder.layer_norm(x)


def same_length_batches(n_samples: Sequence[int], padding: str, seconds: float) -> list[list[int]]:
    """Indices grouped by padded length, each batch holding about `seconds` of padded audio."""
    by_length: dict[int, list[int]] = {}
    for index, n in enumerate(n_samples):
        by_length.setdefault(padded_samples(n, padding), []).append(index)
    batches = []
    for length, indices in sorted(by_length.items()):
        size = max(1, int(seconds * SAMPLE_RATE / length))
        batches += [indices[i : i + size] for i in range(0, len(indices), size)]
    return batches


@torch.inference_mode()
def encode(
    encoder: WhisperEncoder,
    audio: Sequence[np.ndarray],
    padding: str,
    bf16: bool = False,
    seconds: float = 60.0,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, (T, D) fp16 encoder frames cut to the audio's real length), in batch order."""
    for batch in same_length_batches([len(a) for a in audio], padding, seconds):
        mel = torch.stack([log_mel(audio[i], padding, encoder.config.num_mel_bins) for i in batch])
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=bf16):
            states = encoder_states(encoder, mel.to(encoder.device, encoder.dtype))
        for row, index in enumerate(batch):
            yield index, states[row, : real_frames(len(audio[index]))].to("cpu", torch.float16).numpy()
