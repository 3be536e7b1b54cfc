"""Export of a trained run as a folder for peft, or to the Hugging Face hub: LoRA, speech adapter, model card.

`adapter_config.json` and `adapter_model.safetensors` are peft's own files. peft loads them without this
suite, on the LLM that the card names. `speech_adapter.safetensors` has the weights between encoder and LLM,
and `speech_adapter.json` their settings.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from speechllm_bench import stats
from speechllm_bench.commands import asking
from speechllm_bench.errors import UserError
from speechllm_bench.evaluation import score, versions
from speechllm_bench.fetch.pinned import pins
from speechllm_bench.planning import studies
from speechllm_bench.planning.studies import Run
from speechllm_bench.storage import numbers, paths, runs, sealed
from speechllm_bench.storage.schema import Interval
from speechllm_bench.storage.status import Status

LICENSE = "cc-by-4.0"  # of weights that this project makes (LICENSE-DATA)
CARD = """---
{{{{ card_data }}}}
---

# {name}

{what}, trained by the benchmark suite speechllm-bench for its study `{study}` at profile `{profile}`, seed
{seed}. The study asks: {question} ({paper})

| | |
|---|---|
| LLM | `{llm}`{trained_on} |
| speech encoder | `{encoder}`, audio {padding} |
| trained parameters | {parameters} |
| run | `{digest}`, stages {stages} |
| commit | {commit} |

## Numbers

{numbers}

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

llm = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{llm}"), "{place}")
```

{adapter}
"""


def publish(run: Run, name: str) -> str:
    """Export into the hub's repository `name` (owner/model), which is created if missing. Return its address.

    The token is huggingface_hub's own (`hf auth login`, HF_TOKEN). Raises UserError as `export` does, for an
    invalid name, and where the hub is not reached or refuses.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    if constants.is_offline_mode():
        raise UserError(f"{name} cannot be written: HF_HUB_OFFLINE is set; unset it and start again")
    if "/" not in name:
        raise UserError(f"'{name}' is not the name of a hub repository; write owner/model")
    hub = HfApi()
    with tempfile.TemporaryDirectory() as made:
        folder = export(run, Path(made) / "export", place=name)
        try:
            address = hub.create_repo(name, exist_ok=True)
            message = f"{run.name}, run {run.digest}"
            hub.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except HFValidationError:
            raise UserError(f"'{name}' is not the name of a hub repository; write owner/model") from None
        except HfHubHTTPError as error:
            code = error.response.status_code
            why = "you are not logged in; run `hf auth login`" if code == 401 else f"it answers {code}"
            raise UserError(f"{hub.endpoint} refuses {name}: {why}") from None
        except (HTTPError, OSError) as error:  # connection errors
            raise UserError(f"{hub.endpoint} is not reached ({error}); try again once it is") from None
    return str(address)


def export(run: Run, folder: Path, place: str = "FOLDER") -> Path:
    """Write the export folder, completely or not at all, and return it. place: the
    location that the card names.

    Raises UserError where the run has no LoRA, tunes a part of an audio LLM or has no weights, and
    where `folder` is not empty.
    """
    if run.config.lora is None:
        raise UserError(
            f"{run.name} has no LoRA, so there is nothing that peft could load; export a variant with it"
        )
    if run.config.audio_llm:
        raise UserError(f"{run.name} tunes a part of an audio LLM, which peft cannot load alone")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; name a new folder")
    from safetensors.torch import save_file

    model, _ = asking.trained(run)
    with runs.whole_folder(folder) as temporary:
        model.llm.peft_config["default"].base_model_name_or_path = _public(run.config.llm)
        model.llm.save_pretrained(temporary, save_embedding_layers=False)
        if model.adapter:
            weights = {name: w.contiguous().cpu() for name, w in model.adapter.state_dict().items()}
            save_file(weights, temporary / "speech_adapter.safetensors")
            runs.write_json(temporary / "speech_adapter.json", _hearing(run))
        page = temporary / "README.md"
        page.write_text(card(run, place), "utf-8")
        for weights_file in temporary.glob("*.safetensors"):  # safetensors writes them for their owner alone
            weights_file.chmod(page.stat().st_mode)
    return folder


def card(run: Run, place: str = "FOLDER") -> str:
    """Return the model card, with the run's scores if it has been evaluated."""
    from huggingface_hub import ModelCard, ModelCardData

    study = studies.load(run.study, run.profile)[0]
    record, scored = _records(run)
    data = ModelCardData(
        base_model=_public(run.config.llm),
        library_name="peft",
        license=LICENSE,
        language="en",
        tags=["speech", "slot-filling", "lora", "speechllm-bench"],
        model_name=f"{run.study}-{run.variant}",
        eval_results=_results(run, scored),
    )
    trained = record.get("trained_parameters")
    heard = run.config.adapter is not None
    text = CARD.format(
        name=f"{run.study} {run.variant}",
        what="A SpeechLLM: a speech adapter and LoRA" if heard else "LoRA of a text LLM",
        study=run.study,
        paper="no paper" if study.paper == "none" else f"arXiv:{study.paper}",
        profile=run.profile,
        seed=run.seed,
        question=study.question,
        llm=_public(run.config.llm),
        trained_on=_trained_on(run.config.llm),
        encoder=run.config.encoder.path if heard else "none",
        padding=run.config.encoder.padding if heard else "is read as text",
        parameters="unknown" if trained is None else f"{trained:,}",
        digest=run.digest,
        stages=", ".join(f"`{stage}`" for stage in run.stages),
        commit=record.get("environment", {}).get("commit") or "unknown",
        numbers=_table(run, scored),
        adapter=_said_of_adapter(run) if heard else "",
        place=place,
    )
    return str(ModelCard(text.replace("{{ card_data }}", data.to_yaml())))


def _public(llm: str) -> str:
    """Return the name of a fetched LLM on the hub, where others find it. Other LLMs keep theirs."""
    fetched = pins().folders.get(Path(llm).name) if Path(llm).parent.name == "fetched" else None
    return (fetched and fetched.hub) or llm


def _trained_on(llm: str) -> str:
    if _public(llm) == llm:
        return ""
    return f"; trained on `{llm}` of `speechllm-bench fetch`, whose values differ slightly"


def _hearing(run: Run) -> dict:
    """Return the settings of the speech adapter, its encoder and the frame rate."""
    config = run.config
    assert config.adapter
    made = config.adapter.model_dump(exclude_none=True)
    return {
        "adapter": made,
        "encoder": config.encoder.model_dump(),
        "frames_a_second": config.frames_a_second,
    }


def _said_of_adapter(run: Run) -> str:
    return (
        "`speech_adapter.safetensors` maps the encoder's frames to embeddings of the LLM; "
        f"`speech_adapter.json` has its settings. In this suite: `speechllm-bench ask {run.study} "
        f"{run.variant} FILE --profile {run.profile}`."
    )


def _records(run: Run) -> tuple[dict, dict | None]:
    """Return run.json, and the score as its profile shows it.

    Empty and None where the run is not evaluated. Raises UserError where a file is damaged.
    """
    found = paths.result_files(f"{run.profile}/runs/{run.digest}/run.json")
    if not found:
        return {}, None
    record = sealed.read(found[0], runs.DELETE_FOLDER)
    if record["status"] != Status.OK:
        return record, None
    scored = runs.read_json(found[0].with_name("score.json"), runs.DELETE_FOLDER)
    return record, versions.shown(scored, run.profile)


def _results(run: Run, scored: dict | None) -> list | None:
    """Return the main metric in the format of model cards on the hub."""
    from huggingface_hub import EvalResult

    if scored is None:
        return None
    metric, corpus = score.main_metric(scored), run.config.tested.name
    return [
        EvalResult(
            task_type="automatic-speech-recognition" if metric == "wer" else "token-classification",
            task_name=run.config.evaluation.task,
            dataset_type=corpus,
            dataset_name=f"{corpus} of speechllm-bench, profile {run.profile}",
            dataset_split=run.config.evaluation.split,
            metric_type=metric,
            metric_value=numbers.rounded(scored["metrics"][metric]["value"]),
        )
    ]


def _table(run: Run, scored: dict | None) -> str:
    if scored is None:
        return "This run has not been evaluated."
    found = {name: Interval(**values) for name, values in scored["metrics"].items()}
    lines = [f"| {name} | {stats.shown(one)} |" for name, one in found.items()]
    size = next(iter(found.values()))
    about = (
        f"On {run.config.evaluation.split}, {size.n} utterances of {size.n_speakers} speakers, of this seed "
        "alone; 95 % intervals over speakers."
    )
    return "\n".join([about, "", "| metric | value |", "|---|---|", *lines])
