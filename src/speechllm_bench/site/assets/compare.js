"use strict";
// Intervals of a study's variants against a chosen baseline, by test set, metric and slice.

Bench.compare = (() => {
  const { h, choice, cite, table, charts, stats, signed } = Bench;
  const ALL = "all turns";

  // Intervals of some variants by one metric: each one's, that of its difference to the baseline, and whether it is
  // not above the floors of F1.
  async function compared(data, group, all, baseline, metric, slice) {
    const about = data.metrics[metric], names = all.filter((name) => data.systems[name].metrics.includes(metric));
    const sums = {}, turns = {};
    await Promise.all(names.map(async (name) => {
      const system = data.systems[name];
      if (slice === ALL) { sums[name] = system.sums[about.counts]; return; }
      const runs = await Promise.all(system.runs.map((run) => Bench.answers(data.profile, run, system.turns)));
      if (runs.every((run) => run.slices[slice])) sums[name] = runs.map((run) => run.slices[slice]);
      turns[name] = runs[0].turns[slice];
    }));
    const speakers = Object.values(sums)[0][0].length, made = await stats.draws(speakers);
    const of = (chosen, weights, only = chosen.map((name) => sums[name])) => stats.contrast(
      only, weights, about.rule, made,
      stats.variance(chosen.map((name) => data.systems[name]), weights, about.pooled, data.share, only[0].length));
    const gap = (name, to) => { // over the seeds that both have
      const shared = data.systems[name].seeds.filter((seed) => data.systems[to].seeds.includes(seed));
      const pick = (one) => shared.map((seed) => sums[one][data.systems[one].seeds.indexOf(seed)]);
      return shared.length && sums[name] && sums[to] ? of([name, to], [1, -1], [pick(name), pick(to)]) : null;
    };
    const floors = metric === "f1" && metric === group.main ? names.filter((name) => data.systems[name].floor) : [];
    const rows = names.filter((name) => sums[name]).map((name) => {
      const own = of([name], [1]), { floor } = data.systems[name];
      own.low = Math.max(0, own.low);
      own.high = Math.min(about.most ?? Infinity, own.high);
      const under = floor ? [] : floors.map((one) => gap(name, one)).filter((found) => found && !(found.low > 0));
      return { name, own, difference: name === baseline ? null : gap(name, baseline), below: under.length > 0 };
    });
    const tested = rows.filter((row) => row.difference);
    stats.holm(tested.map((row) => row.difference.p)).forEach((p, i) => { tested[i].p = p; });
    for (const row of rows) {
      const alone = (one) => (data.systems[row.name].trained && one?.seeds === 1 ? "†" : "");
      const star = row.difference && stats.differs(row.difference, row.p, speakers) ? "*" : "";
      row.marks = { own: alone(row.own) + (row.below ? "‡" : ""), difference: star + alone(row.difference) };
    }
    return { rows, turns: slice === ALL ? group.n : turns[names[0]], speakers };
  }

  async function view(data, state, again) {
    const { group, names } = Bench.among(data, state.set);
    const base = Bench.base(data, names), baseline = names.includes(state.baseline) ? state.baseline : base;
    const { runs, turns: asked } = data.systems[baseline], { slices, labels } = await Bench.answers(data.profile, runs[0], asked);
    const slice = slices[state.slice] ? state.slice : ALL;
    const known = slice === ALL ? data.systems[baseline].metrics : [group.main];
    const metric = known.includes(state.metric) ? state.metric : group.main, about = data.metrics[metric];
    const found = await compared(data, group, names, baseline, metric, slice);
    const set = (key) => (value) => again({ ...state, set: group.label, baseline, metric, slice, [key]: value });
    const label = (name) => data.looks[name][0], where = `test set ${group.label}, ${labels[slice]}`;
    const rowOf = (name) => data.rows.find((row) => row.table === data.study && row.name === name);
    const range = (one, sign) => ` [${signed(one.low, sign)}, ${signed(one.high, sign)}]`;

    // A number as a button that opens what it rests on; one of a table has its id.
    function cell(one, name, marks, sign) {
      const row = rowOf(name), text = signed(one.value, sign) + range(one, sign);
      const column = !sign ? metric : baseline === base && metric === group.main ? "difference" : null;
      const id = row && column ? `${data.profile}/${row.key}/${column}${slice === ALL ? "" : `@${slice}`}` : null;
      const told = `${data.profile}/${data.study}: ${about.heading} of ${name}${sign ? ` − ${baseline}` : ""}, ${where}`;
      const lines = [...(id ? [["id", id]] : []), ["what", told],
        ["rests on", `${found.turns} turns, ${found.speakers} speakers, ${one.seeds} seed${one.seeds === 1 ? "" : "s"}`], ...cite.meant(data, marks)];
      const commits = [name, ...(sign && !id ? [baseline] : [])].flatMap((each) => rowOf(each)?.commits ?? []);
      async function open() {
        cite.open(signed(one.value, sign) + marks + range(one, sign), lines, {
          LaTeX: `${cite.escaped(text).replaceAll(" [", "~[")} % ${id ?? told}`,
          Markdown: `${text} (${id ?? told})`,
          BibTeX: await cite.bibtex(data, id ?? told, commits),
        });
      }
      return h("button", { class: "number", type: "button", "data-value": one.value, "data-low": one.low, "data-high": one.high, click: open },
        signed(one.value, sign), marks && h("span", { class: "mark" }, marks), h("span", { class: "range" }, range(one, sign)));
    }

    const columns = [
      { key: "variant", heading: "Variant", text: true, of: (row) => label(row.name), cell: (row) => [label(row.name), h("br"), h("code", { class: "quiet small" }, row.name)] },
      { key: "value", heading: about.heading, of: (row) => row.own.value, cell: (row) => cell(row.own, row.name, row.marks.own, false) },
      { key: "difference", heading: `Difference to ${baseline}`, of: (row) => row.difference?.value, cell: (row) => (row.difference ? cell(row.difference, row.name, row.marks.difference, true) : "–") },
      { key: "p", heading: "p (Holm)", of: (row) => row.p, cell: (row) => (row.difference ? stats.pShown(row.p) : "–") },
    ];
    const better = (one) => (about.lower ? one.value < 0 : one.value > 0);
    const drawn = found.rows.filter((row) => row.difference).map((row) => ({
      ...row.difference, label: label(row.name), kind: !row.marks.difference.includes("*") ? "none" : better(row.difference) ? "good" : "bad",
    })).sort((a, b) => b.value - a.value);
    const numbers = [...new Set(found.rows.map((row) => row.own.seeds))].sort((a, b) => a - b), most = numbers.at(-1);
    const seeds = `${numbers.length > 1 ? `${numbers[0]} to ${most}` : most} seed${most === 1 ? "" : "s"} per variant`;
    const floors = found.rows.filter((row) => data.systems[row.name].floor).map((row) => `${label(row.name)} ${signed(row.own.value)}`);
    return h("div", {},
      h("div", { class: "choices" }, choice("Test set", data.groups.map((one) => one.label), group.label, set("set")),
        choice("Baseline", names.map((name) => [name, Bench.named(data, name)]), baseline, set("baseline")),
        choice("Metric", known.map((name) => [name, data.metrics[name].heading]), metric, set("metric")), choice("Slice", Object.entries(labels), slice, set("slice"))),
      h("p", { class: "quiet small" }, `${found.turns} turns of ${found.speakers} speakers, ${seeds}. `,
        floors.length > 0 && `Floors, which need no hearing: ${floors.join(", ")}. `,
        "Intervals and p are computed here, from sums by speaker on the stored draws. Holm's correction is over this table. ", slice !== ALL && "A slice has the main metric alone."),
      cite.legend(data, found.rows.map((row) => row.marks.own + row.marks.difference).join("")),
      table({ caption: `${data.title}: ${about.heading}, ${where}`, columns, rows: found.rows, sort: { key: "value", down: !about.lower }, marked: (row) => row.name === baseline }),
      drawn.length > 0 && charts.forest(drawn, { axis: `${about.label || about.heading}: difference to ${label(baseline)}`, least: stats.LEAST_DIFFERENCE,
        caption: `Paired differences with 95 % intervals, ${where}. Within the band a difference is too small to be called one.` }));
  }

  return { view };
})();
