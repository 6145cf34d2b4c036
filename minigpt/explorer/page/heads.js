// A head switched off: which probabilities of the prediction change.

// The card under the map: the switch of the chosen head, and what is different without the heads that are off.
function headSwitch() {
  const { layer, head } = chosen();
  const is = ([k, l, h]) => k === state.kind && l === layer && h === head;
  const isOff = state.off.some(is);
  const toggle = make("button", {
    type: "button", id: "switch", disabled: head == null || !canSwitch(), "aria-pressed": String(isOff),
    onclick: () => toggleHead(state.kind, layer, head) }, head == null ? say("choose a head") : say(isOff ? "switch on" : "switch off", { head: headName(chosen()) }));
  const others = state.off.filter((one) => !is(one)).map(([k, l, h]) => make("button", {
    type: "button", onclick: () => toggleHead(k, l, h) }, say("switch on", { head: headName({ layer: l, head: h }, k) })));
  return make("div", { class: "card", id: "without" }, make("h2", {}, say("without title")),
    make("div", { class: "buttons" }, toggle, ...others), canSwitch() ? null : make("p", { class: "quiet" }, say("no switch")), compared());
}

const canSwitch = () => live || page.inside.effects !== null;

// A file holds what each head alone changes; Python computes any number of them together.
function toggleHead(kind, layer, head) {
  const is = ([k, l, h]) => k === kind && l === layer && h === head;
  const isOff = state.off.some(is);
  const rest = live ? state.off.filter((one) => !is(one)) : [];
  return switchOff(isOff ? rest : [...rest, [kind, layer, head]]);
}

async function switchOff(heads) {
  await attempt(async (isNewest) => {
    let found = null;
    if (heads.length === 1 && state.effects) {
      found = state.effects.find((effect) => effect.heads[0].join(" ") === heads[0].join(" "));
    } else if (heads.length) {
      found = await ask("without", { ...ids(), heads, position: state.reading.prediction.position });
    }
    if (!isNewest()) return;
    state.off = heads;
    state.without = found;
    await show();
  });
}

function compared() {
  if (!state.off.length || !state.without) return make("p", { class: "quiet" }, say("nothing off"));
  const { pieces, before, after, moved } = state.without;
  const most = Math.max(...before, ...after);
  const rows = pieces.map((piece, i) => make("tr", {},
    make("td", {}, pieceBox(piece)),
    make("td", { class: "number before" }, percent(before[i])),
    make("td", { class: "number after" }, percent(after[i])),
    make("td", {}, make("div", { class: "bars" },
      make("div", { class: "bar before", width: `${(100 * before[i]) / most}%` }),
      make("div", { class: "bar", width: `${(100 * after[i]) / most}%` }))),
    make("td", { class: "number" }, (after[i] >= before[i] ? "+" : "−") + percent(Math.abs(after[i] - before[i])))));
  return make("div", {},
    make("p", { id: "moved" }, say("moved", { p: percent(moved) })),
    make("table", { id: "compared" }, make("tr", {}, make("th", {}, say("token")), make("th", { class: "number" }, say("with")),
      make("th", { class: "number" }, say("without")), make("th", {}), make("th", { class: "number" }, say("change"))), ...rows));
}
