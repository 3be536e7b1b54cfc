"""Greedy generation that drops finished rows from the batch.

Axes: B examples, N positions of the prompt, E embedding width. transformers' own `generate` computes every
row until the longest answer ends. The common prefix of the prompts is computed once for the batch. Answers
equal those of `generate` up to rounding, which may differ with the batch size. The steps of a Llama are
those of `llama_step.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from speechllm_bench.models.llama_step import step_of

LEAVE = 0.75
"""Finished rows are dropped once at most this share is unfinished, because dropping copies the cache."""


def decode_greedily(
    llm: PreTrainedModel,
    embedded: Tensor,
    attended: Tensor,
    max_new_tokens: int,
    ends: Sequence[int],
    pad: int,
    shared: int = 0,
) -> Tensor:
    """Return (B, new tokens) int64: the likeliest token at each step, and `pad` after the first of `ends`.

    embedded: (B, N, E); no row ends with padding. attended: (B, N) int64, 1 where there is no padding.
    shared: the number of first positions that are equal in all rows.
    """
    device, n_rows = embedded.device, len(embedded)
    said = torch.full((n_rows, max_new_tokens), pad, device=device)
    ending = torch.tensor(list(ends), device=device)
    rows = torch.arange(n_rows, device=device)  # indices into `said` of the rows that are still computed
    going = torch.ones(n_rows, dtype=torch.bool, device=device)  # which of `rows` have not ended
    places = (attended.cumsum(1) - 1).clamp(min=0)  # (B, N)
    cache: Any = None  # transformers makes it
    if shared:
        first = llm(inputs_embeds=embedded[:1, :shared], use_cache=True, logits_to_keep=1)
        cache = first.past_key_values
        cache.batch_repeat_interleave(n_rows)

    def read(**new: Tensor) -> Tensor:  # returns logits (rows, V)
        nonlocal cache
        told = {"attention_mask": attended, "past_key_values": cache, "position_ids": places}
        found = llm(**new, **told, use_cache=True, logits_to_keep=1)
        cache = found.past_key_values
        return found.logits[:, -1]

    last, places = places[:, -1:], places[:, shared:]
    logits = read(inputs_embeds=embedded[:, shared:])
    lean = step_of(llm, cache, max_new_tokens - 1)  # None: transformers takes the steps too
    places = last
    for step in range(max_new_tokens):
        tokens = logits.float().argmax(-1)  # (rows,)
        said[rows[going], step] = tokens[going]
        going &= ~torch.isin(tokens, ending)
        n_going = int(going.sum())
        if not n_going or step + 1 == max_new_tokens:
            break
        if n_going <= LEAVE * len(rows):
            stay = going.nonzero()[:, 0]
            (lean.select if lean else cache.batch_select_indices)(stay)
            rows, tokens, places, attended = rows[stay], tokens[stay], places[stay], attended[stay]
            going = going[stay]
        places = places + 1
        attended = torch.cat([attended, attended.new_ones(len(rows), 1)], dim=1)
        logits = lean(tokens, places, attended) if lean else read(input_ids=tokens[:, None])
    return said[:, : step + 1]
