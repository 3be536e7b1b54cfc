"use strict";
// What every page needs: data that is loaded when it is first asked for, and elements.

const Bench = (() => {
  const promised = new Map(), waiting = new Map();
  const LEAST = 992; // the exponent that is 0 in packed.short

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
  const WORTH = new Map([...DIGITS].map((digit, i) => [digit, i]));

  // The bytes of base 85 (Python's b85encode): five digits are four bytes, and the last ones may lack some.
  function bytes85(text) {
    const whole = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
    for (let i = 0; i < text.length; i += 5) {
      let word = 0;
      for (let j = i; j < i + 5; j++) word = word * 85 + (WORTH.get(text[j]) ?? 84);
      whole.setUint32(i / 5 * 4, word);
    }
    return new Uint8Array(whole.buffer, 0, Math.floor(text.length * 4 / 5));
  }

  async function unpacked(base85) {
    const stream = new Blob([bytes85(base85)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  // The value of data/<name>.js. Pages opened from disk may load scripts, and may not fetch files.
  function load(name) {
    if (!promised.has(name)) {
      promised.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        waiting.set(name, resolve);
        script.onerror = () => reject(new Error(`data/${name}.js is missing`));
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
    }
    return promised.get(name);
  }

  function received(name, packed) {
    waiting.get(name)(unpacked(packed));
  }

  // Doubles of 5 bytes (packed.short): a sign, 6 bits of the exponent and 33 of the mantissa. The bytes of a place stand together.
  function doubles(base64) {
    const short = bytes(base64), n = short.length / 5, whole = new DataView(new ArrayBuffer(8 * n));
    for (let i = 0; i < n; i++) {
      const top = short[4 * n + i], low = short[i] + 256 * (short[n + i] + 256 * (short[2 * n + i] + 256 * short[3 * n + i]));
      const bits = (top & 127) * 2 ** 32 + low + LEAST * 2 ** 33; // without the sign, and without the 19 bits that are 0
      whole.setUint32(8 * i, (top >> 7) * 2 ** 31 + Math.floor(bits / 2 ** 13));
      whole.setUint32(8 * i + 4, (bits % 2 ** 13) * 2 ** 19);
    }
    return Float64Array.from({ length: n }, (_, i) => whole.getFloat64(8 * i));
  }

  // A run's answers, with what all runs on its test set have in common: {slices, labels, turns, right, raw}.
  async function answers(profile, run, set) {
    const [own, shared] = await Promise.all([load(`${profile}/runs/${run}`), load(`${profile}/sets/${set}`)]);
    if (own.whole) return own.whole;
    const slices = {}, labels = {}, turns = {};
    for (const [name, found] of Object.entries(own.slices)) {
      const columns = found.map((column, i) => column || shared.columns[name][i]); // 0: as the set has it
      slices[name] = columns[0].map((_, speaker) => columns.map((column) => column[speaker]));
      labels[name] = shared.labels[name] ?? own.labels[name];
      turns[name] = shared.turns[name] ?? own.turns[name];
    }
    return (own.whole = { slices, labels, turns, right: own.right, raw: own.raw });
  }

  // An element: h("a", {href: "#/"}, "text", child, [children]); functions are listeners, null is left out.
  function h(tag, given = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  // A labelled choice; options are values or [value, text] pairs.
  function choice(label, options, chosen, change) {
    const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
    const select = h("select", { name: label, change: () => change(select.value) },
      pairs.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
    return h("label", {}, label, select);
  }

  function told(sentence) {
    const place = document.getElementById("told");
    place.textContent = sentence;
    clearTimeout(told.timer);
    told.timer = setTimeout(() => { place.textContent = ""; }, 2500);
  }

  const signed = (value, sign) => (value < 0 ? "-" : sign ? "+" : "") + Math.abs(value).toFixed(3);

  // The first of some variants that a model answers, or else the first of them.
  const first = (data, names) => names.find((name) => !data.systems[name].floor) ?? names[0];

  // The baseline of some variants: the study's first that is among them, or else the first of them.
  const base = (data, names) => data.baselines.find((name) => names.includes(name)) ?? first(data, names);

  // The variants of a test set, which is named by its label; the study's first test set for another label.
  function among(data, label, groups = data.groups) {
    const group = groups.find((one) => one.label === label) ?? groups[0], place = data.groups.indexOf(group);
    return { group, names: Object.keys(data.systems).filter((name) => data.systems[name].group === place) };
  }

  const named = (data, name) => (data.looks[name][0] === name ? name : `${name}: ${data.looks[name][0]}`);

  return { first, base, among, named, answers, load, received, bytes, h, choice, told, signed, doubles };
})();
