// A row with many variables as a heat map: a line for each variable, in the colours of its numbers.

// From low to high, each lighter than the one before it (viridis, made by van der Walt and Smith).
const SCALE = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"].map(rgb);
const MOST_FACTOR = 10; // between the ranges of variables that share one scale

function scaleColour(share) {
  const place = Math.max(0, Math.min(1, share)) * (SCALE.length - 1);
  const below = Math.min(SCALE.length - 2, Math.floor(place));
  return SCALE[below].map((from, channel) => from + (place - below) * (SCALE[below + 1][channel] - from));
}

function rangeOf(numbers) {
  return numbers.reduce(([low, high], x) => (x === null ? [low, high] : [Math.min(low, x), Math.max(high, x)]), [Infinity, -Infinity]);
}

// The range of each variable: the same for all, unless one of them is so large that nothing would be seen of the others.
function rangesOf(series) {
  const own = series.map(rangeOf);
  const spans = own.map(([low, high]) => high - low).filter((span) => span > 0).sort((a, b) => a - b);
  const isShared = !spans.length || spans[spans.length - 1] <= MOST_FACTOR * spans[spans.length >> 1];
  const all = rangeOf(own.flat().filter(Number.isFinite));
  return { isShared, ranges: isShared ? series.map(() => all) : own };
}

function heatImage(series, ranges) {
  const steps = series[0].length;
  const still = document.createElement("canvas");
  [still.width, still.height] = [steps, series.length];
  const context = still.getContext("2d");
  const image = context.createImageData(steps, series.length);
  const paper = rgb(colour("--card"));
  series.forEach((numbers, place) => {
    const [low, high] = ranges[place];
    const line = series.length - 1 - place; // the first variable is the lowest, as low pitches are
    numbers.forEach((x, step) => {
      const paint = x === null ? paper : scaleColour(high > low ? (x - low) / (high - low) : 0);
      image.data.set([...paint, 255], 4 * (line * steps + step));
    });
  });
  context.putImageData(image, 0, 0);
  return still;
}

// The strip above the map has the colours of the chosen unit.
function drawHeat(series) {
  element("series").style.height = "";
  const area = surface("series");
  const { context, width, height } = area;
  const [top, bottom] = [20, height - 20];
  const { isShared, ranges } = rangesOf(series);
  context.imageSmoothingEnabled = false;
  context.drawImage(heatImage(series, ranges), LEFT, top, width - LEFT - 4, bottom - top);
  drawBackground(area, 2, 14);
  const high = (bottom - top) / series.length;
  const every = Math.ceil(16 / high);
  context.fillStyle = colour("--soft");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let place = 0; place < series.length; place += every) {
    const name = spelled(header.variables[place] ?? String(place + 1));
    const short = context.measureText(name).width > LEFT - 8 ? (name.match(/ (\d+)$/)?.[1] ?? name) : name;
    context.fillText(short, LEFT - 6, bottom - (place + 0.5) * high, LEFT - 8); // drawn narrower where it is too wide
  }
  context.textBaseline = "alphabetic";
  drawLabels(area);
  const x = across(width, series[0].length);
  cursor(area, x(Math.min(chosen.step * header.patch, series[0].length - 1)));
  if (header.patch === 1) dateLabels(area, x, 0, row().steps);
  const [low, most] = ranges[0];
  const bar = document.createElement("i");
  bar.className = "scale";
  bar.style.background = `linear-gradient(90deg, ${SCALE.map((paint) => `rgb(${paint.join(" ")})`).join(", ")})`;
  const ends = isShared ? [low, most].map((end) => besideOthers(end, [low, most])) : ["its lowest value", "its highest value"];
  element("variables").replaceChildren(
    `What is read: a line for each of ${series.length} variables. `,
    ends[0],
    bar,
    ends[1],
    isShared ? "" : " (each variable has a scale of its own)",
  );
}
