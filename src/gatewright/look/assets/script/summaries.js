// Saturation, half-life and effective memory.

function drawSaturation() {
  const own = header.saturation.filter((table) => table.layer === layer().name);
  const area = surface("saturation");
  const { context, width, height } = area;
  const side = (share) => LEFT + share * (width - LEFT - 16);
  const up = (share) => 10 + (1 - share) * (height - 44);
  context.beginPath();
  context.moveTo(side(0), up(0));
  context.lineTo(side(1), up(0));
  context.moveTo(side(0), up(0));
  context.lineTo(side(0), up(1));
  context.moveTo(side(0), up(1));
  context.lineTo(side(1), up(0));
  context.stroke();
  context.textAlign = "center";
  for (const share of [0, 0.5, 1]) context.fillText(share, side(share), height - 20);
  context.fillText("share of steps below 0.1", side(0.5), height - 3);
  context.save();
  context.rotate(-Math.PI / 2);
  context.fillText("share above 0.9", -up(0.5), 12);
  context.restore();
  context.textAlign = "right";
  for (const share of [0.5, 1]) context.fillText(share, LEFT - 6, up(share) + 4);
  context.textAlign = "left";
  own.forEach((table) => {
    const paint = PALETTE[layer().values.findIndex((description) => description.name === table.gate) % PALETTE.length];
    context.fillStyle = paint;
    table.left.forEach((left, unit) => {
      context.globalAlpha = unit === chosen.unit ? 1 : 0.5;
      context.beginPath();
      context.arc(side(left), up(table.right[unit]), unit === chosen.unit ? 6 : 3.5, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
  });
  const gates = own.map((table) => layer().values.findIndex((description) => description.name === table.gate));
  element("saturation-names").replaceChildren(...named(own.map((table) => table.gate), gates));
  if (!own.length) context.fillText("This layer has no gate between 0 and 1.", LEFT + 8, height / 2);
}

function drawMemory() {
  const own = header.halfLife.filter((table) => table.layer === layer().name)[0];
  const area = surface("memory");
  const { context, width, height } = area;
  if (!own) {
    context.fillText("No gate of this layer keeps the old state.", 8, height / 2);
    element("memory-names").replaceChildren();
    return;
  }
  const logarithms = own.steps.map((steps) => Math.min(5, Math.max(-1, steps === null ? 5 : Math.log10(steps))));
  const units = logarithms.map((_, unit) => unit).sort((a, b) => logarithms[b] - logarithms[a]);
  const top = Math.max(1, Math.ceil(Math.max(...logarithms)));
  const y = (x) => 8 + ((top - x) / (top + 1)) * (height - 30);
  context.textAlign = "right";
  for (let power = -1; power <= top; power++) {
    context.fillText(power === 5 ? "100,000+" : (10 ** power).toLocaleString("en"), LEFT + 16, y(power) + 4);
  }
  const wide = (width - LEFT - 26) / units.length;
  units.forEach((unit, place) => {
    context.fillStyle = unit === chosen.unit ? colour("--cursor") : PALETTE[0];
    const x = LEFT + 22 + place * wide;
    context.fillRect(x, y(logarithms[unit]), Math.max(wide - 0.5, 0.5), y(-1) - y(logarithms[unit]));
  });
  below(area, "units, the longest memory first");
  const steps = own.steps[chosen.unit];
  const text = steps === null ? "never forgets" : `${steps.toLocaleString("en", { maximumSignificantDigits: 3 })} steps`;
  element("memory-names").textContent = `Unit ${chosen.unit}: ${text} (gate ${own.gate})`;
}

// How strongly the last state depends on the inputs before it, by lag: a line for each layer or model.
function drawEffectiveMemory() {
  const tables = header.effectiveMemory;
  if (!tables.length) return;
  const area = surface("effective");
  const lines = tables.map(({ norms }) => norms.map((norm) => (norm > 1e-12 ? Math.log10(norm) : null)));
  const names = tables.map(({ name }) => (tables.length === 1 && name === layer().name ? "all units" : name));
  const own = tables.find((table) => table.units && table.layer === layer().name);
  if (own) {
    lines.push(powers(own.units, chosen.unit));
    names.push(`unit ${chosen.unit}`);
  }
  const finite = lines.flat().filter((number) => number !== null);
  const [low, high] = [Math.floor(Math.min(0, ...finite)), Math.ceil(Math.max(0, ...finite))];
  const y = axes(area, low, high, power, 30);
  const lags = Math.max(...lines.map((line) => line.length));
  const x = across(area.width, lags);
  lines.forEach((values, place) => {
    curve(area.context, values, x, y, PALETTE[place % PALETTE.length], DASHES[place % DASHES.length]);
  });
  stepLabels(area, x, 0, lags, false, 0, 18);
  below(area, "lag, in steps");
  element("effective-names").replaceChildren(...named(names));
}
