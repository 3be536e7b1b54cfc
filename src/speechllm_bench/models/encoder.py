"""The frozen Whisper encoder: audio in, encoder frames out, at the audio's real length.

Axes: B utterances, S audio samples (16 kHz), M mel frames (100 Hz), T encoder frames (50 Hz), D width.

`EncoderConfig.padding` chooses one of three paddings and is recorded:
- `30s`: silence up to 30 s, as in OpenAI's training; only the real frames are kept.
- `10s`: silence up to 10 s; longer audio as with `trimmed`. Whisper-base's decoder is about as good as at 30
  s (WER 0.25 and 0.23 on 40 short telephone turns), at a quarter of the cost.
- `trimmed`: silence up to the next multiple of 0.64 s. The frames differ a little from those at 30 s, because
  attention sees less silence. They cost a fraction.
No padding needs a mask: utterances are batched with others of the same padded length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from whisper.audio import log_mel_spectrogram

from speechllm_bench.data.audio import SAMPLE_RATE
from speechllm_bench.errors import UserError
from speechllm_bench.models.pretrained import load_pretrained

SAMPLES_PER_FRAME = 320  # hop of 160 samples, then a convolution of stride 2: 50 frames per second
BLOCK = 32 * SAMPLES_PER_FRAME  # 0.64 s: few distinct lengths for batching, and little added silence
MAX_SAMPLES = 30 * SAMPLE_RATE
BATCH_SECONDS = {"cpu": 60.0, "cuda": 480.0}  # padded audio in a batch, about; a GPU is idle at less
LEAST_SAMPLES = {"trimmed": 0, "10s": 10 * SAMPLE_RATE, "30s": MAX_SAMPLES}


def load_encoder(name: str, device: str = "cpu") -> WhisperEncoder:
    """Return the frozen encoder of a Whisper folder or hub name, in eval mode and converted to fp32."""
    encoder = load_pretrained(WhisperModel, name, unused={"proj_out.weight"}).get_encoder()
    return encoder.requires_grad_(False).eval().to(device)


def real_frames(n_samples: int) -> int:
    """Return the number of encoder frames that hold audio; the last one may hold it in part."""
    return -(-n_samples // SAMPLES_PER_FRAME)


def padded_samples(n_samples: int, padding: str) -> int:
    """Return the padded length in samples of an utterance. Raises UserError for more than 30 s."""
    if n_samples > MAX_SAMPLES:
        raise UserError(
            f"an utterance of {n_samples / SAMPLE_RATE:.1f} s is longer than Whisper's 30 s; cut it first"
        )
    whole_blocks = -(-n_samples // BLOCK) * BLOCK
    return min(MAX_SAMPLES, max(LEAST_SAMPLES[padding], whole_blocks))


def log_mel(audio: np.ndarray, padding: str, n_mels: int = 80, device: str | torch.device = "cpu") -> Tensor:
    """Compute log-mel features (n_mels, M) of float audio (S,) with Whisper's own front end, on `device`."""
    silence = padded_samples(len(audio), padding) - len(audio)
    return log_mel_spectrogram(torch.from_numpy(np.pad(audio, (0, silence))), n_mels=n_mels, device=device)


def encoder_states(encoder: WhisperEncoder, mel: Tensor) -> Tensor:
    """Encode mel (B, n_mels, M) to frames (B, T, D) with T = M / 2, for any M up to 3000.

    The computation is that of `WhisperEncoder.forward`, which requires M = 3000 (test: equal at 30 s).
    """
    x = nn.functional.gelu(encoder.conv1(mel))  # (B, D, M)
    x = nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)  # (B, T, D)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    x = nn.functional.dropout(x, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers:
        x = layer(x, None)
    return encoder.layer_norm(x)


def same_length_batches(n_samples: Sequence[int], padding: str, seconds: float) -> list[list[int]]:
    """Return batches of utterance indices, each of one padded length and about `seconds` of padded audio."""
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
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, fp16 encoder frames (T, D) cut to the audio's real length), in batch order.

    bf16: encode under bf16 autocast. Raises UserError for audio of more than 30 s.
    """
    place, n_mels = encoder.device, encoder.config.num_mel_bins
    for batch in same_length_batches([len(a) for a in audio], padding, BATCH_SECONDS[place.type]):
        mel = torch.stack([log_mel(audio[i], padding, n_mels, place) for i in batch])
        with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
            states = encoder_states(encoder, mel.to(encoder.dtype))
        for row, index in enumerate(batch):
            yield index, states[row, : real_frames(len(audio[index]))].to("cpu", torch.float16).numpy()
