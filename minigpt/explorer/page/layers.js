// Through the layers: the logit lens, and the lengths of the vectors in the stream.

const layersView = {
  name: "layers",
  async draw(box, isNewest) {
    const { streams, tokens } = state.reading;
    const lens = await lensOf(state.reading);
    if (!isNewest()) return;
    const cards = streams.map((stream) => this.stream(stream));
    box.replaceChildren(this.here(lens), this.table(lens, tokens), ...cards);
    markTokens();
  },

  // What each layer would say at the position of the prediction.
  here(lens) {
    const { prediction, tokens } = state.reading;
    const rows = lens.here.map((step, layer) => make("tr", {},
      make("th", {}, layer ? say("after layer", { layer: layer - 1 }) : say("embedding")),
      ...step.pieces.map((piece, n) => make("td", { "--shade": this.shade(step.probabilities[n]) }, `${shown(piece)} ${percent(step.probabilities[n])}`))));
    return make("div", { class: "card" }, make("h2", {}, ...mixed("lens here", { token: pieceBox(tokens.pieces[prediction.position]) })),
      make("div", { class: "scroll" }, make("table", { class: "lens", id: "lens-here" }, ...rows)));
  },

  shade: (p) => `color-mix(in srgb, var(--blue) ${Math.round(70 * Math.sqrt(p))}%, transparent)`,

  // The same for every position: the likeliest token of each layer, darker where it is likelier.
  table(lens, tokens) {
    const probabilities = unpack(lens.probabilities), ofFinal = unpack(lens.of_final);
    const head = make("tr", {}, make("th", {}), ...lens.columns.map((i) => make("th", { class: "number" }, shown(tokens.pieces[i]))));
    const last = lens.ids.length - 1;
    const rows = lens.ids.map((row, layer) => make("tr", {},
      make("th", {}, layer ? say("layer n", { layer: layer - 1 }) : say("embedding")),
      ...row.map((id, n) => {
        const p = rowOf(probabilities, layer)[n];
        return make("td", { "--shade": this.shade(p), onpointermove: (event) => tip(event, say("lens cell", {
          layer: layer ? say("after layer", { layer: layer - 1 }) : say("embedding"), token: shown(tokens.pieces[lens.columns[n]]),
          first: shown(lens.pieces[layer][n]), p: percent(p), final: shown(lens.pieces[last][n]), q: percent(rowOf(ofFinal, layer)[n]) })),
        onpointerleave: (event) => tip(event, null) }, label12(lens.pieces[layer][n]));
      })));
    return make("div", { class: "card" }, make("h2", {}, say("lens title")), make("p", { class: "quiet" }, say("lens words")),
      make("div", { class: "scroll" }, make("table", { class: "lens", id: "lens" }, head, ...rows)),
      lens.columns.length < tokens.ids.length ? make("p", { class: "quiet" }, say("lens cut", { n: lens.columns.length })) : null);
  },

  stream(stream) {
    const pieces = rowOfTokens(stream.row).pieces;
    const draw = (packed, name, to, first) => {
      const matrix = unpack(packed);
      const names = Array.from({ length: matrix.shape[0] }, (_, i) => (first && i === 0 ? say("embedding") : String(i - (first ? 1 : 0))));
      const picture = strips(matrix, names, to, 15);
      picture.element.addEventListener("pointermove", (event) => {
        const at = picture.at(event);
        tip(event, at && say("norm cell", { name, layer: names[at[0]], token: shown(pieces[at[1]]), norm: exact(rowOf(matrix, at[0])[at[1]]) }));
      });
      picture.element.addEventListener("pointerleave", (event) => tip(event, null));
      return make("div", {}, make("h3", {}, name, " ", make("span", { class: "quiet" }, say("up to", { most: short(largestOf(matrix.at)) }))),
        make("div", { class: "scroll" }, picture.element));
    };
    const title = state.reading.streams.length > 1 ? say("norms of", { row: say(stream.row === "source" ? "encoder" : "decoder") }) : say("norms title");
    return make("div", { class: "card", "data-stream": stream.row }, make("h2", {}, title), make("p", { class: "quiet" }, say(model.predicts === "gap" ? "norms words gap" : "norms words")),
      draw(stream.states, say("norm stream"), "blue", true), draw(stream.attention, say("norm attention"), "green", false),
      draw(stream.mlp, say("norm mlp"), "orange", false));
  },
};

// The lens of a reading, asked for when somebody looks: with a large vocabulary it takes as long as everything else.
const lenses = new WeakMap();
function lensOf(reading) {
  if (!live) return page.inside.lens;
  if (!lenses.has(reading)) lenses.set(reading, ask("lens", { ...ids(), position: reading.prediction.position }));
  return lenses.get(reading);
}

function label12(piece) {
  const characters = [...shown(piece)];
  return characters.length > 10 ? characters.slice(0, 9).join("") + "…" : characters.join("");
}
