// Perplexity of a longer text: which tokens of a window are context only, and which are scored.

const windowsView = {
  name: "perplexity",
  found: page.inside?.perplexity ?? null,
  stride: 0, // the one that is shown, of those that were computed
  window: 0,
  text: page.long_text,
  async draw(box) {
    const parts = live ? [this.form()] : [];
    if (model.predicts === "gap" || model.has_source) return box.replaceChildren(make("p", { class: "card" }, say("no perplexity " + model.predicts)));
    if (!live && !this.found) return box.replaceChildren(make("p", { class: "card" }, say("too short")));
    if (this.found) parts.push(...this.results());
    box.replaceChildren(...parts);
    markTokens();
  },

  form() {
    const text = make("textarea", { rows: "4", id: "long-text", spellcheck: "false" });
    text.value = this.text;
    const field = (name, value) => make("input", { type: "number", id: name, min: "1", value: value == null ? "" : String(value), "aria-label": say(name) });
    const window_ = field("window", this.found?.window), stride = field("stride", null);
    return make("form", { class: "card", onsubmit: (event) => {
      event.preventDefault();
      this.text = text.value;
      const fields = { text: text.value };
      if (window_.value) fields.window = Number(window_.value);
      if (stride.value) fields.strides = [Number(stride.value)];
      attempt(async (isNewest) => {
        const found = await ask("perplexity", fields);
        if (!isNewest()) return;
        Object.assign(this, { found, stride: 0, window: 0 });
        await show();
      });
    } }, text, make("div", { class: "buttons" }, say("window"), window_, say("stride"), stride, make("button", { type: "submit", class: "main", id: "measure" }, say("measure")),
      make("span", { class: "quiet" }, say("stride empty"))));
  },

  results() {
    const { strides, window: size, pieces } = this.found;
    const one = strides[this.stride];
    const nll = unpack(one.nll).at;
    const head = ["stride", "windows", "scored tokens", "perplexity", "mean of windows", "bits per byte"];
    const rows = strides.map((each, n) => make("tr", { class: `pick${n === this.stride ? " on" : ""}`, onclick: () => { this.stride = n; this.window = 0; show(); } },
      ...[each.stride, each.windows.length, each.scored, exact(each.averages.perplexity), exact(each.averages.window_mean_perplexity), exact(each.averages.bits_per_byte)].map((text) =>
        make("td", { class: "number" }, String(text)))));
    const [begin, first, end] = one.windows[this.window];
    const kind = (i) => (i < begin || i >= end ? "outside" : i < first ? "context" : "scored");
    const strip = make("div", { class: "strip", id: "window-text" }, ...pieces.map((piece, i) => make("span", {
      class: kind(i), "--much": `${Math.round(78 * surprise(nll[i] || 0))}%`,
      onpointermove: (event) => tip(event, Number.isNaN(nll[i]) ? say("never scored", { token: shown(piece) }) : say("loss of token", { token: shown(piece), loss: exact(nll[i]) })),
      onpointerleave: (event) => tip(event, null) }, piece === "\n" ? "⏎\n" : shown(piece).replaceAll("␣", " "))));
    const slide = make("input", { type: "range", id: "which", min: "0", max: String(one.windows.length - 1), step: "1", value: String(this.window), "aria-label": say("which window"),
      oninput: (event) => { this.window = Number(event.target.value); this.again(); } });
    const go = (step) => make("button", { type: "button", onclick: () => { this.window = Math.max(0, Math.min(one.windows.length - 1, this.window + step)); show(); } }, step < 0 ? "◀" : "▶");
    this.strip = { spans: strip.children, kind: (i, at) => (i < at[0] || i >= at[2] ? "outside" : i < at[1] ? "context" : "scored"), windows: one.windows };
    return [
      make("div", { class: "card" }, make("h2", {}, say("averages title", { window: size })),
        make("div", { class: "scroll" }, make("table", { id: "averages" }, make("tr", {}, ...head.map((name) => make("th", { class: "number" }, say(name)))), ...rows)),
        make("p", { class: "quiet" }, say("averages words"))),
      make("div", { class: "card" }, make("div", { class: "buttons" }, go(-1), slide, go(1), make("span", { id: "window-facts" }, this.facts())), strip,
        make("p", { class: "quiet" }, make("span", { class: "strip" }, make("span", { class: "context" }, say("is context")), " ", make("span", { class: "scored" }, say("is scored")), " ", make("span", { class: "outside" }, say("is outside"))))),
    ];
  },

  facts() {
    const { windows } = this.found.strides[this.stride];
    const [begin, first, end] = windows[this.window];
    return say("window facts", { n: this.window + 1, of: windows.length, begin, end: end - 1, context: first - begin, scored: end - first });
  },

  // Another window of the same stride: only the classes change.
  again() {
    const at = this.strip.windows[this.window];
    [...this.strip.spans].forEach((span, i) => { span.className = this.strip.kind(i, at); });
    byId("window-facts").textContent = this.facts();
  },
};
