// A piano roll: the keys that were struck, and how probable the network held each one before.

function drawRoll(keys) {
  element("series").style.height = "";
  const area = surface("series");
  const { context, width, height } = area;
  const steps = row().steps;
  const [top, bottom] = [18, height - 20];
  const wide = (width - LEFT - 4) / steps;
  const high = (bottom - top) / keys.count;
  drawBackground(area, 2, 12);
  context.textAlign = "right";
  for (let key = 0; key < keys.count; key++) {
    const y = bottom - (key + 1) * high;
    const name = header.labels[keys.first + key] ?? "";
    if (/^C-?\d/.test(name)) {
      context.fillStyle = colour("--soft");
      context.fillText(name, LEFT - 6, y + high / 2 + 4);
      context.fillRect(LEFT, y + high - 0.5, width - LEFT - 4, 0.5);
    }
    for (let step = 0; step < steps; step++) {
      const chance = keys.chances === undefined ? 0 : bytes[keys.chances + key * steps + step] / 255;
      if (chance > 0.02) {
        context.fillStyle = `rgba(${colour("--above")}, ${chance.toFixed(3)})`;
        context.fillRect(LEFT + step * wide, y, wide + 0.3, high);
      }
      if (bytes[keys.struck + key * steps + step]) {
        context.fillStyle = colour("--ink");
        context.fillRect(LEFT + step * wide + 0.15 * wide, y + 0.25 * high, 0.7 * wide, 0.5 * high);
      }
    }
  }
  const x = across(width, steps);
  cursor(area, x(chosen.step));
  stepLabels(area, x, 0, steps, false);
  element("variables").replaceChildren(
    "Black: keys that were struck. Behind them in colour: how probable the network held each key one frame before.",
  );
}
