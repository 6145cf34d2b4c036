// The next token: the likeliest twenty, what the sliders do to them, and the text that is written with them.

// Each slider: where it ends, its step, and the place where it changes nothing. Python says in which order they act.
const SLIDERS = {
  temperature: { least: 0.1, most: 2, step: 0.05, rest: 1 },
  top_k: { least: 0, most: 100, step: 1, rest: 0 },
  top_p: { least: 0.01, most: 1, step: 0.01, rest: 1 },
  min_p: { least: 0, most: 0.5, step: 0.01, rest: 0 },
};

const nextView = {
  name: "next",
  async draw(box) {
    const { prediction } = state.reading;
    this.bars = make("div", { id: "bars" });
    const isGap = model.predicts === "gap";
    const where = isGap
      ? mixed("gap at", {
          n: String(prediction.position),
          token: pieceBox(state.reading.tokens.pieces[prediction.position]),
        })
      : mixed("after token", {
          n: String(prediction.position),
          token: pieceBox(state.reading.tokens.pieces[prediction.position]),
        });
    const left = make("div", "card wide", make("h2", "", ...where), this.bars);
    const right = make("div", "card wide", ...(isGap ? this.gapControls() : [...this.sliders(), ...this.writing()]));
    box.replaceChildren(make("div", "row", left, right), ...state.reading.caches.map(cacheCard));
    this.update();
    markTokens();
  },

  // The bars, from the logits and the sliders as they are now.
  update() {
    const { prediction } = state.reading;
    const logits = unpack(prediction.logits).at;
    const isGap = model.predicts === "gap";
    const before = softmax(logits);
    const after = softmax(processed(logits, state.settings, model.processors));
    const { ids: likely, pieces } = prediction.likely;
    const most = Math.max(...likely.map((id) => Math.max(before[id], after[id])));
    const rows = likely.map((id, n) =>
      make(
        "tr",
        { class: after[id] === 0 ? "out" : null, "data-id": id, "data-probability": after[id] },
        make("td", "", pieceBox(pieces[n])),
        ...numbers(percent(after[id])),
        make("td", "", make("div", "bars", bar(after[id] / most), isGap ? null : bar(before[id] / most, "bar before"))),
        make("td", "number quiet", logits[id].toFixed(2)),
      ),
    );
    const allowed = after.reduce((n, p) => n + (p > 0), 0);
    const entropy = -sum([...after].map((p) => (p > 0 ? p * Math.log2(p) : 0)));
    this.bars.replaceChildren(
      make("div", "scroll", make("table", "", headings(say("token"), say("probability"), "", "logit"), ...rows)),
      make(
        "p",
        { class: "quiet", id: "allowed" },
        isGap ? "" : say("allowed", { n: allowed, V: model.vocab_size }) + " ",
        say("entropy", { bits: entropy.toFixed(2), n: (2 ** entropy).toFixed(entropy < 4 ? 1 : 0) }),
      ),
    );
  },

  sliders() {
    const rows = model.processors.flatMap((name) => {
      const { least, most, step, rest } = SLIDERS[name];
      const value = state.settings[name] ?? rest;
      const written = (x) => (x === rest ? say(name === "temperature" ? "no change" : "off") : name === "top_k" ? String(x) : x.toFixed(2));
      const output = make("output", "number", written(value));
      const input = make("input", {
        type: "range",
        id: name,
        min: String(least),
        max: String(most),
        step: String(step),
        value: String(value),
        oninput: (event) => {
          const x = Number(event.target.value);
          state.settings[name] = x === rest ? null : x;
          output.textContent = written(x);
          this.choose(true); // who moves a slider wants to draw by it
          this.update();
        },
      });
      return [make("label", { for: name }, say("slider " + name)), input, output];
    });
    return [make("h2", "", say("sliders title")), make("div", "sliders", ...rows), make("p", "quiet", say("order"))];
  },

  writing() {
    const { tokens } = state.reading;
    if (!live) return [make("p", "quiet", say("file only"))];
    const full = tokens.ids.length >= model.most_tokens;
    const way = (sample) =>
      button(say(sample ? "draw" : "likeliest"), () => this.choose(sample), { id: sample ? "draw" : "likeliest" });
    const seed = make("input", {
      type: "number",
      id: "seed",
      min: "0",
      value: String(state.seed),
      "aria-label": say("seed"),
      onchange: (event) => {
        state.seed = Math.max(0, Math.floor(Number(event.target.value)) || 0);
      },
    });
    const ended = state.ended ?? (full ? say("full", { n: model.most_tokens }) : null);
    this.ways = [way(false), way(true)];
    this.seed = make("label", "", say("seed"), " ", seed);
    this.choose(state.sample);
    return [
      make(
        "div",
        "buttons",
        button(say("next"), writeNext, { class: "main", id: "next", disabled: !canWrite() }),
        button(say(state.running ? "stop" : "run"), run, { id: "run", disabled: !canWrite() && !state.running }),
        button(say("back"), back, { id: "back", disabled: !canGoBack() }),
      ),
      make("div", "buttons", ...this.ways, this.seed),
      ended && make("p", { id: "ended" }, ended),
      make("div", { class: "written", id: "written" }, tokens.pieces.join("")),
    ];
  },

  // The likeliest token, or one that is drawn: in place, since a slider that is drawn again lets go of the pointer.
  choose(sample) {
    if (!live) return;
    state.sample = sample;
    this.ways.forEach((way, n) => way.setAttribute("aria-pressed", String(sample === (n === 1))));
    this.seed.hidden = !sample;
  },

  gapControls() {
    const { tokens, prediction } = state.reading;
    const words = make("p", "quiet", say(live ? "gap words" : "gap words file"));
    if (!live) return [words];
    const place = state.query,
      token = shown(tokens.pieces[place]);
    const hidden = tokens.ids.map((id, i) => (i === place ? model.mask : id));
    const hide = button(say("hide token", { token }), () => readIds(hidden, place), {
      class: "main",
      id: "hide",
      disabled: model.mask === null || tokens.ids[place] === model.mask,
    });
    const look = button(say("predict here", { token }), () => readIds(tokens.ids, place), {
      id: "look",
      disabled: prediction.position === place,
    });
    return [words, make("div", "buttons", hide, look)];
  },
};

// --- writing ---------------------------------------------------------------------------------------------------------

const canWrite = () => !state.ended && state.reading.tokens.ids.length < model.most_tokens;
const canGoBack = () => state.reading.tokens.ids.length > state.given;

const writeNext = () =>
  attempt(async (isNewest) => {
    const settings = state.sample ? state.settings : {};
    const reading = await ask("next", { ...ids(), sample: state.sample, seed: state.seed, settings });
    if (!isNewest()) return;
    state.ended = reading.ends ? say("ended", { token: shown(reading.tokens.pieces.at(-1)) }) : null;
    followText(reading);
    await newReading(reading, reading.tokens.ids.length - 1);
  });

async function run() {
  state.running = !state.running;
  if (!state.running) return show();
  while (state.running && canWrite()) await writeNext();
  state.running = false;
  await show();
  findEffects(state.reading);
}

const back = () => readIds(state.reading.tokens.ids.slice(0, -1));

const readIds = (tokens, position) =>
  attempt(async (isNewest) => {
    state.running = false;
    const { source } = state.reading;
    const fields = { tokens, ...(source && { source: source.ids }), ...(position !== undefined && { position }) };
    const reading = await ask("read", fields);
    if (!isNewest()) return;
    state.ended = null;
    followText(reading);
    await newReading(reading, position ?? tokens.length - 1);
  });

// --- the KV cache ----------------------------------------------------------------------------------------------------

// The keys and values that are kept: of the text itself (row "tokens"), or of a T5's source, which stays as it is.
function cacheCard(cache) {
  const tokens = rowOfTokens(cache.row);
  const isSource = cache.row === "source";
  const n = tokens.ids.length,
    n_layers = unpack(cache.keys).shape[0];
  const draw = (packed, name) => {
    const matrix = unpack(packed);
    const picture = strips(
      matrix,
      [...Array(n_layers).keys()].map((layer) => `${name} ${layer}`),
      name === "K" ? "blue" : "green",
      12,
    );
    picture.draw.strokeStyle = colour("orange");
    picture.draw.lineWidth = 1.5;
    if (!isSource)
      picture.draw.strokeRect(picture.left + (n - 1) * picture.wide, 1, picture.wide, n_layers * picture.cell);
    tipOn(picture.element, (event) => {
      const [layer, i] = picture.at(event) ?? [];
      if (i === undefined) return null;
      return say("cache cell", { name, layer, token: shown(tokens.pieces[i]), norm: exact(rowOf(matrix, layer)[i]) });
    });
    return make("div", "scroll", picture.element);
  };
  return make(
    "div",
    { class: "card", id: isSource ? "cache-source" : "cache" },
    make("h2", "", "KV cache", model.has_source ? ": " + say(isSource ? "cache cross" : "cache own") : ""),
    make(
      "p",
      "",
      say("cache words", {
        n,
        layers: n_layers,
        heads: model.key_heads,
        D: model.width,
        b: cache.number_bytes,
        each: bytes(cache.bytes_per_token),
        all: bytes(n * cache.bytes_per_token),
      }),
    ),
    draw(cache.keys, "K"),
    draw(cache.values, "V"),
    make("p", "quiet", say(isSource ? "cache stays" : "cache step", { n })),
  );
}
