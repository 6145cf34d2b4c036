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
      ? mixed("gap at", { n: String(prediction.position), token: pieceBox(state.reading.tokens.pieces[prediction.position]) })
      : mixed("after token", { token: pieceBox(state.reading.tokens.pieces[prediction.position]) });
    const left = make("div", { class: "card wide" }, make("h2", {}, ...where), this.bars);
    const right = make("div", { class: "card wide" }, ...(isGap ? this.gapControls() : [...this.sliders(), ...this.writing()]));
    box.replaceChildren(make("div", { class: "row" }, left, right), state.reading.cache ? cacheCard() : "");
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
    const rows = likely.map((id, n) => make("tr", { class: after[id] === 0 ? "out" : null, "data-id": id, "data-probability": after[id] },
      make("td", {}, pieceBox(pieces[n])),
      make("td", { class: "number" }, percent(after[id])),
      make("td", {}, make("div", { class: "bars" }, make("div", { class: "bar", width: `${(100 * after[id]) / most}%` }),
        isGap ? null : make("div", { class: "bar before", width: `${(100 * before[id]) / most}%` }))),
      make("td", { class: "number quiet" }, logits[id].toFixed(2))));
    const allowed = after.reduce((n, p) => n + (p > 0), 0);
    const entropy = -sum([...after].map((p) => (p > 0 ? p * Math.log2(p) : 0)));
    this.bars.replaceChildren(
      make("div", { class: "scroll" }, make("table", {}, make("tr", {}, make("th", {}, say("token")), make("th", { class: "number" }, say("probability")), make("th", {}), make("th", { class: "number" }, "logit")), ...rows)),
      make("p", { class: "quiet", id: "allowed" }, say(isGap ? "entropy" : "allowed", { n: allowed, V: model.vocab_size, bits: entropy.toFixed(2) })));
  },

  sliders() {
    const rows = model.processors.flatMap((name) => {
      const { least, most, step, rest } = SLIDERS[name];
      const value = state.settings[name] ?? rest;
      const written = (x) => (x === rest ? say("off") : name === "top_k" ? String(x) : x.toFixed(2));
      const output = make("output", { class: "number" }, written(value));
      const input = make("input", { type: "range", id: name, min: String(least), max: String(most), step: String(step), value: String(value),
        oninput: (event) => {
          const x = Number(event.target.value);
          state.settings[name] = x === rest ? null : x;
          output.textContent = written(x);
          this.update();
        } });
      return [make("label", { for: name }, say("slider " + name)), input, output];
    });
    return [make("h2", {}, say("sliders title")), make("div", { class: "sliders" }, ...rows),
      make("p", { class: "quiet" }, say("order"))];
  },

  writing() {
    const { tokens } = state.reading;
    if (!live) return [make("p", { class: "quiet" }, say("file only"))];
    const full = tokens.ids.length >= model.most_tokens;
    const way = (sample) => make("button", { type: "button", id: sample ? "draw" : "likeliest", "aria-pressed": String(state.sample === sample),
      onclick: () => { state.sample = sample; show(); } }, say(sample ? "draw" : "likeliest"));
    const seed = make("input", { type: "number", id: "seed", min: "0", value: String(state.seed), "aria-label": say("seed"),
      onchange: (event) => { state.seed = Math.max(0, Math.floor(Number(event.target.value)) || 0); } });
    return [
      make("div", { class: "buttons" },
        make("button", { type: "button", class: "main", id: "next", disabled: full, onclick: writeNext }, say("next")),
        make("button", { type: "button", id: "run", disabled: full, onclick: run }, say(state.running ? "stop" : "run")),
        make("button", { type: "button", id: "back", disabled: tokens.ids.length < 2, onclick: back }, say("back"))),
      make("div", { class: "buttons" }, way(false), way(true), ...(state.sample ? [say("seed"), seed] : [])),
      state.ended ? make("p", { id: "ended" }, state.ended) : full ? make("p", { id: "ended" }, say("full", { n: model.most_tokens })) : null,
      make("div", { class: "written", id: "written" }, tokens.pieces.join(""))].filter(Boolean);
  },

  gapControls() {
    const { tokens, prediction } = state.reading;
    const words = make("p", { class: "quiet" }, say(live ? "gap words" : "gap words file"));
    if (!live) return [words];
    const hide = make("button", { type: "button", id: "hide", class: "main", disabled: model.mask === null || tokens.ids[state.query] === model.mask,
      onclick: () => readIds(tokens.ids.map((id, i) => (i === state.query ? model.mask : id)), state.query) },
    say("hide token", { token: shown(tokens.pieces[state.query]) }));
    const look = make("button", { type: "button", id: "look", disabled: prediction.position === state.query,
      onclick: () => readIds(tokens.ids, state.query) }, say("predict here", { token: shown(tokens.pieces[state.query]) }));
    return [words, make("div", { class: "buttons" }, hide, look)];
  },
};

// --- writing ---------------------------------------------------------------------------------------------------------

const writeNext = () => attempt(async (isNewest) => {
  const settings = state.sample ? state.settings : {};
  const reading = await ask("next", { ...ids(), sample: state.sample, seed: state.seed, settings });
  if (!isNewest()) return;
  state.ended = reading.ends ? say("ended") : null;
  await newReading(reading, reading.tokens.ids.length - 1);
});

async function run() {
  state.running = !state.running;
  if (!state.running) return show();
  while (state.running && state.reading.tokens.ids.length < model.most_tokens && !state.ended) await writeNext();
  state.running = false;
  await show();
}

const back = () => readIds(state.reading.tokens.ids.slice(0, -1));

const readIds = (tokens, position) => attempt(async (isNewest) => {
  const { source } = state.reading;
  const fields = { tokens, ...(source && { source: source.ids }), ...(position !== undefined && { position }) };
  const reading = await ask("read", fields);
  if (!isNewest()) return;
  state.ended = null;
  await newReading(reading, position ?? tokens.length - 1);
});

// --- the KV cache ----------------------------------------------------------------------------------------------------

function cacheCard() {
  const { cache, tokens } = state.reading;
  const n = tokens.ids.length, n_layers = unpack(cache.keys).shape[0];
  const draw = (packed, name) => {
    const matrix = unpack(packed);
    const picture = strips(matrix, [...Array(n_layers).keys()].map((layer) => `${name} ${layer}`), name === "K" ? "blue" : "green", 12);
    picture.draw.strokeStyle = colour("orange");
    picture.draw.lineWidth = 1.5;
    picture.draw.strokeRect(picture.left + (n - 1) * picture.wide, 1, picture.wide, n_layers * picture.cell);
    picture.element.addEventListener("pointermove", (event) => {
      const at = picture.at(event);
      tip(event, at && say("cache cell", { name, layer: at[0], token: shown(tokens.pieces[at[1]]), norm: exact(rowOf(matrix, at[0])[at[1]]) }));
    });
    picture.element.addEventListener("pointerleave", (event) => tip(event, null));
    return make("div", { class: "scroll" }, picture.element);
  };
  const layers = model.layers.self ?? model.layers.decoder;
  return make("div", { class: "card", id: "cache" }, make("h2", {}, "KV cache"),
    make("p", {}, say("cache words", { n, layers, heads: model.key_heads, D: model.width, b: cache.number_bytes,
      each: bytes(cache.bytes_per_token), all: bytes(n * cache.bytes_per_token) })),
    draw(cache.keys, "K"), draw(cache.values, "V"),
    make("p", { class: "quiet" }, say("cache step", { n })));
}
