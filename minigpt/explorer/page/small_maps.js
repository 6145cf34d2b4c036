// Which head is shown, and every head as a small map.

const layersOf = (kind) => model.layers[kind];
const chosen = (kind = state.kind) => state.chosen[kind];
function headName({ layer, head }, kind = state.kind) {
  const name =
    layer === layersOf(kind) ? say("all heads") : say(head == null ? "mean of layer" : "head name", { layer, head });
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

// A head that is switched off: a line through its map.
const isOff = (kind, layer, head) => state.off.some(([k, l, h]) => k === kind && l === layer && h === head);
function strike(draw, x, y, size) {
  draw.save();
  draw.strokeStyle = colour("red");
  draw.lineWidth = 2;
  draw.beginPath();
  draw.moveTo(x, y);
  draw.lineTo(x + size, y + size);
  draw.stroke();
  draw.restore();
}

// All maps of one kind in one canvas: a row for each layer, a column for each head, and last the mean.
function smallMaps(kind) {
  const one = attentionOf(kind);
  const [n_layers, n_heads, n, m] = one.shades.shape;
  const kinds = state.reading.attention.length;
  const space =
    kinds > 1 && innerWidth > 900 ? (Math.min(1440, innerWidth) - 130) / kinds : Math.min(460, innerWidth - 60);
  const size = Math.max(16, Math.min(64, Math.floor((space - 30) / (n_heads + 1)) - 4));
  const [pitch, high, left, top] = [size + 4, size + 7, 24, 18];
  const width = left + (n_heads + 1) * pitch + 6;
  const picture = twoLayers(width, top + n_layers * high + 2);
  const { draw, mark, above } = picture;
  const [blue, green] = [ramp("blue"), ramp("green")];
  draw.font = `11px ${colour("mono")}`;
  draw.fillStyle = colour("quiet");
  draw.textAlign = "center";
  draw.strokeStyle = colour("line");
  draw.imageSmoothingEnabled = size < Math.max(n, m); // smooth where it becomes smaller, sharp where larger
  for (let head = 0; head <= n_heads; head++)
    draw.fillText(head < n_heads ? head : say("mean"), left + head * pitch + size / 2, 12);
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
        // what the head changes when it is off, as a bar below its map
        draw.fillStyle = colour("orange");
        draw.fillRect(x, y + size + 1.5, Math.max(1, (size * moved) / most), 2.5);
        draw.fillStyle = colour("quiet");
      }
      if (isOff(kind, layer, head)) strike(draw, x, y, size);
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
  tipOn(above, (event) => {
    const where = at(event);
    marks(where);
    const moved = where && effects.get(`${kind} ${where.layer} ${where.head}`);
    return where && headName(where, kind) + (moved == null ? "" : "\n" + say("moves", { p: points(moved) }));
  });
  above.addEventListener("pointerleave", () => marks(null));
  above.addEventListener("click", (event) => {
    const where = at(event);
    if (where) choose(kind, where.layer, where.head);
  });
  picture.box.dataset.kind = kind;
  return picture.box;
}
