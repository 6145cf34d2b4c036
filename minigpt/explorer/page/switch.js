// A head switched off: which probabilities of the prediction change.

// The card under the map: the switch of the chosen head, and what is different without the heads that are off.
function headSwitch() {
  const { layer, head } = chosen();
  const off = isOff(state.kind, layer, head);
  const words =
    head == null ? say("choose a head") : say(off ? "switch on" : "switch off", { head: headName(chosen()) });
  const toggle = button(words, () => toggleHead(state.kind, layer, head), {
    id: "switch",
    disabled: head == null || !canSwitch(),
    "aria-pressed": String(off),
  });
  const others = state.off
    .filter(([k, l, h]) => !(k === state.kind && l === layer && h === head))
    .map(([k, l, h]) =>
      button(say("switch on", { head: headName({ layer: l, head: h }, k) }), () => toggleHead(k, l, h)),
    );
  return make(
    "div",
    { class: "card", id: "without" },
    make("h2", "", say("without title")),
    make("div", "buttons", toggle, ...others),
    canSwitch() ? null : make("p", "quiet", say("no switch")),
    compared(),
  );
}

const canSwitch = () => live || page.inside.effects !== null;

// A file holds what each head alone changes; Python computes any number of them together.
function toggleHead(kind, layer, head) {
  const others = live ? state.off.filter(([k, l, h]) => !(k === kind && l === layer && h === head)) : [];
  return switchOff(isOff(kind, layer, head) ? others : [...others, [kind, layer, head]]);
}

async function switchOff(heads) {
  await attempt(async (isNewest) => {
    const found = await predictionWithout(heads);
    if (!isNewest()) return;
    state.off = heads;
    state.without = found;
    await show();
  });
}

// What is different without these heads: Python says it of any number of them, `effects` of each alone.
async function predictionWithout(heads) {
  if (!heads.length) return null;
  if (heads.length === 1 && state.effects)
    return state.effects.find((effect) => effect.heads[0].join(" ") === heads[0].join(" "));
  return ask("without", { ...ids(), heads, position: state.reading.prediction.position });
}

function compared() {
  if (!state.off.length) return make("p", "quiet", say("nothing off"));
  if (!state.without) return null; // of a new text it is still being computed
  const { pieces, before, after, moved } = state.without;
  const most = Math.max(...before, ...after);
  const change = (i) => (after[i] >= before[i] ? "+" : "−") + percent(Math.abs(after[i] - before[i]));
  const rows = pieces.map((piece, i) =>
    make(
      "tr",
      "",
      make("td", "", pieceBox(piece)),
      make("td", "number before", percent(before[i])),
      make("td", "number after", percent(after[i])),
      make("td", "", make("div", "bars", bar(before[i] / most, "bar before"), bar(after[i] / most))),
      ...numbers(change(i)),
    ),
  );
  return make(
    "div",
    "",
    make("p", { id: "moved" }, say("moved", { p: points(moved) })),
    make("table", { id: "compared" }, headings(say("token"), say("with"), say("without"), "", say("change")), ...rows),
  );
}
