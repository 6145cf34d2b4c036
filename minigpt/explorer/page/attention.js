// Attention: every head as a small map, one of them large, and what a head does for the prediction (heads.js).

const layersOf = (kind) => model.layers[kind];
const chosen = (kind = state.kind) => state.chosen[kind];
function headName({ layer, head }, kind = state.kind) {
  const name = layer === layersOf(kind) ? say("all heads") : say(head == null ? "mean of layer" : "head name", { layer, head });
  return model.has_source ? say("of kind", { name, kind: say("short " + kind) }) : name; // a T5 has three attentions
}

// The weights (T, S) of what is chosen: of a head in full, or a mean.
async function weightsOf(kind) {
  const { layer, head } = chosen(kind);
  if (head == null) return part(attentionOf(kind).means, layer);
  return asMatrix((await headInFull(kind, layer, head)).weights);
}

function choose(kind, layer, head) {
  state.kind = kind;
  state.chosen[kind] = { layer, head };
  const one = attentionOf(kind);
  state.query = Math.min(state.query, rowOfTokens(one.queries).ids.length - 1);
  state.key = null;
  show();
}

// All maps of one kind in one canvas: a row for each layer, a column for each head, and last the mean.
function smallMaps(kind) {
  const one = attentionOf(kind);
  const [n_layers, n_heads, n, m] = one.shades.shape;
  const kinds = state.reading.attention.length;
  const space = kinds > 1 && innerWidth > 900 ? (Math.min(1440, innerWidth) - 130) / kinds : Math.min(460, innerWidth - 60);
  const size = Math.max(16, Math.min(64, Math.floor((space - 30) / (n_heads + 1)) - 4));
  const pitch = size + 4, high = pitch + 3, left = 24, top = 18;
  const width = left + (n_heads + 1) * pitch + 6;
  const picture = twoLayers(width, top + n_layers * high + 2);
  const { draw, mark, above } = picture;
  const [blue, green] = [ramp("blue"), ramp("green")];
  draw.font = `11px ${colour("mono")}`;
  draw.fillStyle = colour("quiet");
  draw.textAlign = "center";
  draw.strokeStyle = colour("line");
  draw.imageSmoothingEnabled = size < Math.max(n, m); // smooth where it becomes smaller, sharp where larger
  for (let head = 0; head <= n_heads; head++) draw.fillText(head < n_heads ? head : say("mean"), left + head * pitch + size / 2, 12);
  const spot = (layer, head) => [left + head * pitch + (head === n_heads ? 5 : 0), top + layer * high];
  const effects = new Map((state.effects ?? []).map((effect) => [effect.heads[0].join(" "), effect.moved]));
  const most = Math.max(1e-9, ...effects.values());
  for (let layer = 0; layer < n_layers; layer++) {
    draw.fillText(layer, 10, top + layer * high + size / 2 + 4);
    for (let head = 0; head <= n_heads; head++) {
      const [x, y] = spot(layer, head);
      const isMean = head === n_heads;
      const shades = isMean ? Uint8Array.from(part(one.means, layer).at, shade) : part(one.shades, layer, head).at;
      draw.drawImage(image(shades, n, m, isMean ? green : blue), x, y, size, size);
      draw.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
      const moved = effects.get(`${kind} ${layer} ${head}`);
      if (moved !== undefined) {
        draw.fillStyle = colour("orange");
        draw.fillRect(x, y + size + 1.5, Math.max(1, (size * moved) / most), 2.5);
        draw.fillStyle = colour("quiet");
      }
      if (state.off.some(([k, l, h]) => k === kind && l === layer && h === head)) {
        draw.strokeStyle = colour("red");
        draw.lineWidth = 2;
        draw.beginPath();
        draw.moveTo(x, y);
        draw.lineTo(x + size, y + size);
        draw.stroke();
        draw.lineWidth = 1;
        draw.strokeStyle = colour("line");
      }
    }
  }
  const at = (event) => {
    const box = above.getBoundingClientRect();
    const head = Math.min(n_heads, Math.floor((event.clientX - box.left - left) / pitch));
    const layer = Math.floor((event.clientY - box.top - top) / high);
    return head >= 0 && layer >= 0 && layer < n_layers ? { layer, head: head === n_heads ? null : head } : null;
  };
  const frame = (where, to) => {
    if (!where || where.layer >= n_layers) return;
    const [x, y] = spot(where.layer, where.head ?? n_heads);
    mark.strokeStyle = colour(to);
    mark.lineWidth = 2.5;
    mark.strokeRect(x - 1.5, y - 1.5, size + 3, size + 3);
  };
  const marks = (pointed) => {
    mark.clearRect(0, 0, picture.width, picture.height);
    frame(chosen(kind), kind === state.kind ? "orange" : "quiet");
    frame(pointed, "green");
  };
  marks(null);
  above.style.cursor = "pointer";
  above.addEventListener("pointermove", (event) => {
    const where = at(event);
    marks(where);
    const moved = where && effects.get(`${kind} ${where.layer} ${where.head}`);
    tip(event, where && headName(where, kind) + (moved == null ? "" : "\n" + say("moves", { p: percent(moved) })));
  });
  above.addEventListener("pointerleave", (event) => { marks(null); tip(event, null); });
  above.addEventListener("click", (event) => { const where = at(event); if (where) choose(kind, where.layer, where.head); });
  picture.box.dataset.kind = kind;
  return picture.box;
}

// The sentences at the top: where the selected token looks, what the model would say, which head matters most.
function summary() {
  const { prediction, tokens } = state.reading;
  const look = model.has_source ? "cross" : "self";
  const one = attentionOf(look);
  const at = prediction ? prediction.position : tokens.ids.length - 1;
  const weights = rowOf(part(one.means, layersOf(look)), at);
  const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, 2);
  const keys = rowOfTokens(one.keys).pieces;
  const said = [...mixed(best.length > 1 ? "looks at two" : "looks at one", {
    token: pieceBox(tokens.pieces[at]), first: pieceBox(keys[best[0]]), p: percent(weights[best[0]]),
    second: best.length > 1 && pieceBox(keys[best[1]]), q: best.length > 1 && percent(weights[best[1]]) })];
  if (prediction) {
    const p = softmax(unpack(prediction.logits).at);
    said.push(" ", ...mixed(model.predicts === "gap" ? "would fill" : "would say", {
      token: pieceBox(prediction.likely.pieces[0]), p: percent(p[prediction.likely.ids[0]]) }));
  }
  if (state.effects?.length) {
    const most = state.effects.reduce((a, b) => (b.moved > a.moved ? b : a));
    const [kind, layer, head] = most.heads[0];
    const jump = make("button", { type: "button", onclick: () => choose(kind, layer, head) }, headName({ layer, head }, kind));
    const before = most.before[0], after = most.after[0];
    said.push(" ", ...mixed("most effect", { head: jump, token: pieceBox(most.pieces[0]), m: percent(most.moved), p: percent(after), q: percent(before) }));
  }
  return make("p", { class: "summary", id: "summary" }, ...said);
}

let maps = []; // of this view: {kind, one, weights, map}

const attentionView = {
  name: "attention",
  async draw(box, isNewest) {
    const kinds = state.reading.attention.map((one) => one.kind);
    const found = await Promise.all(kinds.map(weightsOf));
    if (!isNewest()) return;
    const title = (kind) => make("h3", {}, say("kind " + kind));
    const several = kinds.length > 1; // then a row of small maps, and a row of large ones below
    const left = make("div", { class: several ? "card" : "card side" }, make("h2", {}, say("all heads title")),
      make("div", { class: "row" }, ...kinds.map((kind) => make("div", {}, several ? title(kind) : null, smallMaps(kind)))),
      make("p", { class: "quiet" }, say("small maps"), state.effects ? " " + say("orange bars") : ""));
    const wide = innerWidth > 900;
    const space = several ? (wide ? (Math.min(1440, innerWidth) - 110) / kinds.length - 30 : 300) : Math.max(300, Math.min(760, innerWidth - (wide ? 600 : 40)));
    maps = kinds.map((kind, i) => {
      const one = attentionOf(kind);
      const draw = state.lines ? lineMap : largeMap;
      const map = draw(found[i], rowOfTokens(one.queries).pieces, rowOfTokens(one.keys).pieces, space, {
        moved: (at, event) => this.point(kind, at, event),
        picked: (query, key) => {
          Object.assign(state, { kind, query: query ?? Math.min(state.query, found[i].shape[0] - 1), key });
          show();
        },
      });
      map.element.dataset.kind = kind;
      return { kind, one, weights: found[i], map };
    });
    const ways = ["map", "lines"].map((way) => make("button", {
      type: "button", id: "as-" + way, "aria-pressed": String(state.lines === (way === "lines")),
      onclick: () => { state.lines = way === "lines"; show(); } }, say("as " + way)));
    const right = make("div", { class: "card wide" },
      make("div", { class: "buttons" }, make("h2", { id: "head-name" }, headName(chosen())), ...ways,
        make("span", { class: "quiet" }, say("row and column"))),
      make("div", { class: "row scroll" }, ...maps.map(({ kind, map }) =>
        make("div", { class: "scroll" }, several ? title(kind) : null, map.element))),
      make("p", { class: "number", id: "pair" }),
      this.writes());
    box.replaceChildren(summary(), ...(several ? [left, right, headSwitch()]
      : [make("div", { class: "row" }, left, make("div", { class: "wide" }, right, headSwitch()))]));
    this.rest();
  },

  // How much the chosen head writes at the selected token.
  writes() {
    const { layer, head } = chosen();
    if (head == null) return null;
    const norms = part(attentionOf(state.kind).norms, layer, head).at;
    return make("p", { class: "quiet", id: "writes" }, say("head writes", { norm: exact(norms[state.query] ?? norms.at(-1)), mean: short(sum([...norms]) / norms.length) }));
  },

  // Nothing is pointed at: the selected token looks.
  rest() {
    for (const { kind, map } of maps) map.mark(kind === state.kind ? state.query : null, null);
    const { weights, one } = maps.find(({ kind }) => kind === state.kind);
    markTokens([rowOf(weights, state.query), one.keys]);
    this.tell(this.looks(state.kind, state.query));
  },

  // The pointer is on a cell of a map: its row is where the query looks, its column who looks at the key.
  point(kind, at, event) {
    if (!at) { tip(event, null); return this.rest(); }
    const [query, key] = at;
    const { weights, one, map } = maps.find((one) => one.kind === kind);
    map.mark(query, key, query === null);
    markTokens(query !== null && [rowOf(weights, query), one.keys], key !== null && key >= 0 && [column(weights, key), one.queries], query);
    if (query === null) this.tell(this.lookers(kind, key));
    else if (key === null || key < 0) this.tell(this.looks(kind, query));
    else this.tell(say("weight of pair", { query: shown(rowOfTokens(one.queries).pieces[query]),
      key: shown(rowOfTokens(one.keys).pieces[key]), weight: exact(rowOf(weights, query)[key]) }));
    tip(event, byId("pair").textContent);
  },

  // The pointer is on a token of the text: where it looks, and who looks at it.
  hover(name, i) {
    if (i === null) return this.rest();
    const fits = ({ one }) => one.queries === name || one.keys === name;
    const own = maps.find(({ kind }) => kind === state.kind);
    const { kind, weights, one, map } = fits(own) ? own : maps.find(fits);
    const [isQuery, isKey] = [one.queries === name, one.keys === name];
    map.mark(isQuery ? i : null, isKey ? i : null, !isQuery);
    markTokens(isQuery && [rowOf(weights, i), one.keys], isKey && [column(weights, i), one.queries], isQuery ? i : null);
    this.tell([isQuery && this.looks(kind, i), isKey && this.lookers(kind, i)].filter(Boolean).join("\n"));
  },

  // In words: the keys that a query looks at most, and the queries that look most at a key.
  looks(kind, i) {
    const { weights, one } = maps.find((other) => other.kind === kind);
    return this.most("most looked", rowOfTokens(one.queries).pieces[i], rowOf(weights, i), rowOfTokens(one.keys).pieces);
  },
  lookers(kind, j) {
    const { weights, one } = maps.find((other) => other.kind === kind);
    return this.most("most looking", rowOfTokens(one.keys).pieces[j], column(weights, j), rowOfTokens(one.queries).pieces);
  },
  most(words, token, weights, pieces) {
    const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, 3).filter((j) => weights[j] > 0);
    return say(words, { token: shown(token), list: best.map((j) => `${shown(pieces[j])} ${percent(weights[j])}`).join("  ") });
  },
  tell(text) {
    byId("pair").textContent = text;
  },
};

const column = (matrix, j) => Float32Array.from({ length: matrix.shape[0] }, (_, i) => matrix.at[i * matrix.shape[1] + j]);
