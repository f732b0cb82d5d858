// What happens when something is chosen, searched for or selected.

function options(id, names, place) {
  const select = element(id);
  select.replaceChildren(
    ...names.map((name, index) => {
      const option = document.createElement("option");
      option.value = index;
      option.textContent = name;
      return option;
    }),
  );
  select.value = place;
  select.parentElement.hidden = names.length < 2;
}

const within = (place, count) => Math.max(0, Math.min(count - 1, place));

// `isTyping`: while somebody types, only what the text changes is drawn.
function choose(changes, isTyping = false) {
  const isNewRow = "row" in changes && changes.row !== chosen.row;
  const isNewMap = isNewRow || "layer" in changes || "value" in changes || "order" in changes;
  Object.assign(chosen, changes);
  chosen.layer = within(chosen.layer, header.layers.length);
  chosen.value = within(chosen.value, layer().values.length);
  chosen.unit = within(chosen.unit, value().units);
  chosen.step = within(chosen.step, row().steps);
  if (isNewRow) {
    chosen.span = null;
    hits = new Set();
    buildText();
    const isMeasured = Boolean(header.saliency[chosen.row]);
    element("contributions").parentElement.hidden = !isMeasured;
    if (!isMeasured) element("contributions").checked = false;
  }
  if (isNewMap) {
    order = ordered();
    if (!("unit" in changes) && "order" in changes) [chosen.unit] = order;
    options("value", layer().values.map((description) => description.name), chosen.value);
    showEquations();
  }
  element("unit").value = chosen.unit;
  showClampable();
  element("unit").max = value().units - 1;
  draw(isTyping);
}

function draw(isTyping = false) {
  readTheme();
  showExpected(); // first: the width of the charts depends on whether its card is there
  colourText();
  legend();
  element("effective-panel").hidden = !header.effectiveMemory.length; // before sizes: its neighbours are wider without it
  measureCanvases();
  drawSeries();
  drawOverview();
  drawLines();
  drawUnits();
  if (!isTyping) drawSummaries();
  if (!element("matches").dataset.key || element("matches").dataset.key !== matchKey()) {
    element("matches").dataset.key = matchKey();
    showMatches();
  }
  drawSurprise();
  showStatus();
  boxes.clear();
}

// What is measured of the whole row, layer or training.
function drawSummaries() {
  drawSaturation();
  drawMemory();
  drawEffectiveMemory();
  drawDynamics();
  drawTraining();
}

const matchKey = () => [chosen.row, chosen.layer, chosen.value, chosen.span].join(" ");

// Hovering changes the step alone: what does not depend on it is not drawn again.
function hover(step) {
  if (step === chosen.step) return;
  const before = chosen.step;
  const [first, last] = stretch();
  chosen.step = within(step, row().steps);
  for (const place of [before, chosen.step]) {
    for (let symbol = place * header.patch; symbol < (place + 1) * header.patch; symbol++) {
      if (spans[symbol]) mark(spans[symbol], "now", place === chosen.step);
    }
  }
  if (element("contributions").checked) colourText();
  drawSeries();
  if (chosen.step < first || chosen.step >= last) drawOverview();
  drawLines();
  drawUnits();
  showExpected();
  drawSurprise();
  showStatus();
}

function find() {
  const wanted = Array.from(element("find").value);
  hits = new Set();
  const symbols = row().symbols || [];
  const text = symbols.map((symbol) => symbol.toLowerCase());
  const isWords = element("reading").classList.contains("words");
  const parts = isWords ? element("find").value.toLowerCase().split(/\s+/).filter(Boolean) : wanted.map((c) => c.toLowerCase());
  let first = -1;
  for (let start = 0; parts.length && start + parts.length <= text.length; start++) {
    if (parts.every((part, place) => (isWords ? text[start + place].startsWith(part) : text[start + place] === part))) {
      if (first < 0 && start > stepOf(chosen.step) * header.patch) first = start;
      parts.forEach((_, place) => hits.add(start + place));
    }
  }
  if (first < 0 && hits.size) [first] = hits;
  colourText();
  return first;
}

function selectSpan(first, last) {
  chosen.span = first <= last ? [first, last + 1] : [last, first + 1];
  draw();
}

// The first and last place of what is selected in the text.
function selectedPlaces() {
  const selection = window.getSelection();
  if (!selection || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const place = (node) => {
    const span = (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest?.("#reading span");
    return span ? Number(span.dataset.place) : null;
  };
  const [first, last] = [place(range.startContainer), place(range.endContainer)];
  if (first === null || last === null) return null;
  // A selection may begin after the last letter of a symbol, or end before the first: it does not hold that symbol.
  const skipped = range.startContainer.nodeType === Node.TEXT_NODE && range.startOffset >= range.startContainer.length;
  return [first + Number(skipped), last - Number(range.endOffset === 0)];
}
