// Gradient norms that `train --watch` measured, by layer and gate.

function drawTraining() {
  const { training } = header;
  const own = (training?.values ?? []).filter((part) => part.layer === layer().name);
  element("training-panel").hidden = !own.length;
  if (!own.length) return;
  const by = element("training-by").value;
  const places = training[by];
  const last = training.iterations.length - 1;
  const measured = training.last[by]; // at which the last measurement was made, in order
  const lines = own.map((part) => {
    const all = powers(part[by], last);
    return measured.map((place) => all[place]);
  });
  const area = surface("training");
  const finite = lines.flat().filter((number) => number !== null);
  const [low, high] = finite.length ? [Math.floor(Math.min(...finite)), Math.ceil(Math.max(...finite))] : [-1, 0];
  const y = axes(area, low, Math.max(high, low + 1), power, 30);
  const x = across(area.width, places.length);
  lines.forEach((line, place) => curve(area.context, line, (at) => x(measured[at]), y, PALETTE[place % PALETTE.length], DASHES[place % DASHES.length]));
  axisOf(area, x, places);
  below(area, by === "lags" ? "lag, in steps back" : "step");
  element("training-names").replaceChildren(...named(own.map((part) => (part.kind === "state" ? `state ${part.name}` : `gate ${part.name}`))));
  element("training-last").textContent = `At iteration ${training.iterations[last]}, the last that was measured: the norm of the loss's gradient in each state and gate.`;
  const shown = own.find((part) => part.name === value().name) ?? own[0];
  element("training-all").textContent =
    `${shown.name} over the training: a line is one of ${training.iterations.length} measurements, the first at the top; the darker, the larger the gradient.`;
  drawTrainingMap(shown[by], training.iterations, places);
  const troubles = training.troubles.filter((text) => text.startsWith(`${layer().name}:`));
  element("training-how").textContent = troubles.length
    ? troubles.join(" ")
    : "Neither vanishing nor exploding gradients were seen in this layer: below 1/1000, or above 100 times, of what they are at lag 0.";
}

function axisOf({ context, height, width }, x, places) {
  context.fillStyle = colour("--soft");
  context.textAlign = "center";
  const every = Math.max(1, Math.ceil((40 * places.length) / (width - LEFT)));
  for (let place = 0; place < places.length; place += every) context.fillText(places[place], x(place), height - 18);
}

function drawTrainingMap(table, iterations, places) {
  const area = surface("training-map");
  const { context, width, height } = area;
  const x = across(width, places.length);
  const [wide, high] = [(width - LEFT - 4) / places.length, (height - 38) / iterations.length];
  iterations.forEach((iteration, line) => {
    powers(table, line).forEach((exponent, place) => {
      if (exponent === null) return;
      context.fillStyle = `rgba(${colour("--below")}, ${(0.05 + (0.95 * (exponent - table.low)) / (table.high - table.low)).toFixed(3)})`;
      context.fillRect(x(place) - wide / 2, 4 + line * high, wide + 0.3, high + 0.3);
    });
  });
  context.fillStyle = colour("--soft");
  context.textAlign = "right";
  context.textBaseline = "middle";
  const every = Math.max(1, Math.ceil(iterations.length / 6));
  for (let line = 0; line < iterations.length; line += every) context.fillText(iterations[line], LEFT - 6, 4 + (line + 0.5) * high);
  context.textBaseline = "alphabetic";
  axisOf(area, x, places);
  below(area, `${element("training-by").value === "lags" ? "lag, in steps back" : "step"}; white to dark: ${power(table.low)} to ${power(table.high)}; blank: not measured`);
}
