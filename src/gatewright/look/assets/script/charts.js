// Lines of a unit, and the map of all units.

// Steps that the lines and the map show at once: as many as there is room for the names of.
function windowSize() {
  const room = boxOf(element("lines")).width - LEFT;
  const most = Math.round(within(Math.floor(room / 9), 160) / 10) * 10 || 30;
  return row().steps <= 1.5 * most ? row().steps : most;
}

// The stretch of steps that is shown: the one with the chosen step.
function stretch() {
  const size = windowSize();
  const first = Math.floor(chosen.step / size) * size;
  return [Math.max(0, Math.min(first, row().steps - size)), Math.min(first + size, row().steps)];
}

// The whole row in the colours of the chosen unit; the frame is the stretch that the charts below show.
function drawOverview() {
  const [first, last] = stretch();
  element("overview").hidden = last - first >= row().steps;
  if (element("overview").hidden) return;
  const area = surface("overview");
  const { context, width, height } = area;
  const description = value();
  const wide = (width - LEFT - 4) / row().steps;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText("row", LEFT - 6, height / 2);
  numbers(description, chosen.unit).forEach((x, step) => {
    context.fillStyle = tint(x, description);
    context.fillRect(LEFT + step * wide, 4, wide + 0.3, height - 8);
  });
  context.strokeStyle = colour("--ink");
  context.lineWidth = 1.5;
  context.strokeRect(LEFT + first * wide, 1, (last - first) * wide, height - 2);
}

function drawLines() {
  const area = surface("lines");
  const [first, last] = stretch();
  const descriptions = layer().values.filter((description) => chosen.unit < description.units);
  const all = descriptions.map((description) => numbers(description, chosen.unit).slice(first, last));
  const low = Math.min(0, ...all.map((values) => Math.min(...values)));
  const high = Math.max(1, ...all.map((values) => Math.max(...values)));
  const y = axes(area, low, high);
  const x = across(area.width, last - first);
  all.forEach((values, place) => {
    curve(area.context, values, x, y, PALETTE[place % PALETTE.length], DASHES[place % DASHES.length]);
  });
  cursor(area, x(chosen.step - first));
  nameSteps(area, x, first, last);
  const steps = last - first < row().steps ? ` Steps ${first + 1} to ${last} are shown; the strip is the whole row.` : "";
  element("lines-how").textContent =
    `A line is a value of unit ${chosen.unit}; numbers are those of the chosen step, the vertical line.${steps}`;
  const shown = (description, place) => `${description.name} = ${all[place][chosen.step - first].toFixed(3)}`;
  element("names").replaceChildren(...named(descriptions.map(shown)));
}

// Symbols below the steps where they fit, else numbers of steps.
function stepLabels({ context, width, height }, x, first, last, isNamed = isText(), base = 1, above = 6) {
  const symbols = isNamed && row().symbols;
  context.fillStyle = colour("--soft");
  context.textAlign = "center";
  const room = (width - LEFT) / (last - first);
  // A label at the right edge is moved so far to the left that it stays whole.
  const write = (text, at) => context.fillText(text, Math.min(at, width - context.measureText(text).width / 2), height - above);
  if (symbols && header.patch === 1 && room > 6) {
    const names = symbols.slice(first, last).map((symbol) => spelled(symbol).slice(0, 8));
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    const stride = names.some((name) => name.length > 1) ? Math.ceil((widest + 6) / room) : 1;
    names.forEach((name, place) => place % stride || write(name, x(place)));
    return;
  }
  const least = Math.max(1, 45 / room);
  const decade = 10 ** Math.floor(Math.log10(least));
  const every = [1, 2, 5, 10].map((factor) => factor * decade).find((steps) => steps >= least);
  for (let number = Math.ceil((first + base) / every) * every; number < last + base; number += every) {
    write(String(number), x(number - base - first));
  }
}

function drawUnits() {
  const area = surface("units");
  const { context } = area;
  const { steps } = row();
  const [first, last] = stretch();
  const description = value();
  const own = levels(description);
  const image = context.createImageData(last - first, order.length);
  const [paper, above, below] = ["--card", "--above", "--below"].map((name) => rgb(colour(name)));
  const table = Array.from({ length: header.levels }, (_, level) => {
    const x = description.low + (level * (description.high - description.low)) / (header.levels - 1);
    const amount = strength(x, description);
    const end = amount < 0 ? below : above;
    return paper.map((from, channel) => from + (end[channel] - from) * Math.abs(amount));
  });
  order.forEach((unit, line) => {
    for (let step = first; step < last; step++) {
      const place = 4 * (line * (last - first) + step - first);
      const [red, green, blue] = table[own[unit * steps + step]] || paper;
      image.data[place] = red;
      image.data[place + 1] = green;
      image.data[place + 2] = blue;
      image.data[place + 3] = 255;
    }
  });
  const still = document.createElement("canvas");
  still.width = last - first;
  still.height = order.length;
  still.getContext("2d").putImageData(image, 0, 0);
  const wide = area.width - LEFT - 4;
  const tall = area.height - 18;
  context.imageSmoothingEnabled = false;
  context.drawImage(still, LEFT, 0, wide, tall);
  const [column, high] = [wide / (last - first), tall / order.length];
  context.strokeStyle = colour("--cursor");
  context.strokeRect(LEFT + (chosen.step - first) * column, 0, Math.max(column, 1), tall);
  const line = order.indexOf(chosen.unit) * high;
  context.strokeRect(LEFT, line, wide, Math.max(high, 1));
  context.fillStyle = colour("--cursor");
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText(chosen.unit, LEFT - 6, within(line + high / 2, area.height - 24) + 6);
  context.textBaseline = "alphabetic";
  nameSteps(area, across(area.width, last - first), first, last);
  const orders = element("order").selectedOptions[0].textContent;
  element("units-how").textContent =
    `A line is a unit (${orders}), a column a step; the colour is ${description.name}. Click to choose both.`;
}
