// Keyboard, mouse and controls.

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);
  if (event.key === "Escape") {
    chosen.span = null;
    hits = new Set();
    document.activeElement?.blur();
    draw();
    return;
  }
  if (isTyping) return;
  const line = order.indexOf(chosen.unit);
  const count = layer().values.length;
  const actions = {
    ArrowRight: () => move(1, event.shiftKey),
    ArrowLeft: () => move(-1, event.shiftKey),
    ArrowDown: () => choose({ unit: order[within(line + 1, order.length)] }),
    ArrowUp: () => choose({ unit: order[within(line - 1, order.length)] }),
    "]": () => choose({ value: (chosen.value + 1) % count }),
    "[": () => choose({ value: (chosen.value + count - 1) % count }),
    "/": () => element("find").focus(),
    c: () => element("contributions").parentElement.hidden || element("contributions").click(),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
}

let anchor = null; // the step at which a selection began

// The places of symbols from one step to another, in either direction.
const spanOf = (one, other) => [Math.min(one, other) * header.patch, (Math.max(one, other) + 1) * header.patch];

function move(by, isSelecting) {
  const before = chosen.step;
  const after = within(before + by, row().steps);
  if (isSelecting) {
    anchor ??= before;
    chosen.span = spanOf(anchor, after);
  } else {
    anchor = null;
  }
  choose({ step: after });
  spans[after * header.patch]?.scrollIntoView({ block: "nearest" });
}

// Moving over a chart chooses a step; dragging selects a stretch.
function watchChart(id, stepAt) {
  element(id).addEventListener("mousemove", (event) => hover(stepAt(event)));
  element(id).addEventListener("mousedown", (event) => {
    anchor = stepAt(event);
  });
  element(id).addEventListener("mouseup", (event) => {
    const step = stepAt(event);
    const span = anchor !== null && anchor !== step ? spanOf(anchor, step) : null;
    anchor = null;
    choose({ step, span });
  });
}

function listen() {
  for (const name of ["row", "layer", "value"]) {
    element(name).addEventListener("change", () => choose({ [name]: Number(element(name).value) }));
  }
  element("unit").addEventListener("change", () => choose({ unit: Math.round(Number(element("unit").value)) || 0 }));
  element("contributions").addEventListener("change", () => draw());
  element("order").addEventListener("change", () => choose({ order: true }));
  element("find").addEventListener("input", find);
  element("find").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const place = find();
    if (place < 0) return;
    choose({ step: stepOf(place) });
    spans[place].scrollIntoView({ block: "center" });
  });
  element("keys").addEventListener("click", () => {
    const isHidden = element("help").toggleAttribute("hidden");
    element("keys").setAttribute("aria-expanded", String(!isHidden));
  });
  const reading = element("reading");
  reading.addEventListener("mousemove", (event) => {
    const span = event.target.closest("#reading span");
    if (span) hover(stepOf(Number(span.dataset.place)));
  });
  document.addEventListener("mouseup", () => {
    const places = selectedPlaces();
    if (places) selectSpan(...places);
  });
  reading.addEventListener("click", (event) => {
    const span = event.target.closest("#reading span");
    if (span && !selectedPlaces()) choose({ step: stepOf(Number(span.dataset.place)), span: null });
  });
  const at = (event) => {
    const box = event.target.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  element("units").addEventListener("click", (event) => {
    const [, y] = at(event);
    const box = event.target.getBoundingClientRect();
    const line = Math.floor((y * box.height * order.length) / (box.height - 18));
    choose({ step: stepUnder(event, ...stretch()), unit: order[within(line, order.length)] });
  });
  const stepUnder = (event, first, last) => {
    const box = event.target.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - 4);
    return Math.max(first, Math.min(last - 1, first + Math.floor(share * (last - first))));
  };
  element("overview").addEventListener("click", (event) => choose({ step: stepUnder(event, 0, row().steps) }));
  element("training-by").addEventListener("change", drawTraining);
  watchChart("lines", (event) => stepUnder(event, ...stretch()));
  watchChart("series", (event) => stepUnder(event, 0, row().steps));
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => draw());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
}
