// Units that are on in a chosen stretch alone, and stretches in which they are on again.

// Units whose value within the span differs most from that elsewhere, in deviations of what is elsewhere.
function distinct(first, last) {
  const description = value();
  return Array.from({ length: description.units }, (_, unit) => {
    const values = numbers(description, unit);
    const inside = values.slice(first, last + 1);
    const outside = [...values.slice(0, first), ...values.slice(last + 1)];
    const mean = (list) => list.reduce((sum, x) => sum + x, 0) / (list.length || 1);
    const score = (mean(inside) - mean(outside)) / (Math.sqrt(variance(outside)) + 1e-6);
    return { unit, score, mean: mean(inside), values };
  })
    .sort((a, b) => Math.abs(b.score) - Math.abs(a.score))
    .slice(0, MOST);
}

function stepsText(from, to) {
  const words = element("reading").classList.contains("words");
  return row()
    .symbols.slice(Math.max(0, from) * header.patch, to * header.patch)
    .map(spelled)
    .join(words ? " " : "");
}

// A stretch as a message names it: its text, or the numbers of its steps.
function shortText(from, to) {
  if (isText()) return stepsText(from, to).slice(0, 40);
  return to - from === 1 ? `step ${from + 1}` : `steps ${from + 1} to ${to}`;
}

function showMatches() {
  if (!chosen.span) {
    element("matches").replaceChildren();
    element("matches-how").textContent =
      `Select a stretch of the ${isText() ? "text" : "chart"} above with the mouse, or with Shift and the arrow keys.`;
    return;
  }
  const [first, last] = [stepOf(chosen.span[0]), stepOf(chosen.span[1] - 1)];
  const length = last - first + 1;
  const units = distinct(first, last);
  const text = shortText(first, last + 1);
  element("matches-how").textContent =
    `Units whose ${value().name} within “${text}” differs most from that elsewhere, in standard deviations; ` +
    "beside them, the stretches where the first five behave most alike.";
  const largest = Math.abs(units[0].score);
  const list = document.createElement("ol");
  const names = document.createElement("div");
  names.className = "bars";
  bars(
    names,
    units.map(({ unit, score }) => ({
      label: `unit ${unit}`,
      share: Math.abs(score) / largest,
      text: score.toFixed(1),
      choose: () => choose({ unit }),
    })),
  );
  const few = units.slice(0, 5);
  const distances = [];
  for (let start = 0; start + length <= row().steps; start++) {
    if (start <= last && start + length > first) continue;
    let sum = 0;
    for (const { values, mean } of few) {
      for (let step = start; step < start + length; step++) sum += Math.abs(values[step] - mean);
    }
    distances.push({ start, sum });
  }
  distances.sort((a, b) => a.sum - b.sum);
  const places = [];
  for (const { start } of distances) {
    if (places.length === MOST) break;
    if (places.every((other) => Math.abs(other - start) >= length)) places.push(start);
  }
  list.append(
    ...places.map((start) => {
      const item = document.createElement("li");
      const middle = document.createElement("b");
      middle.textContent = isText() ? stepsText(start, start + length) : shortText(start, start + length);
      item.append(middle);
      if (isText()) {
        item.prepend(stepsText(start - 20, start));
        item.append(stepsText(start + length, start + length + 20));
      }
      item.addEventListener("click", () => choose({ step: start }));
      return item;
    }),
  );
  element("matches").replaceChildren(names, list);
}
