// The layer as a dynamical system: eigenvalues, Lyapunov exponents, rank, dead units, drift, and the carry.

const pathOf = (name) => name.slice(0, Math.max(0, name.lastIndexOf(".")));

function drawDynamics() {
  const own = header.dynamics.find((part) => part.layer === pathOf(layer().name));
  const facts = factsOf(layer().name);
  element("dynamics-panel").hidden = !own && !facts.length;
  if (element("dynamics-panel").hidden) return;
  const isMeasured = Boolean(own) && !own.note;
  element("dynamics-how").textContent = isMeasured
    ? "The equations take the state from step to step: what do they keep, what do they forget, and how much of the state is used?"
    : own?.note || "Eigenvalues and Lyapunov exponents need the model; these are of the activations alone.";
  for (const id of ["eigenvalues-figure", "lyapunov-figure"]) element(id).hidden = !isMeasured;
  if (isMeasured) {
    drawEigenvalues(own);
    drawLyapunov(own);
  }
  drawCarry();
  drawDrift();
  element("facts").replaceChildren(
    ...facts.map(([number, text]) => {
      const [fact, strong] = ["p", "b"].map((name) => document.createElement(name));
      strong.textContent = number;
      fact.append(strong, ` ${text}`);
      return fact;
    }),
  );
}

function factsOf(name) {
  const facts = [];
  for (const { layer: own, state, units, ratio, rank } of header.ranks) {
    if (own !== name) continue;
    facts.push([ratio.toFixed(1), `directions hold most of how ${state} varies (participation ratio); its rank is ${rank} of ${units}`]);
  }
  for (const { layer: own, state, units } of header.dead) {
    if (own !== name) continue;
    const few = units.slice(0, 8).join(", ") + (units.length > 8 ? ", …" : "");
    facts.push([units.length, units.length ? `dead unit${units.length > 1 ? "s" : ""} of ${state} that never change${units.length > 1 ? "" : "s"}: ${few}` : `dead units of ${state}: every unit changes`]);
  }
  return facts;
}

// The unit circle is as large as the canvas allows, and eigenvalues outside of it still fit.
function drawEigenvalues({ read, isFixed, residual, real, imaginary }) {
  const { context, width, height } = surface("eigenvalues");
  const largest = Math.max(1.1, ...real.map((x, place) => Math.hypot(x, imaginary[place])));
  const scale = (Math.min(width, height) / 2 - 12) / largest;
  const [x0, y0] = [width / 2, height / 2];
  context.globalAlpha = 0.5;
  context.beginPath();
  context.moveTo(x0 - largest * scale, y0);
  context.lineTo(x0 + largest * scale, y0);
  context.moveTo(x0, y0 - largest * scale);
  context.lineTo(x0, y0 + largest * scale);
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  context.arc(x0, y0, scale, 0, 2 * Math.PI);
  context.stroke();
  context.textAlign = "left";
  context.fillText("1", x0 + scale + 3, y0 - 4);
  context.fillText("i", x0 + 4, y0 - scale - 3);
  let outside = 0;
  real.forEach((x, place) => {
    const isOutside = Math.hypot(x, imaginary[place]) >= 1;
    outside += isOutside;
    context.fillStyle = isOutside ? PALETTE[4] : PALETTE[0];
    context.globalAlpha = 0.75;
    context.beginPath();
    context.arc(x0 + x * scale, y0 - imaginary[place] * scale, 3, 0, 2 * Math.PI);
    context.fill();
  });
  context.globalAlpha = 1;
  const input = read ? `it reads ${read === " " ? "spaces" : `“${spelled(read)}”`} for ever` : "it reads the mean input for ever";
  const where = isFixed ? `At the fixed point while ${input}.` : `No fixed point was found while ${input}; at the last state (which moves by ${residual}).`;
  const radius = Math.max(...real.map((x, place) => Math.hypot(x, imaginary[place])));
  const halfLife = radius < 1 ? `; half of the slowest change is left after ${inShort(Math.log(0.5) / Math.log(radius))} steps` : "";
  const count = outside ? `${outside} outside the circle: such changes grow` : `all inside the circle: changes die out${halfLife}`;
  element("eigenvalues-how").textContent = `${where} A change along an eigenvector is multiplied by its value at each step: ${count}.`;
}

function drawLyapunov({ exponents, steps }) {
  const area = surface("lyapunov");
  const { context, width } = area;
  const finite = exponents.filter((number) => number !== null);
  const low = Math.min(-0.1, ...finite);
  const high = Math.max(0.05, ...finite);
  const y = axes(area, low, high, undefined, 18);
  const wide = (width - LEFT - 4) / exponents.length;
  exponents.forEach((number, place) => {
    const end = number === null ? low : number;
    context.fillStyle = end > 0 ? PALETTE[4] : PALETTE[0];
    context.fillRect(LEFT + place * wide + 0.1 * wide, Math.min(y(0), y(end)), 0.8 * wide, Math.max(1, Math.abs(y(end) - y(0))));
  });
  below(area, `the ${exponents.length} largest`);
  const [first] = finite;
  const words = first > 0.005 ? "the largest is above 0: small changes grow, the layer is chaotic" : first > -0.01 ? "the largest is near 0: something is kept" : `the slowest change halves in ${inShort(Math.log(0.5) / first)} steps`;
  element("lyapunov-how").textContent = `How fast small changes grow (above 0) or die out (below 0) a step, along ${steps} steps of the row: ${words}.`;
}

function drawCarry() {
  const { carry } = header;
  const read = carry?.read[chosen.row];
  element("carry-figure").hidden = !read;
  if (!read) return;
  const area = surface("carry");
  const { context, width } = area;
  const bits = carry.carries[chosen.row];
  const y = axes(area, Math.min(-0.2, ...read), Math.max(1.2, ...read), undefined, 30);
  const x = across(width, read.length);
  const wide = (width - LEFT - 4) / read.length;
  bits.forEach((bit, step) => {
    context.fillStyle = `rgba(${colour("--above")}, ${bit ? 0.3 : 0})`;
    context.fillRect(x(step) - wide / 2, y(1.1), wide, y(-0.1) - y(1.1));
  });
  context.setLineDash([4, 4]);
  context.strokeStyle = colour("--soft");
  context.beginPath();
  context.moveTo(LEFT, y(0.5));
  context.lineTo(width - 4, y(0.5));
  context.stroke();
  curve(context, read, x, y, PALETTE[0], []);
  context.fillStyle = PALETTE[0];
  read.forEach((number, step) => {
    context.beginPath();
    context.arc(x(step), y(number), 2.5, 0, 2 * Math.PI);
    context.fill();
  });
  cursor(area, x(Math.min(chosen.step, read.length - 1)));
  stepLabels(area, x, 0, read.length, true, 1, 18);
  below(area, "step, the lowest bits first");
  const right = read.filter((number, step) => number > 0.5 === Boolean(bits[step])).length;
  element("carry-how").textContent =
    `The line is one direction of ${carry.state}; where it is above 0.5 it says “carry”. Shaded: steps after which there is a carry. ` +
    `It is right in ${right} of ${read.length} steps here, and in ${percent(carry.directionScore)} of other sums; ` +
    `the best single unit, ${carry.unit}, in ${percent(carry.unitScore)}.`;
}

const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)} %`;

function drawDrift() {
  const own = header.drifts.find((part) => part.layer === layer().name);
  element("drift-figure").hidden = !own;
  if (!own) return;
  const area = surface("drift");
  const { norms, outside, trained, state, first } = own;
  const y = axes(area, 0, Math.max(...norms) || 1, undefined, 30);
  const x = across(area.width, norms.length);
  area.context.fillStyle = `rgba(${colour("--below")}, 0.12)`;
  area.context.fillRect(LEFT, 8, x(trained - 0.5) - LEFT, area.height - 46);
  curve(area.context, norms, x, y, PALETTE[0], []);
  stepLabels(area, x, 0, norms.length, false, 1, 18);
  below(area, "step");
  const most = Math.max(...outside);
  const where = first === null ? "no unit leaves its range after them" : `from step ${first + 1} on units leave the range that they had in it, at most ${percent(most)} of them`;
  element("drift-how").textContent = `The mean length of ${state}. Training saw the first ${trained} steps (shaded): ${where}.`;
}
