"use strict";
// The turns that one of two variants answers right and the other does not, to read and to hear.

Bench.flips = (() => {
  const { h, load, choice } = Bench;
  const AT_ONCE = 20;
  const KINDS = {
    gained: ["second right, first wrong", (a, b) => !a && b],
    lost: ["first right, second wrong", (a, b) => a && !b],
    flipped: ["all that flipped", (a, b) => a !== b],
    neither: ["both wrong", (a, b) => !a && !b],
  };

  async function view(data, state, again) {
    const place = h("div"), systems = data.systems;
    const groups = data.groups.filter((group) => Bench.among(data, group.label).names.length > 1);
    if (!groups.length) return h("p", {}, "No two variants of this study answered the same questions.");
    const { group, names } = Bench.among(data, state.set, groups);
    const first = names.includes(state.first) ? state.first : Bench.base(data, names);
    const second = names.includes(state.second) && state.second !== first ? state.second : best(data, names, first);
    const kind = KINDS[state.kind] ? state.kind : "gained";
    const named = names.map((name) => [name, Bench.named(data, name)]);
    const set = (key) => (value) => again({ ...state, set: group.label, first, second, kind, [key]: value });
    const [a, b, turns] = await Promise.all([answers(data, first), answers(data, second), asked(data, systems[first].turns)]);
    const places = [...a.right].map((_, i) => i).filter((i) => KINDS[kind][1](a.right[i] === "1", b.right[i] === "1"));
    const count = (test) => [...a.right].filter((_, i) => test(a.right[i] === "1", b.right[i] === "1")).length;
    const list = h("div", { class: "turns" }), more = h("button", { class: "plain", type: "button", click: () => put() }, "More");
    let shown = 0;
    function put() {
      for (const i of places.slice(shown, shown + AT_ONCE)) list.append(card(turns, i, [[first, a], [second, b]]));
      shown += AT_ONCE;
      more.hidden = shown >= places.length;
    }
    put();
    place.append(
      h("div", { class: "choices" }, choice("Test set", groups.map((one) => one.label), group.label, set("set")), choice("First", named, first, set("first")),
        choice("Second", named, second, set("second")),
        choice("Show", Object.entries(KINDS).map(([key, [text, test]]) => [key, `${text} (${count(test)})`]), kind, set("kind"))),
      h("p", { class: "quiet small" }, `An answer is right when nothing is missing and nothing is too much. Answers are of seed ${systems[first].seeds[0]} of `,
        `${first} and seed ${systems[second].seeds[0]} of ${second}. `, turns.audio.some(Boolean) ? "" : "The sound of these turns is not shipped."),
      list, more,
    );
    return place;
  }

  // What is asked and wanted in the turns of a test set, with what is said there.
  async function asked(data, name) {
    const made = await load(`${data.profile}/turns/${name}`);
    return { ...(await load(made.said)), ...made };
  }

  function best(data, names, first) {
    const { rows } = data, scored = (name) => {
      const row = rows.find((one) => one.table === data.study && one.name === name), main = data.groups[data.systems[name].group].main;
      const value = row?.cells[main]?.[1] ?? -Infinity;
      return data.metrics[main]?.lower ? -value : value;
    };
    return names.filter((name) => name !== first && !data.systems[name].floor).sort((a, b) => scored(b) - scored(a))[0] ?? names.find((name) => name !== first);
  }

  const answers = (data, name) => Bench.answers(data.profile, data.systems[name].runs[0], data.systems[name].turns);

  // The text of an answer that stands as its values of the slots asked for (run_answers.short): 0 for a slot without one, 1 for the wanted one.
  function said(answer, turns, i) {
    if (typeof answer === "string") return answer;
    const names = turns.asked[i].split(", "), wanted = JSON.parse(turns.golds[i]);
    const parts = names.map((name, j) => answer[j] !== 0 && `${JSON.stringify(name)}: ${JSON.stringify(answer[j] === 1 ? wanted[name] : answer[j])}`);
    return `{${parts.filter(Boolean).join(", ")}}`;
  }

  function card(turns, i, pairs) {
    return h("article", { class: "turn" },
      h("blockquote", {}, `“${turns.transcripts[i]}”`),
      turns.audio[i] && h("audio", { controls: true, preload: "none", src: turns.audio[i] }),
      h("dl", {},
        turns.asked[i] && [h("dt", {}, "asked for"), h("dd", {}, turns.asked[i])],
        h("dt", {}, "wanted"), h("dd", {}, turns.golds[i]),
        pairs.map(([name, one]) => [h("dt", {}, name), h("dd", { class: one.right[i] === "1" ? "right" : "wrong" }, said(one.raw[i], turns, i) || "(nothing)")])),
      h("span", { class: "quiet small" }, `${turns.utterances[i]}, speaker ${turns.speakers[i]}`));
  }

  return { view };
})();
