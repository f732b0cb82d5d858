// What the network answers: at the chosen step, or for the whole row.

const ANSWERS = {
  next: ["What the network expects next", "The most probable symbols after step"],
  label: ["The label of the step", "The most probable labels of step"],
  keys: ["Keys of the next frame", "How probable each key is in the frame after step"],
};

function showExpected() {
  const { expected, classes, forecast, bits, answer, outputs } = row();
  const panel = element("expected-panel");
  panel.hidden = !(expected || classes || forecast || bits || answer || outputs);
  if (classes) showClasses(classes);
  else if (forecast) showForecast(forecast);
  else if (bits) showBit(bits);
  else if (expected) showRanked();
  else if (answer || outputs) showNumbers(answer, outputs);
  element("surprise-part").hidden = expected?.surprise === undefined;
}

function titled(title, how) {
  element("expected-title").textContent = title;
  element("expected-how").textContent = how;
}

const shownStep = () => `${chosen.step + 1}${row().symbols ? ` (${spelled(symbolAt(chosen.step))})` : ""}`;

function showClasses(classes) {
  titled("What the network takes the row for", "The probability of each class, after the whole row.");
  const ranked = classes.map((share, place) => ({ label: header.labels[place], share, text: share.toFixed(3) }));
  bars(element("expected"), ranked.sort((a, b) => b.share - a.share).slice(0, MOST));
}

function showRanked() {
  const [title, how] = ANSWERS[header.outputKind] || ["What the network answers", "The most probable outputs at step"];
  titled(title, `${how} ${shownStep()}.`);
  const came = header.outputKind === "next" ? row().symbols?.[(chosen.step + 1) * header.patch] : undefined;
  bars(
    element("expected"),
    expectedAt(chosen.step).map(({ label, chance }) => ({
      label: spelled(label),
      share: chance,
      text: `${(100 * chance).toFixed(0)} %`,
      isRight: label === came,
    })),
  );
  if (came !== undefined) {
    const note = document.createElement("p");
    const bits = surpriseAt(chosen.step + 1);
    note.textContent = `What came: “${spelled(came)}”${bits === null ? "" : `, a surprise of ${bits.toFixed(1)} bits`}`;
    element("expected").append(note);
  }
}

// How many bits the symbol of a step was a surprise; null where nothing was expected, or nothing is known.
function surpriseAt(step) {
  const { expected, steps } = row();
  if (expected?.surprise === undefined || step >= steps) return null;
  const place = expected.surprise + 2 * step;
  const level = bytes[place] + 256 * bytes[place + 1];
  return level === 65535 ? null : level / 64;
}

// A bar for each symbol around the chosen step.
function drawSurprise() {
  const { expected, steps } = row();
  if (expected?.surprise === undefined) return;
  const area = surface("surprise");
  const size = Math.min(steps, Math.floor((area.width - LEFT) / 9));
  const first = within(chosen.step - (size >> 1), Math.max(1, steps - size + 1));
  const bits = Array.from({ length: size }, (_, place) => surpriseAt(first + place));
  const guess = Math.log2(header.labels.length);
  const y = axes(area, 0, Math.max(guess, ...bits.map((number) => number ?? 0)));
  const x = across(area.width, size);
  const { context } = area;
  bits.forEach((number, place) => {
    context.fillStyle = first + place === chosen.step + 1 ? colour("--cursor") : PALETTE[0];
    context.fillRect(x(place) - 3.5, y(number ?? 0), 7, y(0) - y(number ?? 0));
  });
  context.strokeStyle = colour("--soft");
  context.setLineDash([4, 4]);
  context.beginPath();
  context.moveTo(LEFT, y(guess));
  context.lineTo(area.width - 4, y(guess));
  context.stroke();
  context.setLineDash([]);
  nameSteps(area, x, first, first + size);
  const all = Array.from({ length: steps }, (_, step) => surpriseAt(step)).filter((number) => number !== null);
  const mean = all.reduce((sum, number) => sum + number, 0) / (all.length || 1);
  element("surprise-how").textContent =
    `Bits by which each symbol surprised the network; 0: it was certain. The dashed line is a guess among all ${header.labels.length.toLocaleString("en")}. ` +
    `Here the mean is ${mean.toFixed(2)} bits, a perplexity of ${inShort(2 ** mean)}. The marked bar came after the chosen step.`;
}

function showBit(bits) {
  titled("The bit of the sum", `The output at step ${shownStep()}: above 0.5 the bit is 1.`);
  const output = bits[chosen.step] ?? 0;
  bars(element("expected"), [{ label: String(Number(output > 0.5)), share: Math.max(0, output), text: output.toFixed(3) }]);
}

// A number beside others: with so many digits as the largest of them needs.
function besideOthers(number, others) {
  if (number === null) return "?";
  const largest = Math.max(...others.map((other) => Math.abs(other ?? 0)), 1e-300);
  return (Number(number.toFixed(within(3 - Math.floor(Math.log10(largest)), 21))) + 0).toLocaleString("en", { maximumFractionDigits: 20 });
}

const inShort = (number) => (number === null ? "?" : Number(number.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 }));

// The forecast from the chosen step on, or from the first one where the chosen step is in the past.
function showForecast(forecast) {
  const horizon = forecast[0][1].length;
  const first = Math.max(0, Math.min(chosen.step - (row().steps - horizon), horizon - 1));
  titled("The forecast", "The middle, and the ends of the interval, in the units of the data.");
  const lines = forecast.slice(0, PALETTE.length).flatMap(([low, middle, high], place) =>
    middle.slice(first, first + (forecast.length > 1 ? 1 : 6)).map((number, step) => {
      const when = row().symbols?.[row().steps - horizon + first + step] ?? `+${first + step + 1}`;
      const line = document.createElement("p");
      const name = forecast.length > 1 ? `${header.variables[place] ?? place}, ` : "";
      const ends = [low[first + step], high[first + step]];
      const [middleText, lowText, highText] = [number, ...ends].map((end) => besideOthers(end, [number, ...ends]));
      line.textContent = `${name}${when}: ${middleText} (${lowText} to ${highText})`;
      return line;
    }),
  );
  element("expected").replaceChildren(...lines);
}

function showNumbers(answer, outputs) {
  titled("What the network answers", answer ? "After the whole row." : `At step ${shownStep()}.`);
  const line = document.createElement("p");
  line.textContent = (answer || outputs.map((column) => column[chosen.step])).map(inShort).join(", ");
  element("expected").replaceChildren(line);
}

function showStatus() {
  const description = value();
  const x = numbers(description, chosen.unit)[chosen.step];
  const symbol = row().symbols ? ` “${spelled(symbolAt(chosen.step))}”` : "";
  const [best] = expectedAt(chosen.step);
  const before = { next: "next: ", label: "label: ", keys: "next: " }[header.outputKind] ?? "";
  const answer = best ? `; ${before}${spelled(best.label)} ${(100 * best.chance).toFixed(0)} %` : "";
  element("status").textContent =
    `Step ${chosen.step + 1} of ${row().steps}${symbol}; ${description.name} of unit ${chosen.unit}: ${x.toFixed(3)}${answer}`;
}
