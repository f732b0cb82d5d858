// The text of a row.

const INVISIBLE = /[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;

function visible(symbol) {
  const mark = (text) => ({ text, isMark: true });
  if (symbol === "\n") return mark("↵\n");
  if (symbol === "\t") return mark("⇥\t");
  if (symbol === "") return mark("∅");
  if (symbol.length === 1 && symbol < " ") return mark(String.fromCharCode(0x2400 + symbol.charCodeAt(0)));
  if (symbol === "\u007f") return mark("␡");
  if (INVISIBLE.test(symbol)) return mark(Array.from(symbol, (c) => (INVISIBLE.test(c) ? "◌" : c)).join(""));
  return { text: symbol, isMark: false };
}

function spelled(symbol) {
  return symbol === " " ? "␣" : visible(symbol).text.trim();
}

function buildText() {
  const reading = element("reading");
  const symbols = row().symbols;
  reading.hidden = !isText();
  reading.textContent = "";
  const isLabelled = isText() && (header.outputKind === "label" || header.outputKind === "bit");
  reading.classList.toggle("labelled", isLabelled);
  reading.classList.toggle("words", isLabelled || (Boolean(symbols) && symbols.some((symbol) => Array.from(symbol).length > 1)));
  spans = (isText() ? symbols : []).map((symbol, place) => {
    const span = document.createElement("span");
    const { text, isMark } = visible(symbol);
    span.textContent = text;
    span.classList.toggle("mark", isMark);
    span.dataset.place = place;
    if (isLabelled) span.dataset.label = labelAt(stepOf(place));
    return span;
  });
  reading.append(...spans);
}

// The label that the network gives to a step, or the bit of the sum.
function labelAt(step) {
  const { bits } = row();
  if (bits) return bits[step] === null ? "" : String(Math.round(bits[step]));
  const [best] = expectedAt(step);
  return best ? spelled(best.label) : "";
}

function tintsOfSteps() {
  const description = value();
  const contributions = element("contributions").checked && contributionsTo(chosen.step);
  return numbers(description, chosen.unit).map((x, step) =>
    contributions ? `rgba(${colour("--below")}, ${(0.85 * (contributions.get(step) ?? 0)).toFixed(3)})` : tint(x, description),
  );
}

function colourText() {
  const tints = tintsOfSteps();
  spans.forEach((span, place) => {
    span.style.backgroundColor = tints[stepOf(place)];
    span.classList.toggle("now", stepOf(place) === chosen.step);
    span.classList.toggle("match", hits.has(place));
    span.classList.toggle("chosen", Boolean(chosen.span) && place >= chosen.span[0] && place < chosen.span[1]);
  });
}

const LABELS = {
  label: " Below each stands the label that is most probable there.",
  bit: " Below each stands the bit of the sum that the network gives; the lowest bits come first.",
};
const ROW_PARTS = {
  text: "Each symbol has the colour of",
  keys: "The strip above the keys has the colour of",
  series: "The background of the chart has the colour of",
};
const rowPart = () => (row().keys ? "keys" : row().series ? "series" : "text");

function legend() {
  const description = value();
  const ends = description.kind === "gate" ? [0, 1] : [description.low, 0, description.high];
  const bar = document.createElement("i");
  bar.style.background = `linear-gradient(90deg, ${ends.map((x) => tint(x, description)).join(", ")})`;
  const text = (x) => document.createTextNode(Number(x.toPrecision(3)));
  element("legend").replaceChildren(text(ends[0]), bar, text(ends[ends.length - 1]));
  const kind = { gate: "gate", state: "state", value: "value" }[description.kind];
  const role = description.role ? ` (${description.role})` : "";
  const shown = row().steps < row().all ? ` The first ${row().steps} steps are shown; there are more.` : "";
  const what = element("contributions").checked
    ? "The darker a symbol, the more it contributed to the output at the chosen step. "
    : `${ROW_PARTS[rowPart()]} the ${kind} ${description.name}${role} of unit ${chosen.unit} after the network has read it.`;
  const labels = isText() ? LABELS[header.outputKind] || "" : "";
  element("reading-how").textContent = what + labels + shown;
}
