"use strict";

(() => {
  const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c00"];
  const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4], [1, 3]];
  const INVISIBLE = /[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;
  const MOST = 10; // units and places in the list of matches
  const WINDOW = 100; // steps of the lines: more would be a blur

  const element = (id) => document.getElementById(id);
  const chosen = { row: 0, layer: 0, value: 0, unit: 0, step: 0, span: null };
  let header = null;
  let bytes = null;
  let cache = new Map();
  let order = [];
  let spans = [];
  let found = new Set();

  // ---------------------------------------------------------------------- data

  async function inflated(text) {
    const raw = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const row = () => header.rows[chosen.row];
  const layer = () => header.layers[chosen.layer];
  const value = () => layer().values[chosen.value];
  const stepOf = (symbol) => Math.floor(symbol / header.patch);

  // The levels of a value in the chosen row, unit after unit. The blob holds differences modulo 256.
  function levels(description) {
    const key = `${chosen.row} ${chosen.layer} ${description.name}`;
    if (!cache.has(key)) {
      const steps = row().steps;
      const start = description.offsets[chosen.row];
      const decoded = new Uint8Array(description.units * steps);
      for (let unit = 0; unit < description.units; unit++) {
        let level = 0;
        for (let step = 0; step < steps; step++) {
          level = (level + bytes[start + unit * steps + step]) & 255;
          decoded[unit * steps + step] = level;
        }
      }
      cache.set(key, decoded);
    }
    return cache.get(key);
  }

  function numbers(description, unit) {
    const steps = row().steps;
    const scale = (description.high - description.low) / (header.levels - 1);
    const own = levels(description).subarray(unit * steps, (unit + 1) * steps);
    return Array.from(own, (level) => description.low + level * scale);
  }

  function expectedAt(step) {
    const { expected } = row();
    if (!expected) return [];
    const labels = bytes.subarray(expected.labels + step * expected.count * expected.bytes);
    return Array.from({ length: expected.count }, (_, place) => {
      let label = 0;
      for (let byte = expected.bytes - 1; byte >= 0; byte--) label = label * 256 + labels[place * expected.bytes + byte];
      return { label: header.labels[label], chance: bytes[expected.chances + step * expected.count + place] / 255 };
    });
  }

  // ------------------------------------------------------------------- measures

  function variance(values) {
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    return values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  }

  // The share of a unit's variance that the symbol at the step explains.
  function selectivity(values) {
    const symbols = row().symbols;
    if (!symbols) return variance(values);
    const groups = new Map();
    values.forEach((x, step) => {
      const symbol = symbols[step * header.patch];
      if (!groups.has(symbol)) groups.set(symbol, []);
      groups.get(symbol).push(x);
    });
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    let between = 0;
    for (const group of groups.values()) {
      between += group.length * (group.reduce((sum, x) => sum + x, 0) / group.length - mean) ** 2;
    }
    return between / (values.length * variance(values) || 1);
  }

  function saturation(values, description) {
    const low = description.kind === "gate" ? 0.1 : 0.9 * description.low;
    return values.filter((x) => x < low || x > 0.9 * description.high).length / values.length;
  }

  // Variance that lasts: that of neighbouring steps together (lag 1).
  function slowness(values) {
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    return values.slice(1).reduce((sum, x, place) => sum + (x - mean) * (values[place] - mean), 0) / values.length;
  }

  function ordered() {
    const description = value();
    const units = Array.from({ length: description.units }, (_, unit) => unit);
    const by = element("order").value;
    if (by === "index") return units;
    const measure = { slowness, variance, selectivity, saturation }[by];
    const scores = units.map((unit) => measure(numbers(description, unit), description));
    return units.sort((a, b) => scores[b] - scores[a] || a - b);
  }

  // -------------------------------------------------------------------- colours

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // How strongly, from -1 to 1, a number is tinted: gates from 0 on, everything else about 0.
  function strength(x, description) {
    return description.kind === "gate" ? x : (2 * (x - description.low)) / (description.high - description.low) - 1;
  }

  function tint(x, description) {
    const amount = strength(x, description);
    const alpha = (0.85 * Math.abs(amount)).toFixed(3);
    return `rgba(${colour(amount < 0 ? "--below" : "--above")}, ${alpha})`;
  }

  function rgb(text) {
    if (text.startsWith("#")) return [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
    return text.split(",").map(Number);
  }

  // ---------------------------------------------------------------------- text

  function visible(symbol) {
    const mark = (text) => ({ text, isMark: true });
    if (symbol === "\n") return mark("↵\n");
    if (symbol === "\t") return mark("⇥\t");
    if (symbol === "") return mark("∅");
    if (symbol.length === 1 && symbol < " ") return mark(String.fromCharCode(0x2400 + symbol.charCodeAt(0)));
    if (symbol === "\u007f") return mark("␡");
    if (INVISIBLE.test(symbol)) return mark(Array.from(symbol, (c) => (INVISIBLE.test(c) ? "◌" : c)).join(""));
    return { text: symbol, isMark: false };
  }

  function spelled(symbol) {
    return symbol === " " ? "␣" : visible(symbol).text.trim();
  }

  function buildText() {
    const reading = element("reading");
    const symbols = row().symbols;
    reading.hidden = !symbols;
    reading.textContent = "";
    reading.classList.toggle("words", Boolean(symbols) && symbols.some((symbol) => Array.from(symbol).length > 1));
    spans = (symbols || []).map((symbol, place) => {
      const span = document.createElement("span");
      const { text, isMark } = visible(symbol);
      span.textContent = text;
      span.classList.toggle("mark", isMark);
      span.dataset.place = place;
      return span;
    });
    reading.append(...spans);
  }

  function colourText() {
    const description = value();
    const values = numbers(description, chosen.unit);
    const tints = values.map((x) => tint(x, description));
    spans.forEach((span, place) => {
      span.style.backgroundColor = tints[stepOf(place)];
      span.classList.toggle("now", stepOf(place) === chosen.step);
      span.classList.toggle("match", found.has(place));
      span.classList.toggle("chosen", Boolean(chosen.span) && place >= chosen.span[0] && place < chosen.span[1]);
    });
  }

  function legend() {
    const description = value();
    const ends = description.kind === "gate" ? [0, 1] : [description.low, 0, description.high];
    const bar = document.createElement("i");
    bar.style.background = `linear-gradient(90deg, ${ends.map((x) => tint(x, description)).join(", ")})`;
    const text = (x) => document.createTextNode(Number(x.toPrecision(3)));
    element("legend").replaceChildren(text(ends[0]), bar, text(ends[ends.length - 1]));
    const kind = { gate: "gate", state: "state", value: "value" }[description.kind];
    const role = description.role ? ` (${description.role})` : "";
    const what = row().symbols ? "Each symbol has the colour of" : "The chart shows";
    const shown = row().steps < row().all ? ` The first ${row().steps} of ${row().all} steps are shown.` : "";
    element("reading-how").textContent =
      `${what} the ${kind} ${description.name}${role} of unit ${chosen.unit} after the network has read it.${shown}`;
  }

  // -------------------------------------------------------------------- canvases

  function surface(id) {
    const canvas = element(id);
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    canvas.width = Math.max(1, Math.round(box.width * ratio));
    canvas.height = Math.max(1, Math.round(box.height * ratio));
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = context.strokeStyle = colour("--soft");
    return { context, width: box.width, height: box.height };
  }

  const LEFT = 44;

  function axes({ context, width, height }, low, high, bottom = 18) {
    const y = (x) => 8 + ((high - x) / (high - low || 1)) * (height - bottom - 16);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const mark of low < 0 && high > 0 ? [low, 0, high] : [low, high]) {
      context.globalAlpha = 0.4;
      context.beginPath();
      context.moveTo(LEFT, y(mark));
      context.lineTo(width - 4, y(mark));
      context.stroke();
      context.globalAlpha = 1;
      context.fillText(Number(mark.toPrecision(3)), LEFT - 6, y(mark));
    }
    return y;
  }

  const across = (width, count) => (place) => LEFT + ((place + 0.5) / count) * (width - LEFT - 4);

  function curve(context, values, x, y, strokeStyle, dash) {
    context.strokeStyle = strokeStyle;
    context.lineWidth = 1.6;
    context.setLineDash(dash);
    context.beginPath();
    let drawing = false;
    values.forEach((number, place) => {
      if (number === null) drawing = false;
      else if (drawing) context.lineTo(x(place), y(number));
      else {
        context.moveTo(x(place), y(number));
        drawing = true;
      }
    });
    context.stroke();
    context.setLineDash([]);
  }

  function cursor({ context, height }, x) {
    context.strokeStyle = colour("--cursor");
    context.lineWidth = 1.2;
    context.beginPath();
    context.moveTo(x, 4);
    context.lineTo(x, height - 14);
    context.stroke();
  }

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
    const steps = last - first < row().steps ? ` Steps ${first} to ${last - 1} are shown.` : "";
    element("lines-how").textContent =
      `Each line is one value of the chosen unit. The vertical line is the chosen step.${steps}`;
    element("names").replaceChildren(
      ...descriptions.map((description, place) => {
        const name = document.createElement("span");
        const line = document.createElement("b");
        line.style.borderTopColor = PALETTE[place % PALETTE.length];
        line.style.borderTopStyle = place % DASHES.length ? "dashed" : "solid";
        name.append(line, `${description.name} = ${all[place][chosen.step - first].toFixed(3)}`);
        return name;
      }),
    );
  }

  // Symbols below the steps where they fit, else numbers of steps.
  function stepLabels({ context, width, height }, x, first, last) {
    const { symbols } = row();
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
    for (let step = Math.ceil(first / every) * every; step < last; step += every) {
      context.fillText(step, x(step - first), height - 6);
    }
  }

  function drawSeries() {
    const { series, steps } = row();
    element("series").hidden = !series;
    if (!series) return;
    const area = surface("series");
    const finite = series.flat().filter((number) => number !== null);
    const y = axes(area, finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity));
    const x = across(area.width, series[0].length);
    const description = value();
    const values = numbers(description, chosen.unit);
    const wide = ((area.width - LEFT - 4) / series[0].length) * header.patch;
    values.forEach((number, step) => {
      area.context.fillStyle = tint(number, description);
      area.context.fillRect(x(step * header.patch) - wide / (2 * header.patch), 4, wide + 0.5, area.height - 22);
    });
    series.slice(0, PALETTE.length).forEach((column, place) => {
      curve(area.context, column, x, y, series.length === 1 ? colour("--ink") : PALETTE[place], DASHES[place]);
    });
    cursor(area, x(Math.min(chosen.step * header.patch, series[0].length - 1)));
    if (header.patch === 1) stepLabels(area, across(area.width, steps), 0, steps);
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
    context.fillText("share of steps below 0.1", side(0.5), height - 4);
    context.textAlign = "right";
    for (const share of [0.5, 1]) context.fillText(share, LEFT - 6, up(share) + 4);
    context.textAlign = "left";
    own.forEach((table, place) => {
      const paint = PALETTE[layer().values.findIndex((description) => description.name === table.gate) % PALETTE.length];
      context.fillStyle = paint;
      context.fillText(table.gate, width - 40, 20 + 16 * place);
      table.left.forEach((left, unit) => {
        context.globalAlpha = unit === chosen.unit ? 1 : 0.5;
        context.beginPath();
        context.arc(side(left), up(table.right[unit]), unit === chosen.unit ? 6 : 3.5, 0, 2 * Math.PI);
        context.fill();
      });
      context.globalAlpha = 1;
    });
    if (!own.length) context.fillText("This layer has no gate between 0 and 1.", LEFT + 8, height / 2);
  }

  function drawMemory() {
    const own = header.halfLife.filter((table) => table.layer === layer().name)[0];
    const area = surface("memory");
    const { context, width, height } = area;
    if (!own) {
      context.fillText("No gate of this layer keeps the old state.", 8, height / 2);
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
    context.fillStyle = colour("--soft");
    context.textAlign = "left";
    const steps = own.steps[chosen.unit];
    const text = steps === null ? "never forgets" : `${steps.toLocaleString("en", { maximumSignificantDigits: 3 })} steps`;
    context.fillText(`unit ${chosen.unit}: ${text} (gate ${own.gate})`, LEFT + 22, height - 6);
  }

  // ---------------------------------------------------------------------- lists

  function bars(target, entries) {
    element(target).replaceChildren(
      ...entries.map(({ label, share, text, choose }) => {
        const line = document.createElement("div");
        const name = document.createElement(choose ? "button" : "code");
        name.textContent = label;
        if (choose) name.addEventListener("click", choose);
        const bar = document.createElement("i");
        bar.style.width = `${Math.min(100, 100 * share)}%`;
        const number = document.createElement("span");
        number.textContent = text;
        line.append(name, bar, number);
        return line;
      }),
    );
  }

  function showExpected() {
    const { expected, classes } = row();
    element("expected-panel").hidden = !expected && !classes;
    if (classes) {
      element("expected-title").textContent = "What the network takes the row for";
      element("expected-how").textContent = "The probability of each class, after the whole row.";
      const ranked = classes.map((share, place) => ({ label: header.labels[place], share, text: share.toFixed(3) }));
      bars("expected", ranked.sort((a, b) => b.share - a.share).slice(0, MOST));
    } else if (expected) {
      element("expected-how").textContent =
        `The most probable outputs after step ${chosen.step}${row().symbols ? ` (${spelled(symbolAt(chosen.step))})` : ""}.`;
      bars(
        "expected",
        expectedAt(chosen.step).map(({ label, chance }) => ({
          label: spelled(label),
          share: chance,
          text: `${(100 * chance).toFixed(0)} %`,
        })),
      );
    }
  }

  function symbolAt(step) {
    const { symbols } = row();
    return symbols.slice(step * header.patch, (step + 1) * header.patch).join(" ");
  }

  // Units whose value within the span differs most from that elsewhere, in deviations of what is elsewhere.
  function distinct(first, last) {
    const description = value();
    return Array.from({ length: description.units }, (_, unit) => {
      const values = numbers(description, unit);
      const inside = values.slice(first, last + 1);
      const outside = [...values.slice(0, first), ...values.slice(last + 1)];
      const mean = (list) => list.reduce((sum, x) => sum + x, 0) / (list.length || 1);
      const score = (mean(inside) - mean(outside)) / (Math.sqrt(variance(outside)) + 1e-6);
      return { unit, score, mean: mean(inside), values };
    })
      .sort((a, b) => Math.abs(b.score) - Math.abs(a.score))
      .slice(0, MOST);
  }

  function showMatches() {
    if (!chosen.span || !row().symbols) {
      element("matches").replaceChildren();
      element("matches-how").textContent = row().symbols
        ? "Select a stretch of the text above with the mouse, or with Shift and the arrow keys."
        : "For rows of symbols: units that are on in a stretch and nowhere else.";
      return;
    }
    const [first, last] = [stepOf(chosen.span[0]), stepOf(chosen.span[1] - 1)];
    const length = last - first + 1;
    const units = distinct(first, last);
    const text = row().symbols.slice(...chosen.span).map(spelled).join("").slice(0, 40);
    element("matches-how").textContent =
      `Units whose ${value().name} within “${text}” differs most from that elsewhere, in standard deviations; ` +
      "below, the stretches where the first five behave most alike.";
    const largest = Math.abs(units[0].score);
    bars(
      "matches",
      units.map(({ unit, score }) => ({
        label: `unit ${unit}`,
        share: Math.abs(score) / largest,
        text: score.toFixed(1),
        choose: () => choose({ unit }),
      })),
    );
    const few = units.slice(0, 5);
    const distances = [];
    for (let start = 0; start + length <= row().steps; start++) {
      if (start <= last && start + length > first) continue;
      let sum = 0;
      for (const { values, mean } of few) {
        for (let step = start; step < start + length; step++) sum += Math.abs(values[step] - mean);
      }
      distances.push({ start, sum });
    }
    distances.sort((a, b) => a.sum - b.sum);
    const places = [];
    for (const { start } of distances) {
      if (places.length === MOST) break;
      if (places.every((other) => Math.abs(other - start) >= length)) places.push(start);
    }
    const list = document.createElement("ol");
    list.append(
      ...places.map((start) => {
        const item = document.createElement("li");
        const stretch = (from, to) => row().symbols.slice(Math.max(0, from) * header.patch, to * header.patch).map(spelled).join("");
        const middle = document.createElement("b");
        middle.textContent = stretch(start, start + length);
        item.append(stretch(start - 20, start), middle, stretch(start + length, start + length + 20));
        item.addEventListener("click", () => choose({ step: start }));
        return item;
      }),
    );
    element("matches").append(list);
  }

  function showStatus() {
    const description = value();
    const x = numbers(description, chosen.unit)[chosen.step];
    const symbol = row().symbols ? ` “${spelled(symbolAt(chosen.step))}”` : "";
    const [best] = expectedAt(chosen.step);
    const next = best ? `; next: ${spelled(best.label)} ${(100 * best.chance).toFixed(0)} %` : "";
    element("status").textContent =
      `Step ${chosen.step} of ${row().steps}${symbol}; ${description.name} of unit ${chosen.unit}: ${x.toFixed(3)}${next}`;
  }

  function showEquations() {
    element("equations").textContent = layer().equations.join("\n");
    element("roles").textContent = layer()
      .values.filter((description) => description.role)
      .map((description) => `${description.name}: ${description.role}.`)
      .join(" ");
  }

  // -------------------------------------------------------------------- choosing

  function options(id, names, place) {
    const select = element(id);
    select.replaceChildren(
      ...names.map((name, index) => {
        const option = document.createElement("option");
        option.value = index;
        option.textContent = name;
        return option;
      }),
    );
    select.value = place;
    select.parentElement.hidden = names.length < 2;
  }

  const within = (place, count) => Math.max(0, Math.min(count - 1, place));

  function choose(changes) {
    const isNewRow = "row" in changes && changes.row !== chosen.row;
    const isNewMap = isNewRow || "layer" in changes || "value" in changes || "order" in changes;
    Object.assign(chosen, changes);
    chosen.layer = within(chosen.layer, header.layers.length);
    chosen.value = within(chosen.value, layer().values.length);
    chosen.unit = within(chosen.unit, value().units);
    chosen.step = within(chosen.step, row().steps);
    if (isNewRow) {
      chosen.span = null;
      found = new Set();
      buildText();
    }
    if (isNewMap) {
      order = ordered();
      if (!("unit" in changes) && "order" in changes) [chosen.unit] = order;
      options("value", layer().values.map((description) => description.name), chosen.value);
      showEquations();
    }
    element("unit").value = chosen.unit;
    element("unit").max = value().units - 1;
    draw();
  }

  function draw() {
    colourText();
    legend();
    drawSeries();
    drawLines();
    drawUnits();
    drawSaturation();
    drawMemory();
    showExpected();
    if (!element("matches").dataset.key || element("matches").dataset.key !== matchKey()) {
      element("matches").dataset.key = matchKey();
      showMatches();
    }
    showStatus();
  }

  const matchKey = () => [chosen.row, chosen.layer, chosen.value, chosen.span].join(" ");

  // Hovering changes the step alone: what does not depend on it is not drawn again.
  function hover(step) {
    if (step === chosen.step) return;
    const before = chosen.step;
    chosen.step = within(step, row().steps);
    for (const place of [before, chosen.step]) {
      for (let symbol = place * header.patch; symbol < (place + 1) * header.patch; symbol++) {
        if (spans[symbol]) spans[symbol].classList.toggle("now", place === chosen.step);
      }
    }
    drawSeries();
    drawLines();
    showExpected();
    showStatus();
  }

  function find() {
    const wanted = Array.from(element("find").value);
    found = new Set();
    const symbols = row().symbols || [];
    const text = symbols.map((symbol) => symbol.toLowerCase());
    const isWords = element("reading").classList.contains("words");
    const parts = isWords ? element("find").value.toLowerCase().split(/\s+/).filter(Boolean) : wanted.map((c) => c.toLowerCase());
    let first = -1;
    for (let start = 0; parts.length && start + parts.length <= text.length; start++) {
      if (parts.every((part, place) => (isWords ? text[start + place].startsWith(part) : text[start + place] === part))) {
        if (first < 0 && start > stepOf(chosen.step) * header.patch) first = start;
        parts.forEach((_, place) => found.add(start + place));
      }
    }
    if (first < 0 && found.size) [first] = found;
    colourText();
    return first;
  }

  function selectSpan(first, last) {
    chosen.span = first <= last ? [first, last + 1] : [last, first + 1];
    draw();
  }

  function selectedPlaces() {
    const selection = window.getSelection();
    if (!selection || selection.isCollapsed) return null;
    const place = (node) => {
      const span = (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).closest?.("#reading span");
      return span ? Number(span.dataset.place) : null;
    };
    const ends = [place(selection.anchorNode), place(selection.focusNode)];
    return ends.includes(null) ? null : ends;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);
    if (event.key === "Escape") {
      chosen.span = null;
      found = new Set();
      document.activeElement?.blur();
      draw();
      return;
    }
    if (isTyping) return;
    const line = order.indexOf(chosen.unit);
    const count = layer().values.length;
    const actions = {
      ArrowRight: () => move(1, event.shiftKey),
      ArrowLeft: () => move(-1, event.shiftKey),
      ArrowDown: () => choose({ unit: order[within(line + 1, order.length)] }),
      ArrowUp: () => choose({ unit: order[within(line - 1, order.length)] }),
      "]": () => choose({ value: (chosen.value + 1) % count }),
      "[": () => choose({ value: (chosen.value + count - 1) % count }),
      "/": () => element("find").focus(),
    };
    if (actions[event.key]) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  function move(by, isSelecting) {
    const before = chosen.step;
    const after = within(before + by, row().steps);
    if (isSelecting && row().symbols) {
      const first = chosen.span ? chosen.span[0] : before * header.patch;
      chosen.span = [Math.min(first, after * header.patch), Math.max(first, after * header.patch) + 1];
    }
    choose({ step: after });
    spans[after * header.patch]?.scrollIntoView({ block: "nearest" });
  }

  function listen() {
    for (const name of ["row", "layer", "value"]) {
      element(name).addEventListener("change", () => choose({ [name]: Number(element(name).value) }));
    }
    element("unit").addEventListener("change", () => choose({ unit: Math.round(Number(element("unit").value)) || 0 }));
    element("order").addEventListener("change", () => choose({ order: true }));
    element("find").addEventListener("input", find);
    element("find").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const place = find();
      if (place < 0) return;
      choose({ step: stepOf(place) });
      spans[place].scrollIntoView({ block: "center" });
    });
    element("keys").addEventListener("click", () => {
      const isHidden = element("help").toggleAttribute("hidden");
      element("keys").setAttribute("aria-expanded", String(!isHidden));
    });
    const reading = element("reading");
    reading.addEventListener("mousemove", (event) => {
      const span = event.target.closest("#reading span");
      if (span) hover(stepOf(Number(span.dataset.place)));
    });
    document.addEventListener("mouseup", () => {
      const places = selectedPlaces();
      if (places) selectSpan(...places);
    });
    reading.addEventListener("click", (event) => {
      const span = event.target.closest("#reading span");
      if (span && !selectedPlaces()) choose({ step: stepOf(Number(span.dataset.place)), span: null });
    });
    const at = (event) => {
      const box = event.target.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    element("units").addEventListener("click", (event) => {
      const [x, y] = at(event);
      choose({
        step: Math.floor(x * row().steps),
        unit: order[within(Math.floor(y * order.length), order.length)],
      });
    });
    const stepUnder = (event, first, last) => {
      const box = event.target.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - 4);
      return Math.max(first, Math.min(last - 1, first + Math.floor(share * (last - first))));
    };
    element("lines").addEventListener("mousemove", (event) => hover(stepUnder(event, ...stretch())));
    element("series").addEventListener("mousemove", (event) => hover(stepUnder(event, 0, row().steps)));
    document.addEventListener("keydown", onKey);
    window.addEventListener("resize", draw);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }

  function show(newHeader, newBytes) {
    header = newHeader;
    bytes = newBytes;
    cache = new Map();
    found = new Set();
    chosen.span = null;
    chosen.row = within(chosen.row, header.rows.length);
    chosen.layer = within(chosen.layer, header.layers.length);
    options("row", header.rows.map((description) => description.name), chosen.row);
    options("layer", header.layers.map((description) => description.name), chosen.layer);
    const units = header.layers.map((description) => description.values[0].units);
    element("about").textContent =
      `${header.layers.length === 1 ? "One recurrent layer" : `${header.layers.length} recurrent layers and directions`} of ` +
      `${[...new Set(units)].join(", ")} units. Choose a value and a unit, and move over the ` +
      `${header.rows[0].symbols ? "text" : "chart"} to see what it does.`;
    buildText();
    const states = header.layers[chosen.layer].values.flatMap((each, place) => (each.kind === "state" ? [place] : []));
    choose({ layer: chosen.layer, value: states.at(-1) ?? 0, order: true });
  }

  window.gatewright = { show, choose, chosen };

  listen();
  inflated(element("blob").textContent).then((content) => show(JSON.parse(element("header").textContent), content));
})();
