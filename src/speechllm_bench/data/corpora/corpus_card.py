"""Writes the data card of a spoken corpus, which describes the folder to a new reader."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from speechllm_bench.settings.evaluation_config import LANGUAGES
from speechllm_bench.storage.schema import Utterance

_CARD = """\
---
license: cc-by-4.0
language:
- en
pretty_name: Synthetic call-centre turns
task_categories:
- automatic-speech-recognition
- token-classification
tags:
- synthetic
- spoken-language-understanding
- slot-filling
configs:
- config_name: default
  data_files:
{data_files}
---

# Synthetic call-centre turns

Caller turns of two-party telephone calls, each with its audio, its transcript and what can be asked about it.
**Everything here is synthetic**: the calls come from a grammar, names and amounts from generators, the voices
from {voices}. No person is recorded or described. Numbers measured on it compare models with one
another; they say little about real callers.

## How it is made

Every utterance is spoken at a drawn rate and pitch, then sent over a simulated telephone line: 8 kHz, 300 to
3400 Hz, a mix of white, pink and babble-like noise at a drawn signal-to-noise ratio (`voice.snr_db`), G.711
mu-law, and back to 16 kHz. A speaker is an accent and a voice variant; rate and pitch are not identity.
{speakers}

Synthesis version {synthesis}; fingerprint `{fingerprint}`. `corpus.json` holds the hashes of texts and audio.
Recipe:

{recipe}

## Splits

{counts}

`zoo`, where there is one, trains the backbones. No call is in two splits. A speaker is of one split alone,
but A-test and B-test share theirs. The accent alone, or the voice variant or style alone, occurs in several.
Values of names, codes, amounts, dates, places and products are of one split alone (train and validation
share theirs). Small kinds (ages, durations, percentages, small numbers, times, years) and closed lists are
shared by all.
{repeated}Hyphens of split names are underscores in file names.

## Fields

| field | content |
|---|---|
| `id`, `split`, `call_id`, `turn_index` | which turn of which call |
| `domain`, `company`, `intent` | what the call is about and why the caller speaks |
| `transcript` | lower case, as spoken: no digits, no punctuation but the apostrophe |
| `slots` | slot-value pairs: `transcript[start:end] == value`, with a `canonical` form |
| `entities` | named entities with SLUE's combined tags: `transcript[start:end] == text` |
| `sentiment` | negative, neutral or positive |
| `context` | all earlier turns of the call as text, oldest first |
| `speaker`, `voice` | who speaks, and how: accent, variant, {rate}, SNR (dB), seed |
| `gold` | the fields that there is gold for |
| `n_samples` | length of the audio in samples at 16 kHz |
| `audio` | a 16-bit FLAC file's bytes, mono, 16 kHz; not decoded by default |

Of what a caller corrects only what stands in the end is an entity. All of `NORP` are names of languages,
which SLUE leaves out.

## Use

```python
from datasets import load_dataset

corpus = load_dataset("path/to/this/folder")
```

## Licence

CC BY 4.0. {licence}
"""

_ESPEAK = {
    "voices": "espeak-ng {espeak}",
    "rate": "words a minute, pitch (0 to 99)",
    "speakers": "",
    "licence": "espeak-ng, which spoke the text, is a GPL-3 program and no part of this data.",
}
_NEURAL = {
    "voices": "Kokoro-82M and Piper's `joe`",
    "rate": "rate and pitch (in percent of the voice's own)",
    "speakers": (
        "Kokoro's voices are mixtures of five styles, with the vocal tract scaled by up to 6 %. All splits\n"
        "mix the same five styles. No mixture of one split is nearer than a fifth of its shares to one of\n"
        "another, where A-test and B-test count as one. `joe` speaks in `train` alone.\n"
    ),
    "licence": (
        "Kokoro-82M has the Apache-2.0 licence. Piper's `joe` was trained on CC0 recordings, from\n"
        "the voice `lessac`, whose recordings have a licence for research. piper-tts and espeak-ng are\n"
        "GPL-3 programs and no part of this data."
    ),
}


_EXTRA = """\
---
license: cc-by-4.0
language:
{languages}
tags:
- synthetic
configs:
- config_name: default
  data_files:
{data_files}
---

# {title}

Spoken by espeak-ng {espeak} over a simulated telephone line, as the suite's call centre is. **Everything here
is synthetic**: no person is recorded or described. Synthesis version {synthesis}; fingerprint
`{fingerprint}`.

{recipe}

{counts}

CC BY 4.0. espeak-ng, which spoke the text, is a GPL-3 program and no part of this data.
"""

_TITLES = {
    "instructions": "Spoken questions about a turn (task sqit)",
    "languages": "Caller turns in other languages than English, to evaluate alone",
}

_RECORDED = """\
---
configs:
- config_name: default
  data_files:
{data_files}
---

# A copy of {corpus}, for this machine alone

The recordings of a published corpus as 16-bit FLAC at 16 kHz beside what the suite asks of them, made from
the files that the recipe names. Its own licence and conditions hold; do not hand this copy on. Fingerprint
`{fingerprint}`.

{recipe}

{counts}

{repeated}
"""


def shared_speakers(utterances: Mapping[str, Sequence[Utterance]]) -> str:
    """Return a sentence on the speakers that two splits have in common. utterances: by split."""
    heard = {split: {turn.speaker for turn in turns} for split, turns in utterances.items()}
    said = [
        f"{one} and {other} have {n} {'speaker' if n == 1 else 'speakers'} in common."
        for one, other in combinations(heard, 2)
        if (n := len(heard[one] & heard[other]))
    ]
    return " ".join(said) or "No speaker is in two splits."


def repeated_fills(utterances: Mapping[str, Sequence[Utterance]], open_class: Collection[str]) -> str:
    """Return a sentence per test split on how many slot fills have a value that also occurs in `train`.

    utterances: by split. open_class: names of the slots whose values come from an unbounded supply.
    """
    known = {slot.value for turn in utterances.get("train", ()) for slot in turn.slots}
    said = []
    for split, turns in utterances.items():
        fills = [slot for turn in turns for slot in turn.slots] if split.endswith("-test") else []
        drawn = [slot for slot in fills if slot.slot in open_class]
        if known and drawn:
            seen, of_all = (sum(slot.value in known for slot in some) for some in (drawn, fills))
            shares = [
                f"{part} of {n} ({part / n:.0%})" for part, n in ((seen, len(drawn)), (of_all, len(fills)))
            ]
            said.append(
                f"Of {split}'s open-class fills {shares[0]}, and of all fills {shares[1]}, have a value that "
                "train has too. "
            )
    return "".join(said)


def data_card(info: dict, repeated: str = "") -> str:
    """Return the card of the corpus in `info` (corpus.json): Markdown with the YAML header of the hub.

    repeated: what its splits have in common, by `repeated_fills` or `shared_speakers`.
    """
    data_files, counts = [], ["| split | utterances | speakers | hours |", "|---|---:|---:|---:|"]
    for split, of in info["splits"].items():
        data_files.append(f"  - split: {split.replace('-', '_')}\n    path: {of['file']}")
        hours = of["seconds"] / 3600
        counts.append(f"| {split} | {of['n_utterances']} | {of['n_speakers']} | {hours:.2f} |")
    corpus = info["recipe"]["corpus"]
    card = (_EXTRA if corpus in _TITLES else _CARD) if info["versions"] else _RECORDED
    spoken = [split for split in info["splits"] if split in LANGUAGES] or ["en"]
    voices = _NEURAL if "neural_voices" in info["recipe"] else _ESPEAK
    return card.format(
        **{key: text.format(**info["versions"]) for key, text in voices.items() if info["versions"]},
        **info["versions"],  # of the synthesis
        corpus=corpus,
        title=_TITLES.get(corpus),
        languages="\n".join(f"- {language}" for language in spoken),
        data_files="\n".join(data_files),
        fingerprint=info["fingerprint"],
        repeated=repeated,
        recipe=f"```json\n{json.dumps(info['recipe'], indent=1, sort_keys=True)}\n```",
        counts="\n".join(counts),
    )
