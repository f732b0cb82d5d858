// The text of a row.

const INVISIBLE = /[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;

function visible(symbol) {
  const mark = (text) => ({ text, isMark: true });
  if (symbol === "\n") return mark("↵\n");
  if (symbol === "<eos>") return mark("<eos>\n"); // of a text in words: the end of a line
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

const isWords = () => element("reading").classList.contains("words");

function buildText() {
  const reading = element("reading");
  const symbols = row().symbols;
  reading.hidden = !isText();
  const isLabelled = isText() && (header.outputKind === "label" || header.outputKind === "bit");
  reading.classList.toggle("labelled", isLabelled);
  reading.classList.toggle("words", isLabelled || (Boolean(symbols) && symbols.some((symbol) => Array.from(symbol).length > 1)));
  // Most of a text that is typed stays as it was: its elements are used again, those before and those after a change.
  const shown = isText() ? symbols : [];
  const before = spans;
  const most = Math.min(before.length, shown.length);
  let first = 0;
  while (first < most && before[first].symbol === shown[first]) first++;
  let after = 0;
  while (after < most - first && before[before.length - 1 - after].symbol === shown[shown.length - 1 - after]) after++;
  const rest = before.slice(before.length - after);
  const added = shown.slice(first, shown.length - after).map(symbolSpan);
  for (const span of before.slice(first, before.length - after)) span.remove();
  if (rest.length) rest[0].before(...added);
  else reading.append(...added);
  spans = [...before.slice(0, first), ...added, ...rest];
  spans.forEach((span, place) => {
    if (span.place !== place) span.dataset.place = span.place = place;
    const label = isLabelled ? labelAt(stepOf(place)) : undefined;
    if (span.label === label) return;
    if (label === undefined) delete span.dataset.label;
    else span.dataset.label = label;
    span.label = label;
  });
}

function symbolSpan(symbol) {
  const { text, isMark } = visible(symbol);
  const span = document.createElement("span");
  span.textContent = text;
  span.symbol = symbol;
  if (isMark) span.className = text.endsWith("\n") ? "mark end" : "mark";
  return span;
}

// The label that the network gives to a step, or the bit of the sum.
function labelAt(step) {
  const { bits } = row();
  if (bits) return bits[step] === null ? "" : String(Number(bits[step] > 0.5));
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
    const paint = tints[stepOf(place)];
    const ink = inkOn(paint);
    // What the element has is kept beside it: to ask the page for it takes longer than to compare.
    if (span.paint !== paint) span.style.backgroundColor = span.paint = paint;
    if (span.ink !== ink) span.style.color = span.ink = ink;
    mark(span, "now", stepOf(place) === chosen.step);
    mark(span, "match", hits.has(place));
    mark(span, "chosen", Boolean(chosen.span) && place >= chosen.span[0] && place < chosen.span[1]);
  });
}

function mark(span, name, isMarked) {
  if (Boolean(span[name]) === isMarked) return;
  span.classList.toggle(name, isMarked);
  span[name] = isMarked;
}

const LABELS = {
  label: " Below each stands the label that is most probable there.",
  bit: " Below each stands the bit of the sum that the network gives; the lowest bits come first.",
};
const ROW_PARTS = {
  text: "Each symbol has the colour of",
  keys: "The strip above the keys has the colour of",
  heat: "The strip above the map has the colour of",
  series: "The background of the chart has the colour of",
};
const rowPart = () => (row().keys ? "keys" : isHeatMap() ? "heat" : row().series ? "series" : "text");

// What the output looked at, in words: of each step, of the whole row, or of a step of the forecast.
function contributionsHow() {
  const table = header.saliency[chosen.row];
  const what = isText() ? "symbol" : "step";
  if (table.lags) {
    return `Move over the ${isText() ? "text" : "chart"}: the darker a ${what}, the more the strongest output at the chosen step depends on it ` +
      `(norm of the gradient, over the last ${table.width - 1} steps).` +
      (table.outputs < row().steps ? ` It is measured for the first ${table.outputs} steps.` : "");
  }
  const output = row().forecast ? `the forecast${header.variables.length > 1 ? ` of ${header.variables[0]}` : ""} at the chosen step` : table.outputs > 1 ? "the strongest output at the chosen step" : "the answer";
  return `The darker a ${what}, the more ${output} depends on it (norm of the gradient).`;
}

function legend() {
  const description = value();
  const isContributions = element("contributions").checked;
  const kinds = { gate: "Gate", state: "State", value: "Value" };
  element("reading-title").textContent = isContributions
    ? "What the output looked at"
    : `${kinds[description.kind]} ${description.name} of unit ${chosen.unit}, ${isText() ? "symbol by symbol" : "step by step"}`;
  const ends = description.kind === "gate" ? [0, 1] : [description.low, 0, description.high];
  const bar = document.createElement("i");
  const tints = isContributions ? [0, 0.85].map((alpha) => `rgba(${colour("--below")}, ${alpha})`) : ends.map((x) => tint(x, description));
  bar.style.background = `linear-gradient(90deg, ${tints.join(", ")})`;
  const [from, to] = isContributions ? ["nothing", "most"] : [ends[0], ends[ends.length - 1]].map((x) => Number(x.toPrecision(3)));
  element("legend").replaceChildren(document.createTextNode(from), bar, document.createTextNode(to));
  const kind = { gate: "gate", state: "state", value: "value" }[description.kind];
  const role = description.role ? ` (${description.role})` : "";
  const shown = row().steps < row().all ? ` The first ${row().steps} steps are shown; there are more.` : "";
  const what = isContributions
    ? contributionsHow()
    : `${ROW_PARTS[rowPart()]} the ${kind} ${description.name}${role} of unit ${chosen.unit} after the network has read it.`;
  const labels = isText() ? LABELS[header.outputKind] || "" : "";
  element("reading-how").textContent = what + labels + shown;
}
