// Attention: every head as a small map, one of them large, and what a head does for the prediction (switch.js).

// The sentences at the top: where the selected token looks, what the model would say, which head matters most.
function summary() {
  const { prediction, tokens } = state.reading;
  const look = model.has_source ? "cross" : "self";
  const one = attentionOf(look);
  const at = prediction.position;
  const weights = rowOf(part(one.means, layersOf(look)), at);
  const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, 2);
  const keys = rowOfTokens(one.keys).pieces;
  const gap = language === "zh" ? "" : " "; // between sentences
  const said = [
    ...mixed("where " + model.predicts, { token: pieceBox(tokens.pieces[at]), n: String(at) }),
    gap,
    say("mean " + look),
    gap,
    ...mixed(best.length > 1 ? "looks at two" : "looks at one", {
      first: pieceBox(keys[best[0]]),
      p: percent(weights[best[0]]),
      second: best.length > 1 && pieceBox(keys[best[1]]),
      q: best.length > 1 && percent(weights[best[1]]),
    }),
  ];
  const p = softmax(unpack(prediction.logits).at);
  said.push(
    gap,
    ...mixed(model.predicts === "gap" ? "would fill" : "would say", {
      token: pieceBox(prediction.likely.pieces[0]),
      p: percent(p[prediction.likely.ids[0]]),
    }),
  );
  if (state.effects?.length) {
    const most = state.effects.reduce((a, b) => (b.moved > a.moved ? b : a));
    const [kind, layer, head] = most.heads[0];
    const change = (i) => Math.abs(most.after[i] - most.before[i]);
    const changed = most.pieces.reduce((best, _, i) => (change(i) > change(best) ? i : best), 0);
    const jump = button(headName({ layer, head }, kind), () => choose(kind, layer, head));
    said.push(
      gap,
      ...mixed("most effect", {
        head: jump,
        token: pieceBox(most.pieces[changed]),
        p: percent(most.before[changed]),
        q: percent(most.after[changed]),
        m: points(most.moved),
      }),
    );
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
    const title = (kind) => make("h3", "", say("kind " + kind));
    const several = kinds.length > 1; // then a row of small maps, and a row of large ones below
    const wide = innerWidth > 900;
    const beside = (Math.min(1440, innerWidth) - 110) / kinds.length - 30; // for one of several maps
    const space = several ? (wide ? beside : 300) : Math.max(300, Math.min(760, innerWidth - (wide ? 600 : 40)));
    const left = make(
      "div",
      "card",
      make("h2", "", say("all heads title")),
      make("div", "row", ...kinds.map((kind) => make("div", "", several ? title(kind) : null, smallMaps(kind)))),
      make("p", "quiet", say("small maps"), state.effects ? " " + say("orange bars") : ""),
    );
    maps = kinds.map((kind, i) => {
      const one = attentionOf(kind);
      const draw = state.lines ? lineMap : largeMap;
      const map = draw(found[i], rowOfTokens(one.queries).pieces, rowOfTokens(one.keys).pieces, space, {
        moved: (at, event) => this.point(kind, at, event),
        picked: (query, key) => show({ kind, query: query ?? Math.min(state.query, found[i].shape[0] - 1), key }),
      });
      map.element.dataset.kind = kind;
      return { kind, one, weights: found[i], map };
    });
    const ways = ["map", "lines"].map((way) =>
      button(say("as " + way), () => show({ lines: way === "lines" }), {
        id: "as-" + way,
        "aria-pressed": String(state.lines === (way === "lines")),
      }),
    );
    const right = make(
      "div",
      "card wide",
      make(
        "div",
        "buttons",
        make("h2", { id: "head-name" }, headName(chosen())),
        ...ways,
        make("span", "quiet", say(state.lines ? "left and right" : "row and column")),
      ),
      make(
        "div",
        "row scroll",
        ...maps.map(({ kind, map }) => make("div", "scroll", several ? title(kind) : null, map.element)),
      ),
      make("p", { class: "number", id: "pair" }),
      this.writes(),
    );
    const parts = several
      ? [left, right, headSwitch()]
      : [make("div", "row", make("div", "side", left, headSwitch()), right)];
    box.replaceChildren(summary(), ...parts);
    this.rest();
  },

  // How much the chosen head writes at the selected token.
  writes() {
    const { layer, head } = chosen();
    if (head == null) return null;
    const norms = part(attentionOf(state.kind).norms, layer, head).at;
    return make(
      "p",
      { class: "quiet", id: "writes" },
      say("head writes", {
        norm: short(norms[state.query] ?? norms.at(-1)),
        mean: short(sum([...norms]) / norms.length),
      }),
    );
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
    if (!at) {
      tip(event, null);
      return this.rest();
    }
    const [query, key] = at;
    const { weights, one, map } = maps.find((one) => one.kind === kind);
    map.mark(query, key, query === null, true);
    markTokens(
      query !== null && [rowOf(weights, query), one.keys],
      key !== null && key >= 0 && [column(weights, key), one.queries],
      query,
    );
    if (query === null) this.tell(this.lookers(kind, key));
    else if (key === null || key < 0) this.tell(this.looks(kind, query));
    else
      this.tell(
        say("weight of pair", {
          query: shown(rowOfTokens(one.queries).pieces[query]),
          key: shown(rowOfTokens(one.keys).pieces[key]),
          weight: exact(rowOf(weights, query)[key]),
        }),
      );
    tip(event, byId("pair").textContent);
  },

  // The pointer is on a token of the text: where it looks, and who looks at it.
  hover(name, i) {
    if (i === null) return this.rest();
    const fits = ({ one }) => one.queries === name || one.keys === name;
    const own = maps.find(({ kind }) => kind === state.kind);
    const { kind, weights, one, map } = fits(own) ? own : maps.find(fits);
    const [isQuery, isKey] = [one.queries === name, one.keys === name];
    map.mark(isQuery ? i : null, isKey ? i : null, !isQuery, true);
    markTokens(
      isQuery && [rowOf(weights, i), one.keys],
      isKey && [column(weights, i), one.queries],
      isQuery ? i : null,
    );
    this.tell([isQuery && this.looks(kind, i), isKey && this.lookers(kind, i)].filter(Boolean).join("\n"));
  },

  // In words: the keys that a query looks at most, and the queries that look most at a key.
  looks(kind, i) {
    const { weights, one } = maps.find((other) => other.kind === kind);
    return this.most(
      "most looked",
      rowOfTokens(one.queries).pieces[i],
      rowOf(weights, i),
      rowOfTokens(one.keys).pieces,
    );
  },
  lookers(kind, j) {
    const { weights, one } = maps.find((other) => other.kind === kind);
    return this.most(
      "most looking",
      rowOfTokens(one.keys).pieces[j],
      column(weights, j),
      rowOfTokens(one.queries).pieces,
    );
  },
  most(words, token, weights, pieces) {
    const best = [...weights.keys()]
      .sort((a, b) => weights[b] - weights[a])
      .slice(0, 3)
      .filter((j) => weights[j] > 0);
    return say(words, {
      token: shown(token),
      list: best.map((j) => `${shown(pieces[j])} ${percent(weights[j])}`).join("  "),
    });
  },
  tell(text) {
    byId("pair").textContent = text;
  },
};

const column = (matrix, j) =>
  Float32Array.from({ length: matrix.shape[0] }, (_, i) => matrix.at[i * matrix.shape[1] + j]);
