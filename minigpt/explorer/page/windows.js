// Perplexity of a longer text: which tokens of a window are context only, and which are scored.

const LEAST_TO_MEASURE = 16; // tokens: fewer have no windows worth a look

const windowsView = {
  name: "perplexity",
  found: page.inside?.perplexity ?? null, // what Python has measured
  stride: 0, // the one that is shown, of those that were measured
  window: 0, // the one that is shown, of this stride
  text: null, // what the reader has typed here; null = the text at the top, or where that is too short an example
  size: "", // the two fields, as the reader left them
  step: "",

  async draw(box) {
    const why =
      model.predicts === "gap" || model.has_source
        ? "no perplexity " + model.predicts
        : live || this.found
          ? null
          : "too short";
    if (why) box.replaceChildren(make("p", "card", say(why)));
    else box.replaceChildren(...(live ? [this.form()] : []), ...(this.found ? [this.measured(), this.averages(), this.windows()] : []));
    markTokens();
  },

  change(changes) {
    Object.assign(this, changes);
    return show();
  },

  form() {
    const text = make("textarea", { rows: "4", id: "long-text", spellcheck: "false", "aria-label": say("type here") });
    const isLong = state.reading.tokens.ids.length >= LEAST_TO_MEASURE;
    const example = isLong ? state.reading.text : page.long_text;
    text.value = this.text ?? example;
    text.addEventListener("input", () => (this.text = text.value));
    const field = (name, value, keep) =>
      make("input", {
        type: "number",
        id: name,
        min: "1",
        value,
        "aria-label": say(name),
        oninput: (event) => keep(event.target.value),
      });
    const size = field("window", this.size, (value) => (this.size = value));
    const stride = field("stride", this.step, (value) => (this.step = value));
    const which = this.text !== null && this.text !== example ? "own" : isLong ? "typed" : "example";
    const measure = () =>
      attempt(async (isNewest) => {
        const fields = {
          text: text.value,
          ...(size.value && { window: Number(size.value) }),
          ...(stride.value && { strides: [Number(stride.value)] }),
        };
        const found = await ask("perplexity", fields);
        if (isNewest()) await this.change({ found, stride: 0, window: 0 });
      });
    return make(
      "form",
      {
        class: "card",
        onsubmit: (event) => {
          event.preventDefault();
          measure();
        },
      },
      make("p", { class: "quiet", id: "which-text" }, say("text " + which, { n: LEAST_TO_MEASURE })),
      text,
      make(
        "div",
        "buttons",
        say("window"),
        size,
        say("stride"),
        stride,
        make("button", { type: "submit", class: "main", id: "measure" }, say("measure")),
        make("span", "quiet", say("stride empty")),
      ),
    );
  },

  // The text that the numbers below belong to: another one may stand above by now.
  measured() {
    const { pieces } = this.found;
    const start = pieces.slice(0, 12).join("");
    const text = shown(start.replace(/\s+/g, " ").trim()).replaceAll("␣", " ") + (pieces.length > 12 ? " …" : "");
    return make("p", { id: "measured" }, ...mixed("measured", { text: make("q", "", text), n: String(pieces.length) }));
  },

  // One line for each stride.
  averages() {
    const { strides, window: size } = this.found;
    const names = ["stride", "windows", "scored tokens", "perplexity", "mean of windows", "bits per byte"];
    const rows = strides.map(({ stride, windows, scored, averages }, n) =>
      make(
        "tr",
        { class: `pick${n === this.stride ? " on" : ""}`, onclick: () => this.change({ stride: n, window: 0 }) },
        ...numbers(
          stride,
          windows.length,
          scored,
          exact(averages.perplexity),
          exact(averages.window_mean_perplexity),
          exact(averages.bits_per_byte),
        ),
      ),
    );
    return make(
      "div",
      "card",
      make("h2", "", say("averages title", { window: size })),
      make("div", "scroll", make("table", { id: "averages" }, headings(...names.map((name) => say(name))), ...rows)),
      make("p", "quiet", say("averages words")),
    );
  },

  // The text in one window: what it does not read, what is context only, what is scored.
  windows() {
    const { windows, nll } = this.found.strides[this.stride];
    const losses = unpack(nll).at;
    const spans = this.found.pieces.map((piece, i) =>
      tipOn(
        make(
          "span",
          { "--much": `${Math.round(78 * surprise(losses[i] || 0))}%` },
          piece === "\n" ? "⏎\n" : shown(piece).replaceAll("␣", " "),
        ),
        () =>
          Number.isNaN(losses[i])
            ? say("never scored", { token: shown(piece) })
            : say("loss of token", { token: shown(piece), loss: exact(losses[i]) }),
      ),
    );
    const facts = make("span", { id: "window-facts" });
    const look = (n) => {
      this.window = Math.max(0, Math.min(windows.length - 1, n));
      slide.value = String(this.window);
      const [begin, first, end] = windows[this.window];
      spans.forEach((span, i) => {
        span.className = i < begin || i >= end ? "outside" : i < first ? "context" : "scored";
      });
      facts.textContent = say("window facts", {
        n: this.window + 1,
        of: windows.length,
        begin,
        end: end - 1,
        context: first - begin,
        scored: end - first,
      });
    };
    const slide = make("input", {
      type: "range",
      id: "which",
      min: "0",
      max: String(windows.length - 1),
      step: "1",
      "aria-label": say("which window"),
      oninput: (event) => look(Number(event.target.value)),
    });
    look(this.window);
    const legend = ["context", "scored", "outside"].flatMap((kind) => [make("span", kind, say("is " + kind)), " "]);
    return make(
      "div",
      "card",
      make(
        "div",
        "buttons",
        button("◀", () => look(this.window - 1)),
        slide,
        button("▶", () => look(this.window + 1)),
        facts,
      ),
      make("div", { class: "strip", id: "window-text" }, ...spans),
      make("p", "quiet", make("span", "strip", ...legend)),
    );
  },
};
