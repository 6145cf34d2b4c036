// Notes above the view: what a reader could take for something else in what is shown now.

function drawNotes() {
  byId("notes").replaceChildren(...[aboutText(), aboutGap(), aboutFrame(), aboutHeads()].filter(Boolean));
}
const note = (name, values) => make("p", { "data-note": name }, ...mixed("note " + name, values ?? {}));

// A typed text that is unlike the texts that this model was trained on.
function aboutText() {
  const { source, tokens } = state.reading;
  if (source) return source.pieces.some((piece) => /^<extra_id_\d+>$/.test(piece)) ? null : note("no gap");
  const endsInSpace = model.predicts === "next" && /[^\s] +$/.test(tokens.pieces.join(""));
  return endsInSpace ? note("space") : null;
}

// A BERT that predicts a token which it sees.
function aboutGap() {
  if (model.predicts !== "gap" || model.mask === null) return null;
  const { position } = state.reading.prediction;
  const token = state.reading.tokens.ids[position];
  return token === model.mask ? null : note(live ? "seen" : "seen file", placed(position));
}

// The frame is on one token, and the prediction is made at another.
function aboutFrame() {
  const { position } = state.reading.prediction;
  const isToken = attentionOf(state.kind).queries === "tokens";
  if (!["attention", "next", "layers"].includes(state.view) || !isToken || state.query === position) return null;
  return note("frame " + model.predicts, { framed: pieceBox(state.reading.tokens.pieces[state.query]), i: String(state.query), ...placed(position) });
}

const aboutHeads = () => (state.off.length && state.view !== "attention" ? note("heads") : null);

const placed = (n) => ({ token: pieceBox(state.reading.tokens.pieces[n]), n: String(n) });
