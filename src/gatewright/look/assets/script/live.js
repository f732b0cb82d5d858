// The live page: a text is read while it is typed, the network writes on, and gates are clamped.

const clamps = [];
let isReading = false;
let isStale = false; // whether something has changed since the text was sent
let pause = 0; // the timer that runs out when nobody has typed for a while
const PAUSE = 400; // milliseconds

async function ask(path, content) {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Gatewright-Token": token },
    body: JSON.stringify({ ...content, clamps }),
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({ error: response.statusText }));
    throw new Error(answer.error);
  }
  return response;
}

// A reply that holds only what has changed, as one that holds everything: the first `since` steps are those shown.
function whole(description, content) {
  const { since } = description;
  const [shown] = description.rows;
  const parts = [];
  let size = 0;
  const add = (part) => {
    parts.push(part);
    size += part.length;
    return size - part.length;
  };
  for (const own of description.layers) {
    const before = header.layers.find((other) => other.name === own.name);
    for (const value of own.values) {
      const old = before.values.find((other) => other.name === value.name);
      const [oldSteps, newSteps] = [header.rows[0].steps, shown.steps - since];
      const table = new Uint8Array(value.units * shown.steps);
      for (let unit = 0; unit < value.units; unit++) {
        const oldStart = old.offsets[0] + unit * oldSteps;
        const newStart = value.offsets[0] + unit * newSteps;
        table.set(bytes.subarray(oldStart, oldStart + since), unit * shown.steps);
        table.set(content.subarray(newStart, newStart + newSteps), unit * shown.steps + since);
      }
      value.offsets = [add(table)];
    }
  }
  if (shown.expected) {
    const { count, bytes: width } = shown.expected;
    const tables = [["labels", count * width], ["chances", count]];
    if (shown.expected.surprise !== undefined) tables.push(["surprise", 2]);
    for (const [name, wide] of tables) {
      const [oldStart, newStart] = [header.rows[0].expected[name], shown.expected[name]];
      const table = new Uint8Array(wide * shown.steps);
      table.set(bytes.subarray(oldStart, oldStart + wide * since));
      table.set(content.subarray(newStart, newStart + wide * (shown.steps - since)), wide * since);
      shown.expected[name] = add(table);
    }
  }
  const joined = new Uint8Array(size);
  let place = 0;
  for (const part of parts) {
    joined.set(part, place);
    place += part.length;
  }
  return joined;
}

// What was typed, for the server: a text, or the history of a series with its horizon. Null where it is incomplete.
function typed() {
  const text = element("typed").value;
  if (header.live.reads === "text") return text ? { text } : null;
  const series = text.trim().split("\n").map((line) => line.trim().split(/[\s,;]+/).map(Number));
  const wrong = series.findIndex((values) => values.length !== row().series.length || !values.every(Number.isFinite));
  if (wrong >= 0) throw new Error(`Line ${wrong + 1} is not ${row().series.length === 1 ? "a number" : `${row().series.length} numbers`}.`);
  if (series.length !== header.live.history) {
    throw new Error(`The model reads ${header.live.history} steps, a line each; there are ${series.length}.`);
  }
  return { series, horizon: Number(element("horizon").value) };
}

// One request at a time: what is typed meanwhile is sent when it has been answered.
async function readTyped() {
  if (isReading) {
    isStale = true;
    return;
  }
  isReading = true;
  clearTimeout(pause);
  try {
    const sent = typed();
    await showReply(sent, false);
    document.body.dataset.read = element("typed").value;
  } catch (error) {
    element("live-status").textContent = error.message;
  }
  isReading = false;
  if (isStale) {
    isStale = false;
    await readTyped();
  } else {
    pause = setTimeout(readSummaries, PAUSE);
  }
}

// Saturation and half-lives of what was typed: they are measured when nobody types.
async function readSummaries() {
  if (isReading) return;
  isReading = true;
  try {
    await showReply(typed(), true);
    document.body.dataset.summaries = element("typed").value;
  } catch (error) {
    element("live-status").textContent = error.message;
  }
  isReading = false;
  if (isStale) {
    isStale = false;
    await readTyped();
  }
}

// Ask what the network does with what was typed, and show it. The measures of time are for whoever looks for them.
async function showReply(sent, summaries) {
  const started = performance.now();
  const response = sent && (await ask("/read", { ...sent, summaries, version: header.version }));
  const isEmpty = !sent || response.status === 204;
  document.body.classList.toggle("empty", isEmpty);
  element("live-status").textContent = isEmpty ? "There is nothing to read yet: type a text." : "";
  if (isEmpty) return;
  const answered = performance.now();
  const content = await response.arrayBuffer();
  const size = new DataView(content).getUint32(0, true);
  const description = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, size)));
  const numbersOf = new Uint8Array(content, 4 + size);
  const { title, live, saturation: saturations, halfLife } = header;
  const step = sent.text === undefined || summaries ? chosen.step : description.rows[0].steps - 1;
  const joined = description.since ? whole(description, numbersOf) : numbersOf;
  const decoded = performance.now();
  show({ saturation: saturations, halfLife, ...description, title, live }, joined, { step }, !summaries);
  const drawn = performance.now();
  for (const [name, start, end] of [["server", started, answered], ["decode", answered, decoded], ["draw", decoded, drawn]]) {
    performance.measure(`gatewright ${name}`, { start, end });
  }
  document.body.dataset.milliseconds = Math.round(drawn - started);
}

async function writeOn() {
  element("write").disabled = true;
  try {
    const options = {
      text: element("typed").value,
      temperature: Number(element("temperature").value),
      length: Number(element("length").value),
      seed: Number(element("seed").value),
    };
    const { text } = await (await ask("/write", options)).json();
    element("written").textContent = text;
    element("live-status").textContent = "";
  } catch (error) {
    element("live-status").textContent = error.message;
  }
  element("write").disabled = false;
}

function clampChosen(number) {
  const description = value();
  const place = { layer: layer().name, gate: description.name, unit: chosen.unit };
  const isSame = (other) => other.layer === place.layer && other.gate === place.gate && other.unit === place.unit;
  const before = clamps.findIndex(isSame);
  if (before >= 0) clamps.splice(before, 1);
  clamps.push({ ...place, value: number });
  listClamps();
}

function listClamps() {
  element("clamps").replaceChildren(
    ...clamps.map((clamp, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${clamp.layer} ${clamp.gate} of unit ${clamp.unit} = ${clamp.value} ✕`;
      button.addEventListener("click", () => {
        clamps.splice(place, 1);
        listClamps();
      });
      return button;
    }),
  );
  readTyped();
}

// A state is no gate: only what the equations compute as a gate is clamped.
function showClampable() {
  const isGate = value().kind !== "state";
  for (const id of ["clamp-0", "clamp-1"]) element(id).disabled = !isGate;
  element("clamp-how").textContent = isGate
    ? `Clamp ${value().name} of unit ${chosen.unit}:`
    : "Choose a gate above to clamp it in the chosen unit.";
}

// The history of the series, a step a line.
function historyLines() {
  const { series } = row();
  return Array.from({ length: header.live.history }, (_, step) => series.map((column) => column[step]).join(", ")).join("\n");
}

function startSeries() {
  element("live-title").textContent = "Change the history";
  element("live-how").textContent =
    "A line is a step, the oldest first. The network forecasts anew while you type; the line of the cursor is the chosen step.";
  element("typed").rows = 8;
  element("horizon").max = element("horizon").value = header.live.horizon;
  element("horizon").addEventListener("input", readTyped);
  const follow = () => {
    const { value: text, selectionStart } = element("typed");
    choose({ step: text.slice(0, selectionStart).split("\n").length - 1 });
  };
  for (const name of ["keyup", "click"]) element("typed").addEventListener(name, follow);
}

function startLive() {
  if (document.body.dataset.live !== "true") return;
  element("live-panel").hidden = false;
  const isText = header.live.reads === "text";
  element("typed").value = isText ? (row().symbols || []).join(header.live.writes || !isWords() ? "" : " ") : historyLines();
  element("typed").addEventListener("input", readTyped);
  for (const id of ["write-controls", "written"]) element(id).hidden = !header.live.writes;
  element("horizon-controls").hidden = isText;
  if (!isText) startSeries();
  element("write").addEventListener("click", writeOn);
  element("take").addEventListener("click", () => {
    element("typed").value += element("written").textContent;
    element("written").textContent = "";
    readTyped();
  });
  element("clamp-0").addEventListener("click", () => clampChosen(0));
  element("clamp-1").addEventListener("click", () => clampChosen(1));
  showClampable();
}
