// The live page: a text is read while it is typed, the network writes on, and gates are clamped.

const clamps = [];
let isReading = false;
let isStale = false; // whether something has changed since the text was sent

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

// One request at a time: what is typed meanwhile is sent when it has been answered.
async function readTyped() {
  const text = element("typed").value;
  if (!text) return;
  if (isReading) {
    isStale = true;
    return;
  }
  isReading = true;
  try {
    const content = await (await ask("/read", { text })).arrayBuffer();
    const size = new DataView(content).getUint32(0, true);
    const description = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, size)));
    const step = description.rows[0].steps - 1;
    show({ ...description, title: header.title }, new Uint8Array(content, 4 + size), { step });
    element("live-status").textContent = "";
    document.body.dataset.read = text;
  } catch (error) {
    element("live-status").textContent = error.message;
  }
  isReading = false;
  if (isStale) {
    isStale = false;
    await readTyped();
  }
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

function startLive() {
  if (document.body.dataset.live !== "true") return;
  element("live-panel").hidden = false;
  element("typed").value = (row().symbols || []).join("");
  element("typed").addEventListener("input", readTyped);
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
