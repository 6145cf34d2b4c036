// Inside one head: the formula with this sentence's numbers in it, for one query and one key.

const number = (x, id) => make("span", { class: "number", id }, exact(x));
const dot = (a, b) => a.reduce((total, x, d) => total + x * b[d], 0);

// A vector as cells; pointing at one marks the same place in every vector of the view.
function cells(numbers, name, words = "") {
  const most = largestOf(numbers);
  return make("div", {}, make("h3", {}, name, words && make("span", { class: "quiet" }, " " + words)),
    make("div", { class: "cells", "data-vector": name }, ...[...numbers].map((x, d) =>
      make("div", { class: "cell", "data-d": d, "--shade": shadeOf(x, most), "data-exact": exact(x) }, x.toFixed(2)))));
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
    const [q, k, v, weights, output, bias] =
      ["queries", "keys", "values", "weights", "output", "bias"].map((name) => asMatrix(full[name]));
    const row = rowOf(weights, i);
    const j = state.key ?? row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    const scale = model.scale[kind][where.layer];
    const hidden = (key) => one.causal && key > i;
    const score = (key) => dot(rowOf(q, i), rowOf(k, key)) * scale + (bias ? rowOf(bias, i)[key] : 0);
    const scores = keys.ids.map((_, key) => score(key));
    const products = rowOf(q, i).map((x, d) => x * rowOf(k, j)[d]);
    const share = rowOf(v, j).map((x) => x * row[j]);
    const largest = Math.max(...scores.filter((_, key) => !hidden(key)));
    const exps = scores.map((s, key) => (hidden(key) ? 0 : Math.exp(s - largest)));
    const total = sum(exps);

    const pick = (name, list, value, set) => make("select", { id: name, "aria-label": say(name), onchange: (event) => { set(Number(event.target.value)); show(); } },
      ...list.map((text, n) => make("option", { value: String(n), selected: n === value }, text)));
    const kinds = state.reading.attention.map((other) => other.kind);
    const controls = make("div", { class: "buttons" },
      kinds.length > 1 ? pick("kind", kinds.map((other) => say("kind " + other)), kinds.indexOf(kind), (n) => { state.query = 0; choose(kinds[n], 0, 0); }) : null,
      say("layer"), pick("layer", [...Array(layersOf(kind)).keys()].map(String), where.layer, (n) => choose(kind, n, where.head)),
      say("head"), pick("head", [...Array(model.heads).keys()].map(String), where.head, (n) => choose(kind, where.layer, n)),
      say("query"), pick("query", queries.pieces.map((piece, n) => `${n} ${shown(piece)}`), i, (n) => { state.query = n; state.key = null; }),
      say("key"), pick("key", keys.pieces.map((piece, n) => `${n} ${shown(piece)}`), j, (n) => { state.key = n; }));

    const width = model.width;
    const formula = make("p", { class: "formula", id: "formula" },
      ...mixed(bias ? "formula bias" : scale === 1 ? "formula plain" : "formula", { D: String(width) }));
    const steps = hidden(j) ? [make("p", { id: "score" }, say("masked pair"))] : [
      make("p", { class: "formula" }, ...mixed("score line", { q: `q${sub(i)}`, k: `k${sub(j)}`, sum: number(dot(rowOf(q, i), rowOf(k, j)), "product") })),
      make("p", { class: "formula" }, ...mixed(bias ? "score bias" : scale === 1 ? "score plain" : "score scaled", { scale: number(scale, "scale"),
        bias: bias && number(rowOf(bias, i)[j], "bias"), score: number(scores[j], "score") })),
      make("p", { class: "formula" }, ...mixed("softmax line", { e: number(exps[j]), total: number(total), weight: number(exps[j] / total, "softmax") }))];
    const first = make("div", { class: "card" }, make("h2", {}, say("step scores")),
      cells(rowOf(q, i), `q${sub(i)}`, shown(queries.pieces[i])), cells(rowOf(k, j), `k${sub(j)}`, shown(keys.pieces[j])),
      cells(products, `q${sub(i)} · k${sub(j)}`, say("product of each")),
      make("p", { class: "number", id: "cell" }, say("point at a cell")), ...steps,
      model.rotated ? make("p", { class: "quiet" }, say("rotated")) : null);

    const table = make("table", { id: "scores" }, make("tr", {}, ...["key", "score", "mask", "softmax", ""].map((name, n) =>
      make("th", { class: n ? "number" : null }, name && say("column " + name)))),
    ...keys.pieces.map((piece, key) => make("tr", { class: `pick${key === j ? " on" : ""}${hidden(key) ? " out" : ""}`, onclick: () => { state.key = key; show(); } },
      make("td", {}, `${key} `, pieceBox(piece)),
      make("td", { class: "number" }, exact(scores[key])),
      make("td", { class: "number" }, hidden(key) ? "−∞" : "0"),
      make("td", { class: "number" }, exact(row[key])),
      make("td", {}, make("div", { class: "bars" }, make("div", { class: "bar", width: `${100 * row[key]}%` }))))));
    const second = make("div", { class: "card" }, make("h2", {}, say("step softmax")), make("p", { class: "quiet" }, say("softmax words")),
      make("div", { class: "scroll" }, table));

    const third = make("div", { class: "card" }, make("h2", {}, say("step values")),
      cells(rowOf(v, j), `v${sub(j)}`, shown(keys.pieces[j])),
      cells(share, `${say("weight word")} · v${sub(j)}`, exact(row[j])),
      cells(rowOf(output, i), say("output word"), say("output is")));
    box.replaceChildren(controls, make("div", { class: "card" }, formula, make("p", { class: "quiet" }, say("own numbers"))),
      make("div", { class: "row" }, make("div", { class: "wide" }, first, third), make("div", { class: "wide" }, second)));
    const whole = rowOf(output, i);
    followCells(box, (d) => `[${d}]   q·k: ${exact(rowOf(q, i)[d])} · ${exact(rowOf(k, j)[d])} = ${exact(products[d])}    ` +
      `${say("weight word")}·v: ${exact(row[j])} · ${exact(rowOf(v, j)[d])} = ${exact(share[d])}    Σ: ${exact(whole[d])}`);
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
