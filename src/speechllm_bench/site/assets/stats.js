"use strict";
// Intervals from sums by speaker: what speechllm_bench.stats does, on the draws that it makes (data/draws).

Bench.stats = (() => {
  const ALPHA = 0.05, LEAST_DIFFERENCE = 0.05, POOLED_DF = 4;
  const ratio = (part, whole) => (whole === 0 ? 0 : part / whole);
  const f1 = (a, o = 0) => ratio(2 * a[o], a[o + 1] + a[o + 2]);

  // From summed counts to a number: the rules of speechllm_bench.metrics.
  const RULES = {
    f1,
    precision: (a) => ratio(a[0], a[1]),
    recall: (a) => ratio(a[0], a[2]),
    quotient: (a) => ratio(a[0], a[1]),
    rate: (a) => a[0] / Math.max(a[1], 1),
    macro: (a) => {
      let sum = 0, seen = 0;
      for (let o = 0; o < a.length; o += 3) if (a[o + 1] + a[o + 2] > 0) { sum += f1(a, o); seen += 1; }
      return ratio(sum, seen);
    },
    weighted: (a) => {
      let sum = 0, gold = 0;
      for (let o = 0; o < a.length; o += 3) { sum += f1(a, o) * a[o + 2]; gold += a[o + 2]; }
      return ratio(sum, gold);
    },
  };

  async function draws(nSpeakers) {
    const found = await Bench.load(`draws/${nSpeakers}`);
    if (!found.ready) {
      Object.assign(found, { ready: true, times: Bench.bytes(found.times), widths: Bench.doubles(found.widths) });
      for (const df of Object.keys(found.t)) found.t[df] = Bench.doubles(found.t[df]);
    }
    return found;
  }

  function total(sums) {
    const whole = new Float64Array(sums[0].length);
    for (const row of sums) row.forEach((count, j) => { whole[j] += count; });
    return whole;
  }

  const remembered = new WeakMap(); // by sums of one seed, by rule: they are drawn again for every baseline

  // The statistic of one seed in every draw of speakers; sums (speakers, k).
  function drawn(sums, rule, { times, n, speakers }) {
    const known = remembered.get(sums) ?? {};
    remembered.set(sums, known);
    if (known[rule]) return known[rule];
    const k = sums[0].length, flat = Float64Array.from(sums.flat()), found = new Float64Array(n), whole = new Float64Array(k);
    for (let b = 0; b < n; b++) {
      whole.fill(0);
      for (let s = 0; s < speakers; s++) {
        const t = times[b * speakers + s];
        if (t) for (let j = 0; j < k; j++) whole[j] += t * flat[s * k + j];
      }
      found[b] = RULES[rule](whole);
    }
    return (known[rule] = found);
  }

  function quantile(sorted, q) {
    const at = (sorted.length - 1) * q, low = Math.floor(at), high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
  }

  // The weighted sum of systems' statistics with its interval; systems: sums by seed (seeds, speakers, k).
  function contrast(systems, weights, rule, made, seedVariance) {
    const seeds = systems[0].length, n = made.n, S = made.speakers;
    const ofSeeds = Array.from({ length: seeds }, (_, i) =>
      weights.reduce((sum, w, j) => sum + w * RULES[rule](total(systems[j][i])), 0));
    const value = ofSeeds.reduce((a, b) => a + b, 0) / seeds;
    const deviations = new Float64Array(n);
    if (S > 1) {
      systems.forEach((system, j) => system.forEach((sums) => {
        const found = drawn(sums, rule, made), w = weights[j] / seeds;
        for (let b = 0; b < n; b++) deviations[b] += w * found[b];
      }));
      const wider = Math.sqrt(S / (S - 1));
      for (let b = 0; b < n; b++) deviations[b] = (deviations[b] - value) * wider * made.widths[b];
    }
    let squares = ofSeeds.reduce((sum, one) => sum + (one - value) ** 2, 0), df = seeds - 1;
    if (!(seedVariance === 0 || (seedVariance === null && seeds === 1))) {
      if (seedVariance !== null) { squares += (POOLED_DF - 2) * seedVariance; df += POOLED_DF; }
      const scale = Math.sqrt(squares / df / seeds), t = made.t[df];
      for (let b = 0; b < n; b++) deviations[b] += scale * t[b];
    }
    let below = 0, above = 0;
    for (const d of deviations) { below += value + d <= 0; above += value + d >= 0; }
    deviations.sort();
    return {
      value, seeds,
      low: value + quantile(deviations, ALPHA / 2),
      high: value + quantile(deviations, 1 - ALPHA / 2),
      p: S > 1 ? Math.min(1, (2 * (Math.min(below, above) + 1)) / (n + 1)) : 1,
    };
  }

  // Variance between seeds of a weighted sum of systems (evaluation/seeds.py); null where no record tells it.
  function variance(systems, weights, pooled, share, seeds) {
    const trainings = new Map();
    for (const [i, { training, audio }] of systems.entries()) {
      const one = training === null ? 0 : pooled[audio] ?? (seeds === 1 ? pooled.own : null);
      if (one === null) return null;
      const key = `${training} ${audio}`;
      if (!trainings.has(key)) trainings.set(key, { one, weights: [] });
      trainings.get(key).weights.push(weights[i]);
    }
    let sum = 0;
    for (const { one, weights: mine } of trainings.values()) {
      const together = mine.reduce((a, b) => a + b, 0) ** 2;
      sum += one * ((1 - share) * together + share * mine.reduce((a, b) => a + b * b, 0));
    }
    return sum;
  }

  function holm(ps) {
    const adjusted = new Array(ps.length).fill(1);
    let highest = 0;
    ps.map((p, i) => [p, i]).sort((a, b) => a[0] - b[0]).forEach(([p, i], rank) => {
      highest = Math.max(highest, Math.min(1, (ps.length - rank) * p));
      adjusted[i] = highest;
    });
    return adjusted;
  }

  const differs = (found, p, speakers) => speakers > 1 && p < ALPHA && Math.abs(found.value) >= LEAST_DIFFERENCE;
  const pShown = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

  return { RULES, draws, contrast, variance, holm, differs, pShown, LEAST_DIFFERENCE };
})();
