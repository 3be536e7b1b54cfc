"use strict";
// A study: its tables, intervals against a chosen baseline, curves, and answers.

Bench.study = (() => {
  const { h, load, choice, cite, table, charts, stats, signed } = Bench;
  const TABS = { table: "Tables", compare: "Compare", curves: "Curves", answers: "Answers" };
  const ALL = "all turns";

  async function page(profile, name, tab, state, again) {
    const data = await load(`${profile}/${name}`), { studies, profiles } = await load("index");
    const about = studies.find((one) => one.study === name);
    const shown = TABS[tab] ? tab : "table";
    const elsewhere = about.profiles.filter((other) => other !== profile);
    return h("div", {},
      h("h1", {}, data.title),
      h("p", {}, data.question),
      h("p", { class: "quiet small" }, `Study ${name}, profile ${profile}: ${profiles[profile].note}. `, h("a", { href: `https://arxiv.org/abs/${data.paper}` }, "The paper"), ". ",
        elsewhere.map((other) => [h("a", { href: `#/study/${other}/${name}` }, `Profile ${other}`), ". "])),
      data.smoke && h("p", { class: "warn" }, "Profile smoke: these numbers say little."),
      h("div", { class: "tabs", role: "navigation", "aria-label": "Parts of the study" }, Object.entries(TABS).map(([key, text]) =>
        h("a", { href: `#/study/${profile}/${name}/${key}`, "aria-current": key === shown ? "page" : null }, text))),
      Object.keys(data.systems).length || shown === "table" ? await PARTS[shown](data, state, again) : h("p", {}, "Nothing has been scored at this profile."));
  }

  // One column a kind of cell that any row has.
  function numbersOf(data, rows, hidden) {
    const keys = [...new Set(rows.flatMap((row) => Object.keys(row.cells)))];
    const order = Object.keys(data.headings);
    const mains = data.groups.map((group) => group.main), first = [...mains, "difference", "difference_p"];
    const rank = (key) => (first.includes(key) ? first.indexOf(key) - first.length : order.includes(key) ? order.indexOf(key) : order.length);
    return keys.sort((a, b) => rank(a) - rank(b)).map((key) => {
      const words = rows.every((row) => !row.cells[key] || row.cells[key].length === 1);
      return {
        key, heading: data.headings[key] ?? key.replaceAll("_", " "), text: words, hidden: hidden(key),
        of: (row) => { const cell = row.cells[key]; return cell && (cell.length > 1 ? cell[1] : cell[0]); },
        cell: (row) => (row.cells[key] ? cite.number(`${data.profile}/${row.key}/${key}`, row.cells[key][0]) : "–"),
      };
    });
  }

  function tables(data) {
    const own = data.rows.filter((row) => row.table === data.study), mains = new Set(data.groups.map((group) => group.main));
    const hidden = (key) => !(mains.has(key) || ["difference", "difference_p", "trained_parameters", "reported"].includes(key));
    const label = (row) => [data.looks[row.name][0], h("br"), h("code", { class: "quiet small" }, row.name)];
    const sets = new Set(own.map((row) => row.key.split("/")[2]));
    const lead = [
      { key: "variant", heading: "Variant", text: true, of: (row) => data.looks[row.name][0], cell: label },
      { key: "set", heading: "Test set", text: true, of: (row) => row.key.split("/")[2], hidden: sets.size < 2 },
      { key: "status", heading: "Status", text: true, of: (row) => row.status, hidden: own.every((row) => row.status === "ok") },
      { key: "seeds", heading: "Seeds", of: (row) => row.seeds.length, hidden: true },
    ];
    const parts = [
      h("p", { class: "quiet small" }, "In brackets: 95 % interval. Each number opens its id, and can be copied from there."),
      table({ caption: data.title, columns: [...lead, ...numbersOf(data, own, hidden)], rows: own, marked: (row) => row.name === data.baseline }),
    ];
    const others = [...new Set(data.rows.map((row) => row.table))].filter((name) => name !== data.study);
    for (const name of others) {
      const ending = name.slice(data.study.length + 1), rows = data.rows.filter((row) => row.table === name);
      const first = { key: "row", heading: ending === "claims" ? "Compared" : "Row", text: true, of: (row) => row.name,
        cell: (row) => (ending === "claims" ? row.name.replaceAll("-", " − ") : row.name.slice(ending.length + 1).replaceAll(":", ", ").replaceAll("_", " ")) };
      parts.push(h("h2", {}, ending === "claims" ? "Claims of the paper" : ending.replaceAll("_", " ")), table({ caption: `${data.title}: ${ending}`, columns: [first, ...numbersOf(data, rows, () => false)], rows }));
    }
    return h("div", {}, parts);
  }

  // Intervals of a test set by one metric: each variant's, and that of its difference to the baseline.
  async function compared(data, group, baseline, metric, slice) {
    const about = data.metrics[metric];
    const names = Object.keys(data.systems).filter((name) => data.systems[name].group === group && data.systems[name].metrics.includes(metric));
    const sums = {}, turns = {};
    await Promise.all(names.map(async (name) => {
      const system = data.systems[name];
      if (slice === ALL) { sums[name] = system.sums[about.counts]; return; }
      const runs = await Promise.all(system.runs.map((run) => load(`${data.profile}/runs/${run}`)));
      if (runs.every((run) => run.slices[slice])) sums[name] = runs.map((run) => run.slices[slice]);
      turns[name] = runs[0].turns[slice];
    }));
    const speakers = Object.values(sums)[0][0].length, made = await stats.draws(speakers);
    const of = (chosen, weights, only = chosen.map((name) => sums[name])) => stats.contrast(
      only, weights, about.rule, made, stats.variance(chosen.map((name) => data.systems[name]), weights, about.pooled, data.share));
    const rows = names.filter((name) => sums[name]).map((name) => {
      const own = of([name], [1]);
      own.low = Math.max(0, own.low);
      own.high = Math.min(about.most ?? Infinity, own.high);
      const shared = data.systems[name].seeds.filter((seed) => data.systems[baseline].seeds.includes(seed));
      const pick = (one) => shared.map((seed) => sums[one][data.systems[one].seeds.indexOf(seed)]);
      const difference = name === baseline || !shared.length || !sums[baseline] ? null : of([name, baseline], [1, -1], [pick(name), pick(baseline)]);
      return { name, own, difference };
    });
    const tested = rows.filter((row) => row.difference);
    stats.holm(tested.map((row) => row.difference.p)).forEach((p, i) => { tested[i].p = p; });
    return { rows, turns: slice === ALL ? data.groups[group].n : turns[names[0]], speakers };
  }

  async function compare(data, state, again) {
    const groups = data.groups.map((group, i) => [i, group.label]);
    const group = data.groups[state.set] ? Number(state.set) : 0;
    const names = Object.keys(data.systems).filter((name) => data.systems[name].group === group);
    const baseline = names.includes(state.baseline) ? state.baseline : names.includes(data.baseline) ? data.baseline : Bench.first(data, names);
    const { slices, labels } = await load(`${data.profile}/runs/${data.systems[baseline].runs[0]}`);
    const slice = slices[state.slice] ? state.slice : ALL, main = data.groups[group].main;
    const known = slice === ALL ? data.systems[baseline].metrics : [main];
    const metric = known.includes(state.metric) ? state.metric : main, about = data.metrics[metric];
    const found = await compared(data, group, baseline, metric, slice);
    const set = (key) => (value) => again({ ...state, set: group, baseline, metric, slice, [key]: value });
    const label = (name) => data.looks[name][0];
    const shown = (one, sign) => `${signed(one.value, sign)} [${signed(one.low, sign)}, ${signed(one.high, sign)}]`;
    const where = `test set ${data.groups[group].label}, ${labels[slice]}`;
    const cell = (one, name, what, sign) => {
      const row = data.rows.find((row) => row.table === data.study && row.name === name), text = shown(one, sign);
      const column = !sign ? metric : baseline === data.baseline && metric === main ? "difference" : null;
      const id = row && column ? `${data.profile}/${row.key}/${column}${slice === ALL ? "" : `@${slice}`}` : null;
      const told = `${data.profile}/${data.study}: ${what} of ${name}${sign ? ` − ${baseline}` : ""}, ${where}`;
      const forms = { LaTeX: `${cite.escaped(text).replaceAll(" [", "~[")} % ${id ?? told}`, Markdown: `${text} (${id ?? told})` };
      const lines = [...(id ? [["id", id]] : []), ["what", told], ["rests on", `${found.turns} turns, ${found.speakers} speakers, ${one.seeds} seed${one.seeds === 1 ? "" : "s"}`]];
      return h("button", { class: "number", type: "button", "data-value": one.value, "data-low": one.low, "data-high": one.high,
        click: () => cite.open(text, lines, forms) }, signed(one.value, sign), h("span", { class: "range" }, text.slice(text.indexOf(" ["))));
    };
    const columns = [
      { key: "variant", heading: "Variant", text: true, of: (row) => label(row.name), cell: (row) => [label(row.name), h("br"), h("code", { class: "quiet small" }, row.name)] },
      { key: "value", heading: about.heading, of: (row) => row.own.value, cell: (row) => cell(row.own, row.name, about.heading, false) },
      { key: "difference", heading: `Difference to ${baseline}`, of: (row) => row.difference?.value, cell: (row) => (row.difference ? cell(row.difference, row.name, about.heading, true) : "–") },
      { key: "p", heading: "p (Holm)", of: (row) => row.p, cell: (row) => (row.difference ? stats.pShown(row.p) + (stats.differs(row.difference, row.p, found.speakers) ? " *" : "") : "–") },
    ];
    const better = (one) => (about.lower ? one.value < 0 : one.value > 0);
    const drawn = found.rows.filter((row) => row.difference).map((row) => ({
      ...row.difference, label: label(row.name),
      kind: !stats.differs(row.difference, row.p, found.speakers) ? "none" : better(row.difference) ? "good" : "bad",
    })).sort((a, b) => b.value - a.value);
    return h("div", {},
      h("div", { class: "choices" }, choice("Test set", groups, group, set("set")), choice("Baseline", names.map((name) => [name, name === label(name) ? name : `${name}: ${label(name)}`]), baseline, set("baseline")),
        choice("Metric", known.map((name) => [name, data.metrics[name].heading]), metric, set("metric")), choice("Slice", Object.entries(labels), slice, set("slice"))),
      h("p", { class: "quiet small" }, `${found.turns} turns of ${found.speakers} speakers. Intervals and p are computed here, from sums by speaker on the stored draws. `,
        `* marks p below 0.05 after Holm's correction over this table where the difference is at least ${stats.LEAST_DIFFERENCE}. `, slice !== ALL && "A slice has the main metric alone."),
      table({ caption: `${data.title}: ${about.heading}, ${where}`, columns, rows: found.rows, sort: { key: "value", down: !about.lower }, marked: (row) => row.name === baseline }),
      drawn.length > 0 && charts.forest(drawn, { axis: `${about.label || about.heading}: difference to ${label(baseline)}`, least: stats.LEAST_DIFFERENCE,
        caption: `Paired differences with 95 % intervals, ${where}. Within the band a difference is too small to be called one.` }));
  }

  // Floors of the main metric, of validation turns where they were scored there, or else of test set A.
  function floors(data) {
    const found = data.rows.filter((row) => row.table === data.study && data.systems[row.name]?.floor).map((row) => {
      const { set, main } = data.groups[data.systems[row.name].group], name = data.looks[row.name][0];
      return { set, metric: main, value: row.cells[main]?.[1], label: set === "A" ? `${name}, on test set A` : name };
    });
    const of = (set) => found.filter((floor) => floor.set === set && floor.value !== undefined);
    return of("validation").length ? of("validation") : of("A");
  }

  async function curves(data, state, again) {
    const lines = data.curves;
    if (!lines.length) return h("p", {}, "Nothing was trained in this study.");
    const variants = [...new Set(lines.map((line) => line.variant))], chosen = new Set(state.lines ?? variants.slice(0, 8));
    const present = [...new Set(lines.map((line) => line.metric))].map((name) => [name, data.labels[name]]);
    const toggle = (name) => () => { if (!chosen.delete(name)) chosen.add(name); again({ ...state, lines: [...chosen] }); };
    return h("div", {},
      h("p", { class: "quiet small" }, "One line a seed. A training that variants share is shown once, under the first of them."),
      h("div", { class: "legend", role: "group", "aria-label": "Variants shown" }, variants.map((name) => h("label", {},
        h("input", { type: "checkbox", name, checked: chosen.has(name), change: toggle(name) }),
        charts.sample(data.looks[name]), data.looks[name][0]))),
      charts.curves(lines, present, data.looks, chosen, floors(data)));
  }

  const PARTS = { table: tables, compare, curves, answers: (data, state, again) => Bench.flips.view(data, state, again) };
  return { page };
})();
