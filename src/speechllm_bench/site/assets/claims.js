"use strict";
// The ledger of claims, all effects in one figure, and what the site is.

Bench.pages = (() => {
  const { h, load, choice, cite, table, charts } = Bench;
  const KIND = { agrees: "good", "weak support": "good", disagrees: "bad", "weak contradiction": "bad", "no difference": "mixed", inconclusive: "mixed" };
  const kind = (verdict) => KIND[verdict] ?? "none";
  const pill = (text, verdict = text) => h("span", { class: `verdict ${kind(verdict)}` }, text);

  // Other scores by which a difference has the other sign, as words, or nothing.
  const against = (row) => row.reversed_by && `reversed by ${row.reversed_by}`;

  async function claims(state, again) {
    const { claims: all, papers, profiles } = await load("index"), names = Object.keys(profiles);
    const parts = Object.entries(papers).map(([paper, about]) => {
      const own = all.filter((row) => row.paper === paper);
      const of = (test) => grouped(own.filter(test));
      const lead = (heading) => [{ key: "said", heading, text: true, long: true, of: ([row]) => row.reported_as, cell: ([row]) => [row.reported_as, row.condition && h("div", { class: "quiet small" }, row.condition)] }];
      const behind = [{ key: "where", heading: "Where", text: true, of: (rows) => rows[0].where }];
      const figures = of((row) => row.value !== null), said = of((row) => row.value === null);
      const reported = { key: "reported", heading: "Reported", of: (rows) => rows[0].value, cell: ([row]) => `${row.value}${row.to !== null ? ` to ${row.to}` : ""}` };
      const measured = names.map((name) => {
        const first = (rows) => rows.find((row) => row.profile === name && row.measured !== null);
        return { key: name, heading: `Measured, ${name}`, of: (rows) => first(rows)?.measured, cell: (rows) => { const row = first(rows); return row ? cite.number(row.number, row.shown) : h("span", { class: "quiet" }, rows.find((one) => one.profile === name)?.verdict ?? "–"); } };
      });
      const tested = names.map((name) => {
        const mine = (rows) => rows.filter((row) => row.profile === name);
        return { key: name, heading: name, text: true, of: (rows) => mine(rows).map((row) => row.verdict).join(), cell: (rows) => verdicts(mine(rows)) };
      });
      return [
        h("h2", {}, about, ": ", h("a", { href: `https://arxiv.org/abs/${paper}` }, paper)),
        said.length > 0 && table({ caption: `Claims of ${about}`, columns: [...lead("Claim"), ...tested, ...behind], rows: said }),
        figures.length > 0 && [h("h3", {}, "Figures that the paper reports"), table({ caption: `Figures of ${about}`, columns: [...lead("Figure"), reported, ...measured, ...behind], rows: figures })],
      ];
    });
    return h("div", {},
      h("h1", {}, "What the papers report, and what was found here"),
      h("p", {}, "Each claim has a verdict for every comparison that tests it, at each profile. A profile is a scale of models and data. The papers' figures come from their models and data, and ours from small models and synthetic calls. Only profile paper attempts the same numbers.",
        all.some(against) && " “Reversed by” names other scores of the same answers by which the difference lies on the other side of 0, with its whole interval."),
      counts(all, profiles), parts);
  }

  // A line a comparison with its number; those without one are counted by their verdict.
  function verdicts(rows) {
    const bare = new Map();
    for (const row of rows) if (row.measured === null) bare.set(row.verdict, (bare.get(row.verdict) ?? 0) + 1);
    return [
      rows.filter((row) => row.measured !== null).map((row) => h("div", {}, pill(row.verdict), " ", cite.number(row.number, row.shown), against(row) && h("div", { class: "quiet small" }, against(row)))),
      [...bare].map(([verdict, n]) => h("div", {}, pill(n > 1 ? `${n} ${verdict}` : verdict, verdict))),
    ];
  }

  function grouped(rows) {
    const found = new Map();
    for (const row of rows) found.set(row.id, [...(found.get(row.id) ?? []), row]);
    return [...found.values()];
  }

  function counts(all, profiles) {
    return h("p", { class: "small" }, Object.keys(profiles).map((name) => {
      const mine = all.filter((row) => row.profile === name && row.value === null), verdicts = mine.map((row) => row.verdict), turned = mine.filter(against).length;
      const distinct = [...new Set(verdicts)].sort((a, b) => verdicts.filter((v) => v === b).length - verdicts.filter((v) => v === a).length);
      return [h("strong", {}, name), ` (${profiles[name].note}): `, distinct.map((one, i) => [i ? ", " : "", `${verdicts.filter((v) => v === one).length} `, pill(one)]), turned > 0 && `; other scores reverse ${turned} of the differences`, h("br")];
    }));
  }

  async function effects(state, again) {
    const { effects: all, profiles, studies } = await load("index"), names = Object.keys(profiles).filter((name) => all.some((one) => one.profile === name));
    const profile = names.includes(state.profile) ? state.profile : names[0], mine = all.filter((one) => one.profile === profile);
    const titles = Object.fromEntries(studies.map((one) => [one.study, one.title])), study = state.study ?? "all", order = state.order ?? "study", verdict = state.verdict ?? "all";
    const rows = mine.filter((one) => (study === "all" || one.study === study) && (verdict === "all" || one.verdict === verdict))
      .map((one) => ({ ...one, label: `${titles[one.study]}: ${one.shown}`, short: `${one.study}: ${one.shown}`, kind: kind(one.verdict), hollow: Boolean(one.reversed_by), about: [`${one.claim} (${one.source}): ${one.verdict}`, against(one)].filter(Boolean).join("; ") }));
    if (order === "effect") rows.sort((a, b) => b.value - a.value);
    const set = (key) => (value) => again({ ...state, [key]: value });
    const columns = [
      { key: "compared", heading: "Compared", text: true, long: true, of: (row) => row.label, cell: (row) => [h("a", { href: `#/study/${row.profile}/${row.study}` }, titles[row.study]), ": ", row.shown, h("br"), h("code", { class: "quiet small" }, row.compared)] },
      { key: "difference", heading: "Difference", of: (row) => row.value, cell: (row) => cite.number(row.id, `${Bench.signed(row.value, true)} [${Bench.signed(row.low, true)}, ${Bench.signed(row.high, true)}]`, row.marks) },
      { key: "p", heading: "p (Holm)", of: (row) => row.p, cell: (row) => (row.p === null ? "–" : Bench.stats.pShown(row.p)) },
      { key: "verdict", heading: "Verdict", text: true, of: (row) => row.verdict, cell: (row) => pill(row.verdict) },
      { key: "reversed", heading: "Reversed by", text: true, of: (row) => row.reversed_by ?? "–", hidden: !rows.some(against) },
      { key: "seeds", heading: "Seeds", of: (row) => row.seeds, hidden: true },
      { key: "claim", heading: "Claim of the paper", text: true, of: (row) => row.claim, hidden: true },
      { key: "source", heading: "Where", text: true, of: (row) => row.source, hidden: true },
    ];
    return h("div", {},
      h("h1", {}, "All effects"),
      h("p", {}, "Each line is a paired difference that tests a claim, with its 95 % interval, in the task's main metric. The side that the claim puts ahead comes first. A click opens the number."),
      h("div", { class: "choices" }, choice("Profile", names, profile, set("profile")),
        choice("Study", [["all", "all studies"], ...studies.filter((about) => mine.some((one) => one.study === about.study)).map((one) => [one.study, one.title])], study, set("study")),
        choice("Verdict", [["all", "all verdicts"], ...new Set(mine.map((one) => one.verdict))], verdict, set("verdict")),
        choice("Order", [["study", "by study"], ["effect", "by effect"]], order, set("order"))),
      rows.length ? charts.forest(rows, { axis: "difference", least: Bench.stats.LEAST_DIFFERENCE, open: (row) => cite.show(row.id),
        caption: `${rows.length} difference${rows.length === 1 ? "" : "s"} at profile ${profile}. Within the band a difference is too small to be called one. Green: the claim is supported. Red: it is contradicted.${rows.some(against) ? " Hollow: other scores reverse the difference." : ""}` }) : h("p", {}, "No effect has this verdict."),
      h("h2", {}, "The same as a table"),
      table({ caption: "All effects", columns, rows }));
  }

  async function about() {
    const { profiles, libraries } = await load("index");
    return h("div", {},
      h("h1", {}, "About these pages"),
      h("p", {}, "They are made from stored records by ", h("code", {}, "make site"), ", and need no server and no network. Intervals on the Compare page are computed by the browser, on the draws that the suite itself makes, and agree with its own to 1e-9."),
      h("h2", {}, "Profiles"), h("dl", {}, Object.entries(profiles).map(([name, one]) => [h("dt", {}, h("strong", {}, name)), h("dd", {}, one.note)])),
      h("h2", {}, "Keyboard"), h("p", {}, "Tab moves between controls; a table's numbers are one stop. In a table the arrow keys move between numbers, and Enter opens one. Escape closes it."),
      h("h2", {}, "Libraries"), h("ul", {}, libraries.map((one) => h("li", {}, `${one.package} ${one.version}, licence ${one.licence} (`, h("a", { href: `vendor/${one.licence_file}` }, "text"), ")"))));
  }

  return { claims, effects, about };
})();
