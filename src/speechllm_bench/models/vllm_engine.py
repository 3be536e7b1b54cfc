"""Greedy decoding of an evaluation by vLLM, from prompt embeddings (`decoding.engine: vllm`).

vLLM reads the LLM, with LoRA merged, from a scratch folder. The adapter and the LLM's embeddings stay in this
process and compute the prompts. NOT RUN on a GPU: the tests use a stand-in with vLLM's interface.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import traceback
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from speechllm_bench.errors import UserError
from speechllm_bench.models.chat import answer_ends
from speechllm_bench.models.decoding import decode, prediction
from speechllm_bench.models.inputs import collate, prompt_tokens
from speechllm_bench.models.speech_llm import SpeechLLM
from speechllm_bench.storage import paths
from speechllm_bench.storage.leftovers import scratch
from speechllm_bench.storage.schema import Example, Prediction, Utterance

PACKAGE = "vllm"
COMPARED = 50
"""Number of answers, the first of the split, that the suite's own decoding gives as well."""
CHUNK = 1024
"""Prompts per call. Their embeddings are in memory at once: about 1 GiB at 1 B parameters."""
FREE = 0.9
"""Share of the GPU's free memory that vLLM takes. The rest is for batches of prompts."""


def refuse_unfit() -> None:
    """Raise UserError without a CUDA GPU or without the package."""
    if not torch.cuda.is_available():
        raise UserError(
            "decoding.engine vllm needs a CUDA GPU, and there is none here; set decoding.engine to null"
        )
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            f"decoding.engine vllm needs the package {PACKAGE}; `pip install 'speechllm-bench[{PACKAGE}]'`"
        )


def decode_by_vllm(
    model: SpeechLLM,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    utterances: Sequence[Utterance],
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: Callable[[float], None] = lambda share: None,
    **heard: Any,
) -> tuple[list[Prediction], float]:
    """Return predictions as `decode` does, and the share of the first `COMPARED` that are those of `decode`.

    heard: `frames` or `transcripts`, as in `decode`. Raises UserError on an unfit machine.
    """
    refuse_unfit()
    kind, given = next((kind, given) for kind, given in heard.items() if given is not None)
    first, few = {kind: given[:COMPARED]}, (examples[:COMPARED], utterances[:COMPARED])
    own = decode(model, tokenizer, *few, **first, batch_size=batch_size, max_new_tokens=max_new_tokens)
    longest = max_new_tokens + longest_prompt(model, tokenizer, examples, kind, given)
    longest = min(longest, model.llm.config.max_position_embeddings)  # vLLM refuses to go beyond
    ends, device, training = answer_ends(tokenizer, model.llm), model.llm.device, model.training

    def prompts(start: int, stop: int) -> list[dict[str, Tensor]]:
        """Return the embeddings (N, E) of each prompt, without padding."""
        batch = collate(
            tokenizer, examples[start:stop], **{kind: given[start:stop]},
            speech_tokens=model.speech_tokens, with_answer=False,
        ).to(device)  # fmt: skip
        with torch.inference_mode(), model.arithmetic():
            embedded = model.embeddings(batch)  # (B, N, E)
        return [{"prompt_embeds": row[real].cpu()} for row, real in zip(embedded, batch.attended)]

    said: list[Prediction] = []
    engine = None
    dtype = torch.float32 if model.in_fp32 else torch.bfloat16
    with scratch(paths.cache() / "vllm", "llm") as folder:
        try:
            model.eval().to("cpu")  # vLLM needs the memory
            save_merged(model.llm, dtype, folder)
            tokenizer.save_pretrained(folder)
            for part in filter(None, (model.adapter, model.llm.get_input_embeddings())):
                part.to(device)
            vllm = importlib.import_module(PACKAGE)
            engine = vllm.LLM(
                model=str(folder), dtype=str(dtype).removeprefix("torch."), enable_prompt_embeds=True,
                max_model_len=longest, gpu_memory_utilization=memory_share(),
            )  # fmt: skip
            settings = {"max_tokens": max_new_tokens, "stop_token_ids": ends, "detokenize": False}
            greedy = vllm.SamplingParams(temperature=0, **settings)
            for start in range(0, len(examples), CHUNK):
                stop = min(start + CHUNK, len(examples))
                batches = [prompts(i, min(i + batch_size, stop)) for i in range(start, stop, batch_size)]
                answers = engine.generate(list(chain(*batches)), greedy, use_tqdm=False)
                for i, answer in enumerate(answers, start):
                    ids = list(answer.outputs[0].token_ids)  # with the end token
                    said.append(prediction(tokenizer, examples[i], utterances[i], ids, ends))
                progress(stop / len(examples))
        except BaseException as error:
            _forget_frames(error)
            raise
        finally:
            engine = None  # frees the GPU's memory, which the model needs
            model.to(device).train(training)
    return said, sum(a.raw == b.raw for a, b in zip(own, said)) / max(1, len(own))


def _forget_frames(error: BaseException | None) -> None:
    """Delete the variables of the frames that raised an error. Those of vLLM hold the engine."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def longest_prompt(model: SpeechLLM, tokenizer, examples: Sequence[Example], kind: str, given) -> int:
    """Return an upper bound on the length of the prompts, in positions."""
    tokens = model.speech_tokens if kind == "frames" else lambda n: n
    assert tokens
    lengths = map(len, given if kind == "frames" else (tokenizer(" " + text)["input_ids"] for text in given))
    return prompt_tokens(tokenizer, examples, spoken=kind == "frames").max + max(map(tokens, lengths))


def save_merged(llm: PreTrainedModel, dtype: torch.dtype, folder: Path) -> None:
    """Write the LLM's folder as safetensors. LoRA is merged in fp32, and the sum is rounded once."""
    if isinstance(llm, PeftModel):
        llm = copy.deepcopy(llm).float().merge_and_unload().to(dtype)
    llm.save_pretrained(folder)


def memory_share() -> float:
    """Return the share of the GPU's memory that vLLM may take: `FREE` of what is free."""
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return round(FREE * free / total, 3)
