// Inside one head: the formula with this sentence's numbers in it, for one query and one key.

const number = (x, id) => make("span", { class: "number", id }, exact(x));
const dot = (a, b) => a.reduce((total, x, d) => total + x * b[d], 0);

// A vector as cells; pointing at one marks the same place in every vector of the view.
function cells(numbers, name, words = "") {
  const most = largestOf(numbers);
  return make(
    "div",
    "",
    make("h3", "", name, words && make("span", "quiet", " " + words)),
    make(
      "div",
      { class: "cells", "data-vector": name },
      ...[...numbers].map((x, d) =>
        make("div", { class: "cell", "data-d": d, "--shade": shadeOf(x, most), "data-exact": exact(x) }, x.toFixed(2)),
      ),
    ),
  );
}

// Pointing at cell d of any vector marks the cells d of all, and writes what becomes of the numbers in it.
function followCells(box, line) {
  box.addEventListener("pointerover", (event) => {
    const d = event.target.dataset?.d;
    if (d === undefined) return;
    box.querySelectorAll(".cell.on").forEach((cell) => cell.classList.remove("on"));
    box.querySelectorAll(`.cell[data-d="${d}"]`).forEach((cell) => cell.classList.add("on"));
    byId("cell").textContent = line(Number(d));
  });
}

const headView = {
  name: "head",
  async draw(box, isNewest) {
    const { kind } = state;
    if (chosen().head == null) state.chosen[kind] = this.first(kind);
    const where = chosen();
    const full = await headInFull(kind, where.layer, where.head);
    if (!isNewest()) return;
    const one = attentionOf(kind);
    const [queries, keys] = [rowOfTokens(one.queries), rowOfTokens(one.keys)];
    const i = state.query;
    const [q, k, v, weights, output, bias] = ["queries", "keys", "values", "weights", "output", "bias"].map((name) =>
      asMatrix(full[name]),
    );
    const row = rowOf(weights, i);
    const j = state.key ?? row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    const scale = model.scale[kind][where.layer];
    const hidden = (key) => one.causal && key > i;
    const score = (key) => dot(rowOf(q, i), rowOf(k, key)) * scale + (bias ? rowOf(bias, i)[key] : 0);
    const scores = keys.ids.map((_, key) => score(key));
    const products = rowOf(q, i).map((x, d) => x * rowOf(k, j)[d]);
    const largest = Math.max(...scores.filter((_, key) => !hidden(key)));
    const exps = scores.map((s, key) => (hidden(key) ? 0 : Math.exp(s - largest)));
    const total = sum(exps);
    const shares = exps.map((e) => e / total); // the weights, which every card shows with the same digits
    const share = rowOf(v, j).map((x) => x * shares[j]);

    const pick = (name, list, value, set) => {
      const onchange = (event) => set(Number(event.target.value));
      const options = list.map((text, n) => make("option", { value: String(n), selected: n === value }, text));
      return [say(name), make("select", { id: name, "aria-label": say(name), onchange }, ...options)];
    };
    const numbered = (list) => list.map((piece, n) => `${n} ${shown(piece)}`);
    const upTo = (n) => [...Array(n).keys()].map(String);
    const kinds = state.reading.attention.map((other) => other.kind);
    const kindNames = kinds.map((other) => say("kind " + other));
    const controls = make(
      "div",
      "buttons",
      ...(kinds.length > 1 ? pick("kind", kindNames, kinds.indexOf(kind), (n) => choose(kinds[n], 0, 0)) : []),
      ...pick("layer", upTo(layersOf(kind)), where.layer, (n) => choose(kind, n, where.head)),
      ...pick("head", upTo(model.heads), where.head, (n) => choose(kind, where.layer, n)),
      ...pick("query", numbered(queries.pieces), i, (query) => show({ query, key: null })),
      ...pick("key", numbered(keys.pieces), j, (key) => show({ key })),
    );

    const line = (words, values) => make("p", "formula", ...mixed(words, values));
    const kindOfScore = bias ? "bias" : scale === 1 ? "plain" : "scaled"; // T5's self and cross attention, others
    const formula = make(
      "p",
      { class: "formula", id: "formula" },
      ...mixed("formula " + kindOfScore, { D: String(model.width) }),
    );
    const steps = hidden(j)
      ? [make("p", { id: "score" }, say("masked pair"))]
      : [
          line("score line", {
            q: `q${sub(i)}`,
            k: `k${sub(j)}`,
            sum: number(dot(rowOf(q, i), rowOf(k, j)), "product"),
          }),
          line("score " + kindOfScore, {
            scale: make("span", "", kindOfScore === "scaled" ? `1/√${model.width} = ` : "", number(scale, "scale")),
            bias: bias && number(rowOf(bias, i)[j], "bias"),
            score: number(scores[j], "score"),
          }),
          line("softmax line", {
            e: number(exps[j]),
            total: number(total),
            weight: number(shares[j], "softmax"),
          }),
        ];
    const first = make(
      "div",
      "card",
      make("h2", "", say("step scores")),
      cells(rowOf(q, i), `q${sub(i)}`, shown(queries.pieces[i])),
      cells(rowOf(k, j), `k${sub(j)}`, shown(keys.pieces[j])),
      cells(products, `q${sub(i)} · k${sub(j)}`, say("product of each")),
      make("p", { class: "number", id: "cell" }, say("point at a cell")),
      ...steps,
      model.rotated ? make("p", "quiet", say("rotated")) : null,
    );

    const rows = keys.pieces.map((piece, key) =>
      make(
        "tr",
        { class: `pick${key === j ? " on" : ""}${hidden(key) ? " out" : ""}`, onclick: () => show({ key }) },
        make("td", "", `${key} `, pieceBox(piece)),
        ...numbers(exact(scores[key]), hidden(key) ? "−∞" : "0", exact(shares[key])),
        make("td", "", make("div", "bars", bar(shares[key]))),
      ),
    );
    const names = ["key", "score", "mask", "softmax"].map((name) => say("column " + name));
    const table = make("table", { id: "scores" }, headings(...names, ""), ...rows);
    const second = make(
      "div",
      "card",
      make("h2", "", say("step softmax")),
      make("p", "quiet", say("softmax words")),
      make("div", "scroll tall", table),
    );

    const third = make(
      "div",
      "card",
      make("h2", "", say("step values")),
      cells(rowOf(v, j), `v${sub(j)}`, shown(keys.pieces[j])),
      cells(share, `${say("weight word")} · v${sub(j)}`, exact(shares[j])),
      cells(rowOf(output, i), say("output word"), say("output is")),
    );
    box.replaceChildren(
      controls,
      make("div", "card", formula, make("p", "quiet", say("own numbers"))),
      make("div", "row", make("div", "wide", first), make("div", "wide", second)),
      third,
    );
    const [whole, weightWord] = [rowOf(output, i), say("weight word")];
    followCells(
      box,
      (d) =>
        `[${d}]   q·k: ${exact(rowOf(q, i)[d])} · ${exact(rowOf(k, j)[d])} = ${exact(products[d])}    ` +
        `${weightWord}·v: ${exact(shares[j])} · ${exact(rowOf(v, j)[d])} = ${exact(share[d])}    Σ: ${exact(whole[d])}`,
    );
    markTokens([row, one.keys]);
  },

  // Where no head is chosen: the one that changes the prediction most, where that is known.
  first(kind) {
    const effects = (state.effects ?? []).filter((effect) => effect.heads[0][0] === kind);
    if (!effects.length) return { layer: Math.min(chosen(kind).layer, layersOf(kind) - 1), head: 0 };
    const [, layer, head] = effects.reduce((a, b) => (b.moved > a.moved ? b : a)).heads[0];
    return { layer, head };
  },
};
const sub = (n) => String(n).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
