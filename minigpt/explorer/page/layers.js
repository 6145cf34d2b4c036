// Through the layers: the logit lens, and the lengths of the vectors in the stream.

const layerName = (row) => (row ? say("after layer", { layer: row - 1 }) : say("embedding"));

const layersView = {
  name: "layers",
  async draw(box, isNewest) {
    const lens = await lensOf(state.reading);
    if (!isNewest()) return;
    box.replaceChildren(
      this.here(lens),
      this.everywhere(lens),
      ...state.reading.streams.map((one) => this.stream(one)),
    );
    markTokens();
  },

  shade: (p) => `color-mix(in srgb, var(--blue) ${Math.round(70 * Math.sqrt(p))}%, transparent)`,

  // What each layer would say at the position of the prediction.
  here(lens) {
    const { prediction, tokens } = state.reading;
    const rows = lens.here.map((step, row) => {
      const likely = step.pieces.map((piece, n) => {
        const p = step.probabilities[n];
        return make("td", { "--shade": this.shade(p) }, `${shown(piece)} ${percent(p)}`);
      });
      return make("tr", "", make("th", "", layerName(row)), ...likely);
    });
    return make(
      "div",
      "card",
      make("h2", "", ...mixed("lens here " + model.predicts, {
          token: pieceBox(tokens.pieces[prediction.position]),
          n: String(prediction.position),
        })),
      make("div", "scroll", make("table", { class: "lens", id: "lens-here" }, ...rows)),
    );
  },

  // The same for every position: the likeliest token of each layer, in a stronger colour where it is likelier.
  everywhere(lens) {
    const { tokens } = state.reading;
    const [probabilities, ofFinal] = [unpack(lens.probabilities), unpack(lens.of_final)];
    const final = lens.pieces.at(-1);
    const cell = (row, n) => {
      const p = rowOf(probabilities, row)[n];
      return tipOn(make("td", { "--shade": this.shade(p) }, atMost(10, lens.pieces[row][n])), () =>
        say("lens cell", {
          layer: layerName(row),
          token: shown(tokens.pieces[lens.columns[n]]),
          first: shown(lens.pieces[row][n]),
          p: percent(p),
          final: shown(final[n]),
          q: percent(rowOf(ofFinal, row)[n]),
        }),
      );
    };
    const names = lens.columns.map((i) => make("th", "", shown(tokens.pieces[i])));
    const rows = lens.ids.map((ids, row) =>
      make("tr", "", make("th", "", layerName(row)), ...ids.map((_, n) => cell(row, n))),
    );
    return make(
      "div",
      "card",
      make("h2", "", say("lens title")),
      make("p", "quiet", say("lens words")),
      make(
        "div",
        "scroll",
        make("table", { class: "lens", id: "lens" }, make("tr", "", make("th", ""), ...names), ...rows),
      ),
      lens.columns.length < tokens.ids.length ? make("p", "quiet", say("lens cut", { n: lens.columns.length })) : null,
    );
  },

  // The lengths of the vectors of one stack: of the stream, of what attention writes, of what the MLP writes.
  stream({ row, states, attention, mlp }) {
    const pieces = rowOfTokens(row).pieces;
    const draw = (packed, name, to) => {
      const matrix = unpack(packed);
      const isStream = packed === states; // it has a row more: what the first layer reads
      const names = Array.from({ length: matrix.shape[0] }, (_, i) =>
        isStream ? (i ? String(i - 1) : say("embedding")) : String(i),
      );
      const picture = strips(matrix, names, to, 15);
      tipOn(picture.element, (event) => {
        const at = picture.at(event);
        return (
          at &&
          say("norm cell", {
            name,
            layer: names[at[0]],
            token: shown(pieces[at[1]]),
            norm: exact(rowOf(matrix, at[0])[at[1]]),
          })
        );
      });
      return make(
        "div",
        "",
        make("h3", "", name, " ", make("span", "quiet", say("up to", { most: short(largestOf(matrix.at)) }))),
        make("div", "scroll", picture.element),
      );
    };
    const title = model.has_source
      ? say("norms of", { row: say(row === "source" ? "encoder" : "decoder") })
      : say("norms title");
    return make(
      "div",
      { class: "card", "data-stream": row },
      make("h2", "", title),
      make("p", "quiet", say(model.predicts === "gap" ? "norms words gap" : "norms words")),
      draw(states, say("norm stream"), "blue"),
      draw(attention, say("norm attention"), "green"),
      draw(mlp, say("norm mlp"), "orange"),
    );
  },
};

// The lens of a reading, asked for when somebody looks: with a large vocabulary it takes as long as everything else.
const lenses = new WeakMap();
function lensOf(reading) {
  if (!live) return page.inside.lens;
  if (!lenses.has(reading)) lenses.set(reading, ask("lens", { ...ids(), position: reading.prediction.position }));
  return lenses.get(reading);
}
