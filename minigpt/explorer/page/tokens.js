// The text as tokens, always in sight: coloured by the model's surprise; clicked, a token is the one that looks.

// The surprise of a loss, from 0 (certain) to 1 (8 nats or more: one chance in 3000), as in plots/perplexity.py.
const surprise = (loss) => Math.min(loss / 8, 1);
const surpriseColour = (loss) =>
  loss == null ? "transparent" : `color-mix(in srgb, var(--orange) ${Math.round(78 * surprise(loss))}%, transparent)`;

function pieceWithBlanks(piece) {
  return [...shown(piece)].map((character) =>
    "␣⏎⇥".includes(character) ? make("span", "blank", character) : character,
  );
}

function tokenButton(row, name, i, losses) {
  const loss = losses ? losses[i] : null;
  return make(
    "button",
    {
      type: "button",
      class: "token",
      "--surprise": surpriseColour(loss),
      "data-row": name,
      "data-place": i,
      title: say("position", { n: i }),
      onclick: () => selectToken(name, i),
      onpointerenter: () => hoverToken(name, i),
      onpointerleave: () => hoverToken(name, null),
    },
    ...pieceWithBlanks(row.pieces[i]),
    make("small", "", losses ? `${row.ids[i]} · ${loss == null ? "–" : short(loss)}` : `${row.ids[i]}`),
  );
}

function drawTokens() {
  const { tokens, source, losses, perplexity } = state.reading;
  const scored = losses.filter((loss) => loss != null);
  const strip = (row, name, values) =>
    make("div", { class: "tokens", id: "row-" + name }, ...row.ids.map((_, i) => tokenButton(row, name, i, values)));
  const legend = make("span", "legend");
  legend.style.background = "linear-gradient(90deg, transparent, color-mix(in srgb, var(--orange) 78%, transparent))";
  const facts =
    perplexity == null
      ? [say(model.predicts === "gap" ? "no losses: gap" : "no losses")]
      : [
          say("mean loss", { loss: exact(sum(scored) / scored.length) }),
          " · ",
          make("span", { id: "perplexity" }, say("perplexity is", { perplexity: exact(perplexity) })),
          " · ",
          say("colour"),
          legend,
          say("surprised"),
        ];
  byId("tokens").replaceChildren(
    ...(source ? [make("h3", "", say("source")), strip(source, "source", null), make("h3", "", say("written"))] : []),
    strip(tokens, "tokens", scored.length ? losses : null),
    make(
      "p",
      { class: "quiet", id: "facts" },
      say("n tokens", { n: tokens.ids.length }),
      " (",
      say(scored.length ? "below: id, loss" : "below: id"),
      ") · ",
      ...facts,
    ),
    make(
      "p",
      { class: "quiet", id: "signs" },
      say("signs"),
      make("span", "of-attention", " · ", say("blue line")),
    ),
  );
  markTokens();
  revealToken();
}

const tokenBoxes = (name) => byId("row-" + name)?.children ?? [];

// Frame the token that looks. What it looks at is underlined in blue; who looks at a token has a green line above.
// Each is given as [weights, the name of their row].
function markTokens(looked = null, lookers = null, selected = state.query) {
  const queries = attentionOf(state.kind).queries;
  const strength = (given, row, i, to) => {
    const weight = given && given[1] === row ? given[0][i] : 0;
    if (weight <= 0.003) return "";
    return `color-mix(in srgb, var(--${to}) ${Math.round(15 + 85 * Math.sqrt(weight))}%, transparent)`;
  };
  for (const row of ["source", "tokens"]) {
    [...tokenBoxes(row)].forEach((box, i) => {
      box.classList.toggle("selected", row === queries && i === selected);
      setIfOther(box, "--looked", strength(looked, row, i, "blue"));
      setIfOther(box, "--looker", strength(lookers, row, i, "green"));
    });
  }
}

// A style that stays as it is costs nothing.
function setIfOther(box, name, value) {
  if (box.style.getPropertyValue(name) !== value) box.style.setProperty(name, value);
}

// A long text has a scroll bar of its own: the selected token comes into sight.
function revealToken() {
  const box = document.querySelector(".token.selected");
  if (!box) return;
  const row = box.parentElement;
  const isSeen = box.offsetTop >= row.scrollTop && box.offsetTop + box.offsetHeight <= row.scrollTop + row.clientHeight;
  if (!isSeen) row.scrollTop = box.offsetTop - row.clientHeight / 2;
}

function selectToken(name, i) {
  const one = attentionOf(state.kind);
  if (one.queries === name) {
    state.query = i;
    state.key = null;
  } else if (one.keys === name) {
    state.key = i;
  } else {
    state.kind = state.reading.attention.find((other) => other.queries === name).kind;
    state.query = i;
    state.key = null;
  }
  markTokens();
  revealToken();
  show();
}

// Where a token looks is shown by the view, if it has something to show.
function hoverToken(name, i) {
  VIEWS[state.view].hover?.(name, i);
}
