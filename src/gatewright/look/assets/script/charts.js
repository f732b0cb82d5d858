// Lines of a unit, and the map of all units.

const WINDOW = 100; // steps of the lines: more would be a blur

// The stretch of steps that the lines show: the one with the chosen step.
function stretch() {
  const first = Math.floor(chosen.step / WINDOW) * WINDOW;
  return [first, Math.min(first + WINDOW, row().steps)];
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
  stepLabels(area, x, first, last);
  const steps = last - first < row().steps ? ` Steps ${first + 1} to ${last} are shown.` : "";
  element("lines-how").textContent =
    `Each line is one value of the chosen unit. The vertical line is the chosen step.${steps}`;
  const shown = (description, place) => `${description.name} = ${all[place][chosen.step - first].toFixed(3)}`;
  element("names").replaceChildren(...named(descriptions.map(shown)));
}

// Symbols below the steps where they fit, else numbers of steps.
function stepLabels({ context, width, height }, x, first, last, isNamed = isText(), base = 1) {
  const symbols = isNamed && row().symbols;
  context.fillStyle = colour("--soft");
  context.textAlign = "center";
  const room = (width - LEFT) / (last - first);
  if (symbols && header.patch === 1 && room > 6) {
    symbols
      .slice(first, last)
      .forEach((symbol, place) => context.fillText(spelled(symbol).slice(0, Math.max(1, room / 7)), x(place), height - 6));
    return;
  }
  const every = 10 ** Math.ceil(Math.log10(Math.max(1, 60 / room)));
  for (let number = Math.ceil((first + base) / every) * every; number < last + base; number += every) {
    context.fillText(number, x(number - base - first), height - 6);
  }
}

function drawUnits() {
  const area = surface("units");
  const { steps } = row();
  const description = value();
  const own = levels(description);
  const image = area.context.createImageData(steps, order.length);
  const [paper, above, below] = ["--card", "--above", "--below"].map((name) => rgb(colour(name)));
  const table = Array.from({ length: header.levels }, (_, level) => {
    const x = description.low + (level * (description.high - description.low)) / (header.levels - 1);
    const amount = strength(x, description);
    const end = amount < 0 ? below : above;
    return paper.map((from, channel) => from + (end[channel] - from) * Math.abs(amount));
  });
  order.forEach((unit, line) => {
    for (let step = 0; step < steps; step++) {
      const place = 4 * (line * steps + step);
      const [red, green, blue] = table[own[unit * steps + step]] || paper;
      image.data[place] = red;
      image.data[place + 1] = green;
      image.data[place + 2] = blue;
      image.data[place + 3] = 255;
    }
  });
  const still = document.createElement("canvas");
  still.width = steps;
  still.height = order.length;
  still.getContext("2d").putImageData(image, 0, 0);
  area.context.imageSmoothingEnabled = steps > area.width;
  area.context.drawImage(still, 0, 0, area.width, area.height);
  const [wide, high] = [area.width / steps, area.height / order.length];
  area.context.strokeStyle = colour("--cursor");
  area.context.strokeRect(chosen.step * wide, 0, Math.max(wide, 1), area.height);
  area.context.strokeRect(0, order.indexOf(chosen.unit) * high, area.width, Math.max(high, 1));
  element("units-how").textContent =
    `A line is a unit, in the order chosen above; a column is a step. The colour is ${description.name}. ` +
    "Click to choose a unit and a step.";
}
