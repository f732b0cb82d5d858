// Showing a payload.

// Show a payload. What was chosen before stays chosen where it exists; `changes` choose something else.
function show(newHeader, newBytes, changes = {}, isTyping = false) {
  const isFirst = header === null;
  header = newHeader;
  bytes = newBytes;
  cache = new Map();
  hits = new Set();
  chosen.span = null;
  chosen.row = within(chosen.row, header.rows.length);
  chosen.layer = within(chosen.layer, header.layers.length);
  options("row", header.rows.map((description) => description.name), chosen.row);
  options("layer", header.layers.map((description) => description.name), chosen.layer);
  const units = header.layers.map((description) => description.values[0].units);
  const backward = header.layers.filter((description) => description.name.endsWith("_reverse")).length;
  const count = header.layers.length - backward;
  element("about").textContent =
    `${count === 1 ? "One recurrent layer" : `${count} recurrent layers`} of ${[...new Set(units)].join(", ")} units` +
    `${backward ? ", read in both directions" : ""}. Choose a value and a unit, and move over the ` +
    `${isText() ? "text" : "chart"} to see what it does.`;
  buildText();
  element("find").parentElement.hidden = !isText();
  element("contributions").parentElement.hidden = !header.saliency[chosen.row];
  if (!isFirst) {
    options("value", layer().values.map((description) => description.name), chosen.value);
    if (order.length !== value().units) order = ordered();
    choose(changes, isTyping); // units keep their order while somebody types
    return;
  }
  const states = header.layers[chosen.layer].values.flatMap((each, place) => (each.kind === "state" ? [place] : []));
  choose({ layer: chosen.layer, value: states.at(-1) ?? 0, step: firstStep(), order: true });
}

// The step that a page begins with: the first of a forecast, else one with something before it.
const firstStep = () => (row().forecast ? row().steps - row().forecast[0][1].length : Math.min(24, row().steps >> 1));

window.gatewright = { show, choose, chosen, value: () => value().name };

inflated(element("blob").textContent).then((content) => {
  show(JSON.parse(element("header").textContent), content);
  startLive();
  listen(); // not before: an event would find no data
  document.body.dataset.ready = "true";
});
