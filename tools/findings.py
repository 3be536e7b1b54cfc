"""Generates docs/findings.md: three sentences per study, and the verdicts of profile `mini` on the claims.

No number is typed by hand. Sentences name variants of a study in braces, and its recorded table gives their
main metric. Where there are none, or one names a variant without a score, the page says what was run.
"""

from __future__ import annotations

from collections.abc import Collection

import front
import papers

PROFILE = front.PROFILES[-1]
SENTENCES = {
    "adapter_size": (
        "With a frozen LLM no adapter is above the floor of {whole_transcript}. The best one, the MLP "
        "after twice the slots, has {mlp_long}. So the order of adapters in the paper is not testable "
        "here."
    ),
    "adapter_sweep": (
        "From its smallest to its largest size the MLP adapter goes from {mlp_small} to {mlp_large}. No "
        "size of any adapter is above the floor of {whole_transcript}. On a twentieth of the turns the "
        "largest MLP has {mlp_large_few}, so fewer turns do not lower it."
    ),
    "baselines": (
        "The text LLM on gold transcripts is first, with {gold}. The cascade has {cascade} and the "
        "SpeechLLM {speechllm}; in the paper the SpeechLLM is ahead of the cascade. On unseen slot types "
        "neither is above the floor of {whole_transcript_b_ood}."
    ),
    "lora": (
        "LoRA raises F1 behind the MLP adapter from {mlp} to {mlp_lora}, as the paper finds. Behind the "
        "CNN it raises F1 by as much, from {cnn} to {cnn_lora}. In the paper the CNN gains more. Behind the "
        "Transformer it helps if the adapter keeps its own learning rate: F1 is "
        "{transformer_lora_own_rate}."
    ),
    "multistage": (
        "Transcription before slots raises F1 from {single} to {multistage_c}, as the paper finds. Slots "
        "alone, for as many examples in all, have {single_long}. Both tasks at once have {joint}."
    ),
    "foundation_model": (
        "The tuned audio LLM is ahead of the composite, with {audio_llm} against {composite}, as the "
        "paper finds. At the composite's size its pre-training alone raises F1 from {composite_25} to "
        "{audio_llm_small}. On unseen slot types neither is above the floor of {whole_transcript_b_ood}."
    ),
    "multitask": (
        "Other speech tasks beside slots lower F1 from {slots} to {all}. As many further examples of "
        "slots alone raise it to {slots_long}. On unseen slot types, where the paper finds a gain, no "
        "variant is above the floor of {whole_transcript_b_ood}."
    ),
    "generalization": (
        "On unseen slot types the cascade has {cascade_b_ood}, below the floor of "
        "{whole_transcript_b_ood}. A KL term that keeps the SpeechLLM close to its text LLM reaches "
        "{distilled_b_ood} there, below it too. On seen types that term lowers F1 from {speechllm} to "
        "{distilled}."
    ),
    "context": (
        "Five distractors in place of one lower F1 from {distractors_1} to {distractors_5}. Descriptions "
        "of slots lower it to {described} in a model that never met them in training. Three turns of "
        "dialogue change it from {context_0} to {context_3}, which is inconclusive."
    ),
    "stability": (
        "At twice the profile's learning rate the Transformer adapter ends at {full_20}. Half that rate "
        "ends at {half_20}, and normalising first at {pre_norm_full_20}. All are below the floor of "
        "{whole_transcript}, so no remedy can be judged."
    ),
    "reasoning_mode": (
        "A trace before the answer lowers F1 from {regular} to {reasoning}; the paper finds a loss up to "
        "4 B parameters. Hybrid supervision has {hybrid_no_think} without a trace, so it does not beat "
        "regular supervision. With a trace it has {hybrid_think}, below the floor of {whole_transcript}."
    ),
    "hybrid_matched": (
        "Hybrid supervision on both sets has {hybrid_merged_no_think}, and regular supervision on half as "
        "many examples {regular}. At equal tokens of the answers regular supervision has "
        "{regular_tokens}. Both contradict the paper weakly, on one seed."
    ),
    "reasoning_scale": (
        "Without a trace the largest LLM has {mini_regular}, and one of a quarter of its size "
        "{micro_regular}. The smallest has {nano_regular}. Of all variants only the first is above the "
        "floor of {whole_transcript}, so the question of scale is not testable here."
    ),
    "foundation_type": (
        "Without a trace the instruction-tuned LLM has {instruct_regular}, and the hybrid "
        "{hybrid_regular}. The LLM made to reason has {reasoning_regular}, below the floor of "
        "{whole_transcript}. The paper makes its claims for 8 B parameters, so they are not testable "
        "here."
    ),
    "trace_ablation": (
        "A transcript before the answer lowers F1 from {regular} to {transcript}. Mentions after it "
        "leave F1 at {mentions}. Reasons after both lower it to {justification}."
    ),
    "reasoning_ood": (
        "On unseen slot types all variants are near zero; the best has {hybrid_no_think_b_ood}. The floor "
        "there is {whole_transcript_b_ood}, so no claim is testable. On seen types of other companies a "
        "trace lowers F1 from {regular_b_id} to {reasoning_b_id}."
    ),
    "sense": (
        "LoRA raises the F1 of entities from {ner} to {ner_lora}, as the paper finds. It lowers the word "
        "error rate from {transcription} to {transcription_lora}. The classifier changes neither: with it "
        "the F1 of entities is {ner_classifier}."
    ),
    "sense_classifier": (
        "Without the classifier the F1 of entities is {a_0}. With the paper's share of it in the loss it "
        "is {a_20}. No share from 0.1 to 0.4 is shown to change it."
    ),
    "sense_decoding": (
        "Five beams lower the word error rate from {transcription_greedy} to {transcription_beam_5}. They "
        "raise the F1 of entities from {ner_greedy} to {ner_beam_5}. Decoding takes about ten to twenty "
        "times as long."
    ),
    "sense_pooling": (
        "Half the paper's pooled steps raise the word error rate from {transcription_250} to "
        "{transcription_125}. The F1 of entities goes from {ner_250} to {ner_125}, which is inconclusive. "
        "With twice the steps it is {ner_500}, inconclusive as well."
    ),
    "sense_llm_size": (
        "An LLM of a quarter of the size lowers the F1 of entities from {ner_mini} to {ner_micro}. The "
        "word error rate goes from {transcription_mini} to {transcription_micro}, which is inconclusive. "
        "Both rest on one seed."
    ),
    "synthetic_ner": (
        "A stage on filtered labels before gold raises the F1 of entities from {none} to {filtered_20}, "
        "which is inconclusive. A second stage on gold reaches {noise_0}. Labels without gold reach "
        "{alone_20}."
    ),
    "cross_lingual": (
        "On Spanish and French speech the F1 of entities is {ner_es}. The word error rate is "
        "{transcription_es} in Spanish and {transcription_fr} in French. A stage on synthetic entities "
        "changes nothing there."
    ),
    "sense_learning_rate": (
        "The sweep looks at validation alone. The adapter's best rate, which the profile takes, has a "
        "word error rate of {adapter_1}. LoRA's best rate has an F1 of entities of {lora_1}."
    ),
    "backbones": (
        "The embedded LLM on gold transcripts has {text}. The SpeechLLM with everything switched on has "
        "{composite}. Untuned, the LLM has {untuned}."
    ),
}
"""Three sentences per study. Values are F1 of slots on test set A unless a sentence names something else."""


def slot_filling() -> str:
    return _of_paper("2510.15851")


def reasoning() -> str:
    return _of_paper("2510.19326")


def sense() -> str:
    return _of_paper("2509.04473")


def ours() -> str:
    return _of_paper("none")


def _unsaid(rows: Collection[str], ran: set[str], floors: set[str]) -> str:
    """Return what was run of a study without sentences, or with a row missing that they need."""
    if not ran - floors:
        return f"**NOT RUN** at this profile{', except for the floors' if floors else ''}."
    return f"The table has the {len(ran)} of {len(rows)} variants that were run at this profile."


def _of_paper(paper: str) -> str:
    """Return the sentences of the paper's studies with links to their tables, then a table of all claims."""
    parts, claims = [], []
    for of, study in papers.in_order():
        if of == paper:
            rows = front.rows_of(PROFILE, study.study)
            ran = {name for name, row in rows.items() if row["seeds"]}
            floors = {name for name in ran if study.variant(name).evaluation.answerer != "model"}
            said = front.filled(SENTENCES.get(study.study, ""), rows) or _unsaid(rows, ran, floors)
            seeds = max((int(float(rows[name]["seeds"])) for name in ran - floors), default=0)
            rests_on = f"{seeds} seed{'s' * (seeds > 1)} per variant" if seeds else "no runs"
            table = f"results/{PROFILE}/tables/{study.study}.md"
            link = f", [table](../{table})" if (front.PROJECT / table).is_file() else ""
            parts.append(f"**{study.title}** (`{study.study}`, {rests_on}{link}). {said}")
            claims += _claims(study.study)
    head = ["| Study | Claim | Compared | Difference | Verdict |", "|---|---|---|---|---|"]
    return "\n\n".join([*parts, *(["\n".join([*head, *claims])] if claims else [])])


def _claims(study: str) -> list[str]:
    """Return the judged rows of a recorded table of claims, without source and p."""
    file = front.PROJECT / "results" / PROFILE / "tables" / f"{study}_claims.md"
    if not file.is_file():
        return []
    lines = [line for line in file.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [
        f"| `{study}` | {claim} | {compared} | {difference} | {', reversed by '.join([verdict, *against])} |"
        for claim, _source, compared, difference, _p, verdict, *reversed_by in rows
        for against in [[names for names in reversed_by if names != "–"]]
        if verdict != "not run"
    ]
