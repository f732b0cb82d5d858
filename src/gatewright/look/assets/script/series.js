// The chart of a row of numbers with what the network answers: a forecast with its interval, labels, outputs.

const MOST_BANDS = 4; // variables that have a scale each; more of them share one

// Draw the value of the chosen unit behind the steps.
function drawBackground({ context, width }, top, height) {
  const tints = tintsOfSteps();
  const wide = (width - LEFT - 4) / tints.length;
  tints.forEach((paint, step) => {
    context.fillStyle = paint;
    context.fillRect(LEFT + step * wide, top, wide + 0.5, height);
  });
}

// More variables than there are colours for lines. A forecast is of lines.
const isHeatMap = () => Boolean(row().series) && row().series.length > PALETTE.length && !row().forecast;

function drawSeries() {
  const { series, keys } = row();
  const canvas = element("series");
  canvas.hidden = !series && !keys;
  const isHeat = isHeatMap();
  canvas.classList.toggle("roll", Boolean(keys) || isHeat);
  element("variables").replaceChildren();
  if (keys) drawRoll(keys);
  if (isHeat) drawHeat(series);
  if (!series || isHeat) return;
  const columns = series.slice(0, PALETTE.length);
  const forecast = (row().forecast || []).slice(0, PALETTE.length);
  const bands = columns.length <= MOST_BANDS ? columns.map((_, place) => [place]) : [columns.map((_, place) => place)];
  canvas.style.height = bands.length > 1 ? `${8 * bands.length + 2}rem` : "";
  const area = surface("series");
  const x = across(area.width, series[0].length);
  drawBackground(area, 4, area.height - 22);
  const high = (area.height - 18) / bands.length;
  bands.forEach((places, band) => {
    const finite = places.flatMap((place) => [...columns[place], ...(forecast[place] ?? []).flat()]).filter((number) => number !== null);
    const extremes = finite.reduce(([low, most], number) => [Math.min(low, number), Math.max(most, number)], [Infinity, -Infinity]);
    if (!finite.length) return;
    area.context.save();
    area.context.translate(0, band * high);
    const y = axes({ ...area, height: high + 18 }, ...extremes, (number) => besideOthers(number, extremes));
    for (const place of places) {
      curve(area.context, columns[place], x, y, paintOfVariable(place), DASHES[place % DASHES.length]);
      if (forecast[place]) drawForecast(area, forecast[place], x, y, paintOfVariable(place));
    }
    area.context.restore();
  });
  drawLabels(area);
  cursor(area, x(Math.min(chosen.step * header.patch, series[0].length - 1)));
  if (header.patch === 1) dateLabels(area, x, 0, row().steps);
  nameVariables(columns.length, series.length);
}

const paintOfVariable = (place) => (row().series.length === 1 ? colour("--ink") : PALETTE[place % PALETTE.length]);

// The middle of a forecast as a line of points, and its interval as an area. They are of the last steps of the row.
function drawForecast({ context }, [low, middle, high], x, y, paint) {
  const first = row().series[0].length - middle.length;
  context.fillStyle = paint;
  context.globalAlpha = 0.25;
  context.beginPath();
  high.forEach((number, place) => context[place ? "lineTo" : "moveTo"](x(first + place), y(number)));
  [...low].reverse().forEach((number, place) => context.lineTo(x(first + low.length - 1 - place), y(number)));
  context.closePath();
  context.fill();
  context.globalAlpha = 1;
  curve(context, middle, (place) => x(first + place), y, paint, [3, 2]);
  context.fillStyle = paint;
  middle.forEach((number, place) => {
    context.beginPath();
    context.arc(x(first + place), y(number), 2.2, 0, 2 * Math.PI);
    context.fill();
  });
}

// A strip with the label of each step, where labels are of steps.
function drawLabels({ context, width, height }) {
  if (header.outputKind !== "label" || !row().expected) return;
  const wide = (width - LEFT - 4) / row().steps;
  let before = null;
  for (let step = 0; step < row().steps; step++) {
    const label = labelAt(step);
    context.fillStyle = PALETTE[Math.max(0, header.labels.map(spelled).indexOf(label)) % PALETTE.length];
    context.fillRect(LEFT + step * wide, height - 32, wide + 0.5, 12);
    if (label !== before) {
      context.textAlign = "left";
      context.fillText(label, LEFT + step * wide, height - 36);
    }
    before = label;
  }
}

// Dates or other names of the steps where the row has them, else numbers of steps.
function dateLabels(area, x, first, last) {
  const { symbols } = row();
  if (!symbols) {
    stepLabels(area, x, first, last);
    return;
  }
  const steps = last - first;
  const { context, width, height } = area;
  context.fillStyle = colour("--soft");
  context.textAlign = "center";
  const room = Math.max(...symbols.slice(0, 50).map((symbol) => context.measureText(symbol).width)) + 16;
  const every = Math.max(1, Math.ceil((room * steps) / (width - LEFT)));
  for (let step = Math.floor(every / 2); step < steps; step += every) {
    const name = spelled(symbols[first + step]);
    context.fillText(name, Math.min(x(step), width - context.measureText(name).width / 2), height - 6);
  }
}

// Names below the steps from one to another: symbols of a text, dates of a series, or numbers.
function nameSteps(area, x, first, last) {
  if (isText() || header.patch > 1) stepLabels(area, x, first, last);
  else dateLabels(area, x, first, last);
}

function nameVariables(shown, all) {
  if (all < 2) return;
  const names = Array.from({ length: shown }, (_, place) => header.variables[place] ?? `variable ${place + 1}`);
  element("variables").replaceChildren(...named(names));
  if (all > shown) element("variables").append(`and ${all - shown} more`);
}
