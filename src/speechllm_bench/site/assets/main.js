"use strict";
// Which page the address names: #/, #/effects, #/about, #/study/PROFILE/STUDY/PART. Choices stay while a page is open.

(() => {
  const { h, load } = Bench, main = document.getElementById("main"), pick = document.getElementById("pick");
  let turn = 0, kept = { address: "", state: {} };

  async function show(state = {}, keepFocus = false) {
    const mine = ++turn, parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    const address = parts.join("/");
    if (kept.address !== address) kept = { address, state };
    else if (Object.keys(state).length) kept.state = state;
    const again = (next) => show(next, true);
    const focused = keepFocus ? document.activeElement?.getAttribute("name") : null;
    let made;
    try {
      if (parts[0] === "study") made = await Bench.study.page(parts[1], parts[2], parts[3], kept.state, again);
      else made = await (Bench.pages[parts[0] || "claims"] ?? Bench.pages.claims)(kept.state, again);
    } catch (error) {
      console.error(error);
      made = h("p", { class: "warn" }, `This page cannot be shown: ${error.message}. Make the site again by “make site”.`);
    }
    if (mine !== turn) return; // another page was asked for meanwhile
    const scroll = keepFocus ? window.scrollY : 0;
    main.replaceChildren(made);
    window.scrollTo(0, scroll);
    if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.title = `${main.querySelector("h1")?.textContent ?? "Results"} – speechllm-bench`;
    for (const link of document.querySelectorAll("nav a")) {
      const current = link.hash.replace(/^#\/?/, "") === parts[0];
      if (current) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    pick.value = parts[0] === "study" ? `${parts[1]}/${parts[2]}` : "";
    document.body.dataset.shown = address || "claims";
    document.body.dataset.turn = String(mine);
  }

  async function choices() {
    const { studies, profiles } = await load("index");
    pick.append(h("option", { value: "" }, "Study …"), ...Object.keys(profiles).reverse().map((profile) => h("optgroup", { label: `profile ${profile}` },
      studies.filter((one) => one.profiles.includes(profile)).map((one) => h("option", { value: `${profile}/${one.study}` }, `${one.study} (${profile})`)))));
    pick.addEventListener("change", () => { if (pick.value) location.hash = `#/study/${pick.value}`; });
  }

  function theme() {
    const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
    let own = null;
    try { own = localStorage.getItem("theme"); } catch { /* no storage: the system's choice holds */ }
    const set = () => {
      const now = own ?? (dark.matches ? "dark" : "light");
      document.documentElement.dataset.theme = now;
      button.textContent = now === "dark" ? "Light" : "Dark";
    };
    button.addEventListener("click", () => {
      own = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("theme", own); } catch { /* it holds until the page is closed */ }
      set();
    });
    dark.addEventListener("change", set);
    set();
  }

  theme();
  window.addEventListener("hashchange", () => show());
  choices().then(() => show());
})();
