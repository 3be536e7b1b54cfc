"""How a variant looks in every figure: one label, colour, marker and dash.

The colours are Okabe and Ito's, told apart by colour-blind readers; markers and dashes hold in grey print.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32


class Look(NamedTuple):
    label: str
    colour: str
    marker: str
    dash: str | tuple


_SOLID, _DASHED, _DOTTED, _DASH_DOT, _LONG = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
)

LOOKS = {
    "cnn": Look("CNN", "#E69F00", "s", _DASHED),
    "cnn_xl": Look("CNN-XL", "#D55E00", "D", _DASH_DOT),
    "linear": Look("Linear", "#56B4E9", "v", _DOTTED),
    "mlp": Look("MLP", "#0072B2", "o", _SOLID),
    "transformer": Look("Transformer", "#009E73", "^", _LONG),
    "no_audio": Look("wrong audio", "#000000", "X", _DOTTED),
    "cnn_long": Look("CNN, twice the slots", "#E69F00", "P", _LONG),
    "cnn_xl_long": Look("CNN-XL, twice the slots", "#D55E00", "p", _LONG),
    "linear_long": Look("Linear, twice the slots", "#56B4E9", "<", _LONG),
    "mlp_long": Look("MLP, twice the slots", "#0072B2", "h", _LONG),
    "transformer_long": Look("Transformer, twice the slots", "#009E73", ">", _DASHED),
    "no_audio_long": Look("wrong audio, twice the slots", "#000000", "x", _DASHED),
    "mlp_small": Look("MLP, small", "#56B4E9", "v", _SOLID),
    "mlp_few": Look("MLP, few turns", "#D55E00", "P", _DASHED),
    "mlp_small_few": Look("MLP, small, few turns", "#E69F00", "D", _DASHED),
    "cnn_lora": Look("CNN + LoRA", "#E69F00", "P", _SOLID),
    "linear_lora": Look("Linear + LoRA", "#56B4E9", "<", _SOLID),
    "mlp_lora": Look("MLP + LoRA", "#0072B2", "h", _DASHED),
    "transformer_lora": Look("Transformer + LoRA", "#009E73", ">", _SOLID),
    "transformer_lora_own_rate": Look("Transformer + LoRA, own rate", "#009E73", "d", _DASH_DOT),
    "single": Look("single stage", "#D55E00", "o", _SOLID),
    "single_long": Look("single stage, as long as C", "#999999", "P", _DASHED),
    "joint": Look("both tasks at once", "#56B4E9", "v", _DOTTED),
    "multistage_a": Look("Multistage-A", "#E69F00", "s", _DASHED),
    "multistage_b": Look("Multistage-B", "#009E73", "^", _DASH_DOT),
    "multistage_c": Look("Multistage-C", "#0072B2", "h", _LONG),
    "untuned": Look("LLM as it is, gold text", "#999999", "v", _DOTTED),
    "chance": Look("chance copier", "#CC79A7", "*", _DOTTED),
    "whole_transcript": Look("whole transcript", "#999999", "|", _DOTTED),
    "text": Look("LLM tuned, gold text", "#000000", "o", _SOLID),
    "gold": Look("LLM tuned, gold text", "#000000", "o", _SOLID),
    "gold_long": Look("the same, on more examples", "#009E73", "P", _LONG),
    "cascade": Look("LLM tuned, behind a recogniser", "#E69F00", "s", _DASHED),
    "cascade_long": Look("that, on more examples", "#D55E00", "D", _LONG),
    "asr": Look("LLM tuned on recognised text", "#56B4E9", "D", _DASH_DOT),
    "speechllm": Look("SpeechLLM", "#0072B2", "h", _SOLID),
    "distilled": Look("SpeechLLM, KL to the LLM as it is", "#009E73", "^", _DASHED),
    "distilled_taught": Look("with KL, described half the time", "#CC79A7", "P", _DASH_DOT),
    "cascade_taught_described_b_ood": Look("LLM, gold text, half described", "#D55E00", "p", _DOTTED),
    "slots": Look("slots", "#000000", "o", _SOLID),
    "ast": Look("slots + AST", "#E69F00", "s", _DASHED),
    "sit": Look("slots + SIT", "#56B4E9", "v", _DOTTED),
    "sqit": Look("slots + SQIT", "#009E73", "^", _DASH_DOT),
    "all": Look("slots + AST + SIT + SQIT", "#0072B2", "h", _LONG),
    "slots_long": Look("slots, as long as all", "#999999", "P", _DASHED),
    "drawn": Look("names alone", "#0072B2", "h", _SOLID),
    "taught": Look("described half the time", "#D55E00", "D", _DASHED),
    "composite": Look("composite", "#0072B2", "h", _SOLID),
    "composite_longer": Look("composite, twice the transcription", "#56B4E9", "D", _DASH_DOT),
    "audio_llm": Look("audio LLM, tuned", "#D55E00", "o", _DASHED),
    "audio_llm_zero_shot": Look("audio LLM, as it is", "#999999", "v", _DOTTED),
    "audio_llm_small": Look("pre-trained, of the composite's size", "#E69F00", "s", _LONG),
    "audio_llm_fresh": Look("twice as deep, not pre-trained", "#009E73", "^", _DASH_DOT),
    "composite_25": Look("composite, 25 speech tokens a second", "#CC79A7", "P", _DOTTED),
    "full_20": Look("full rate, 20 % warm-up", "#D55E00", "^", _SOLID),
    "full_40": Look("full rate, 40 %", "#E69F00", "s", _DASHED),
    "half_20": Look("half rate, 20 %", "#56B4E9", "v", _DASH_DOT),
    "half_40": Look("half rate, 40 %", "#009E73", "D", _DOTTED),
    "pre_norm_full_20": Look("normalised first, full rate, 20 %", "#CC79A7", "P", _LONG),
    "regular": Look("regular", "#000000", "o", _SOLID),
    "reasoning": Look("reasoning", "#D55E00", "^", _DASHED),
    "hybrid_no_think": Look("hybrid, not thinking", "#56B4E9", "v", _DASH_DOT),
    "transcript": Look("transcript alone", "#E69F00", "s", _DOTTED),
    "mentions": Look("transcript and mentions", "#009E73", "D", _DASH_DOT),
    "justification": Look("transcript, mentions and reasons", "#D55E00", "^", _DASHED),
    "hybrid_think": Look("hybrid, thinking", "#0072B2", "h", _LONG),
    "regular_twice": Look("regular, twice", "#E69F00", "D", _DASHED),
    "reasoning_twice": Look("reasoning, twice", "#009E73", "s", _DOTTED),
    "regular_tokens": Look("regular, as many tokens", "#999999", "P", _DASHED),
    "reasoning_tokens": Look("reasoning, as many tokens", "#CC79A7", "p", _DOTTED),
    "regular_ast_tokens": Look("regular and AST, as many tokens", "#000000", "x", _DOTTED),
    "hybrid_merged_no_think": Look("hybrid on both sets, not thinking", "#009E73", "<", _DASH_DOT),
    "hybrid_merged_think": Look("hybrid on both sets, thinking", "#E69F00", ">", _LONG),
    "none": Look("gold", "#000000", "o", _SOLID),
    "noise_0": Look("gold, twice", "#999999", "P", _DASHED),
    "unfiltered_20": Look("labels as written, then gold", "#D55E00", "s", _DASHED),
    "filtered_20": Look("filtered labels, then gold", "#0072B2", "h", _LONG),
    "alone_20": Look("filtered labels alone", "#56B4E9", "v", _DOTTED),
    "unfiltered": Look("as written", "#D55E00", "s", _DASHED),
    "filtered": Look("filtered", "#0072B2", "o", _SOLID),
    "alone": Look("no gold behind", "#999999", "v", _DOTTED),
    "transcription": Look("words", "#000000", "o", _SOLID),
    "ner": Look("entities", "#D55E00", "s", _DASHED),
    "ner_classifier": Look("entities, + classifier", "#E69F00", "D", _DASH_DOT),
    "ner_lora": Look("entities, + LoRA", "#0072B2", "h", _LONG),
    "sentiment": Look("sentiment", "#009E73", "^", _DOTTED),
    "transcription_en": Look("words", "#000000", "o", _SOLID),
    "ner_en": Look("entities of gold", "#D55E00", "s", _DASHED),
    "synthetic_en": Look("filtered labels, then gold", "#0072B2", "h", _LONG),
    "twice_en": Look("gold, twice", "#999999", "P", _DASH_DOT),
    "one a task": Look("a model for each task", "#0072B2", "o", _SOLID),
    "one for all tasks": Look("one model, a third of the examples of each", "#E69F00", "s", _DASHED),
    "one for all, as long": Look("one model, as many of each", "#009E73", "^", _DASH_DOT),
    "transcription_125": Look("words, 125 steps of 30 s", "#56B4E9", "v", _DOTTED),
    "transcription_250": Look("words, 250", "#0072B2", "o", _SOLID),
    "transcription_500": Look("words, 500", "#009E73", "^", _DASHED),
    "ner_125": Look("entities, 125", "#CC79A7", "P", _DOTTED),
    "ner_250": Look("entities, 250", "#D55E00", "s", _SOLID),
    "ner_500": Look("entities, 500", "#E69F00", "D", _DASHED),
    "a_0": Look("no classifier", "#000000", "o", _SOLID),
    "a_10": Look("a = 0.1", "#56B4E9", "v", _SOLID),
    "a_20": Look("a = 0.2", "#0072B2", "s", _SOLID),
    "a_40": Look("a = 0.4", "#009E73", "^", _SOLID),
    "a_10_unweighted": Look("a = 0.1, labels alike", "#CC79A7", "<", _DOTTED),
    "a_20_unweighted": Look("a = 0.2, labels alike", "#E69F00", "D", _DOTTED),
    "a_40_unweighted": Look("a = 0.4, labels alike", "#D55E00", ">", _DOTTED),
    "transcription_micro": Look("words, micro hybrid", "#56B4E9", "v", _DASHED),
    "transcription_mini": Look("words, mini hybrid", "#0072B2", "o", _SOLID),
    "ner_micro": Look("entities, micro hybrid", "#E69F00", "D", _DASHED),
    "ner_mini": Look("entities, mini hybrid", "#D55E00", "s", _SOLID),
    "transcription_greedy": Look("words, greedy", "#0072B2", "o", _SOLID),
    "transcription_beam_5": Look("words, 5 beams", "#56B4E9", "v", _DASHED),
    "ner_greedy": Look("entities, greedy", "#D55E00", "s", _SOLID),
    "ner_beam_5": Look("entities, 5 beams", "#E69F00", "D", _DASHED),
    "adapter_eighth": Look("adapter, an eighth of the profile's rate", "#D55E00", "v", _DOTTED),
    "adapter_quarter": Look("a quarter", "#009E73", "^", _DASH_DOT),
    "adapter_half": Look("half", "#0072B2", "s", _DASHED),
    "adapter_1": Look("the profile's rate", "#000000", "o", _SOLID),
    "adapter_2": Look("twice that", "#56B4E9", "D", _LONG),
    "lora_eighth": Look("LoRA, an eighth of the profile's", "#999999", "h", _DOTTED),
    "lora_half": Look("LoRA, half", "#CC79A7", "P", _DASH_DOT),
    "lora_1": Look("LoRA, the profile's rate", "#E69F00", "<", _SOLID),
    "lora_2": Look("LoRA, twice that", "#009E73", ">", _DASHED),
    "mlp_full_20": Look("MLP, full rate, 20 %", "#0072B2", "o", _SOLID),
    "mlp_ctc": Look("MLP, CTC for transcription", "#D55E00", "s", _DASHED),
    "mlp_both": Look("MLP, CTC, then transcription", "#009E73", "^", _DASH_DOT),
    "mlp_matched": Look("MLP, as many examples", "#999999", "P", _LONG),
    "mlp_alone": Look("MLP, slots alone", "#CC79A7", "D", _DOTTED),
    "full_rate": Look("Transformer, full rate", "#D55E00", "p", _SOLID),
    "full_rate_ctc": Look("full rate, CTC for transcription", "#D55E00", "x", _DASHED),
    "full_rate_both": Look("full rate, CTC, then transcription", "#D55E00", "*", _DASH_DOT),
}
"""A variant that is not here gets a look drawn from its name."""

SUPERVISIONS = ("regular", "reasoning", "hybrid_no_think", "hybrid_think")
_FOUNDATIONS = {
    "base": "#000000",
    "instruct": "#E69F00",
    "reasoning": "#D55E00",
    "reasoning_0": "#CC79A7",
    "reasoning_50": "#999999",
    "hybrid": "#0072B2",
    "nano": "#56B4E9",
    "micro": "#009E73",
    "mini": "#0072B2",
}
LOOKS |= {  # an LLM's colour, with marker and dash of how it was supervised
    f"{llm}_{how}": LOOKS[how]._replace(label=f"{llm.replace('_', ' ')}: {LOOKS[how].label}", colour=colour)
    for llm, colour in _FOUNDATIONS.items()
    for how in SUPERVISIONS
}

LOOKS |= {  # an adapter's colour, with marker and dash of what stands before slots
    f"{adapter}_{how}": LOOKS[f"mlp_{how}"]._replace(
        label=LOOKS[f"mlp_{how}"].label.replace("MLP", LOOKS[adapter].label), colour=LOOKS[adapter].colour
    )
    for adapter in ("cnn", "linear", "transformer")
    for how in ("ctc", "both")
}


def look(variant: str) -> Look:
    """Label, colour, marker and dash of a variant; the same in every figure and on every machine."""
    if variant in LOOKS:
        return LOOKS[variant]
    colours, markers = ("#CC79A7", "#999999", "#000000"), ("P", "h", "<", ">", "*", "p")
    dashes = (_SOLID, _DASHED, _DOTTED, _DASH_DOT, _LONG)
    i = crc32(variant.encode())
    return Look(
        variant.replace("_", " "),
        colours[i % len(colours)],
        markers[i // 7 % len(markers)],
        dashes[i // 61 % len(dashes)],
    )
