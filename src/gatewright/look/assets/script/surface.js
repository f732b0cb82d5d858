// Canvases: axes, curves, the line at the chosen step.

// Colours that the colour-blind tell apart (Okabe and Ito), for light and dark paper.
const PALETTES = {
  light: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c00"],
  dark: ["#4ea7e0", "#f2b233", "#2fc49a", "#dd96bd", "#f5854a", "#9cd3f7", "#c9c94a"],
};
const PALETTE = [...PALETTES.light];
const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4], [1, 3]];

const boxes = new Map(); // of canvases, while all are drawn

// Ask for the sizes of all canvases at once: to ask for each after the last was drawn has the page laid out every time.
function measureCanvases() {
  for (const canvas of document.querySelectorAll("canvas")) {
    const box = canvas.getBoundingClientRect();
    if (box.width) boxes.set(canvas.id, box);
  }
}

const boxOf = (canvas) => boxes.get(canvas.id) ?? canvas.getBoundingClientRect();

function surface(id) {
  const canvas = element(id);
  const ratio = window.devicePixelRatio || 1;
  const box = boxOf(canvas);
  canvas.width = Math.max(1, Math.round(box.width * ratio));
  canvas.height = Math.max(1, Math.round(box.height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = context.strokeStyle = colour("--soft");
  return { context, width: box.width, height: box.height };
}

const LEFT = 48;

const power = (x) => (x === 0 ? "1" : `1e${x}`);

function axes({ context, width, height }, low, high, spelled = (x) => Number(x.toPrecision(2)), bottom = 18) {
  const y = (x) => 8 + ((high - x) / (high - low || 1)) * (height - bottom - 16);
  context.fillStyle = context.strokeStyle = colour("--soft");
  context.textAlign = "right";
  context.textBaseline = "middle";
  const marks = low < 0 && high > 0 ? [low, high].filter((mark) => Math.abs(y(mark) - y(0)) > 12).concat(0) : [low, high];
  for (const mark of marks) {
    context.globalAlpha = 0.4;
    context.beginPath();
    context.moveTo(LEFT, y(mark));
    context.lineTo(width - 4, y(mark));
    context.stroke();
    context.globalAlpha = 1;
    context.fillText(spelled(mark), LEFT - 6, y(mark), LEFT - 7); // drawn narrower where it is too wide
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

// What an axis shows, below it.
function below({ context, width, height }, text) {
  context.fillStyle = colour("--soft");
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText(text, LEFT + (width - LEFT) / 2, height - 3);
}

// Names beside the lines that stand for them.
function named(names, places = names.map((_, place) => place)) {
  return names.map((text, index) => {
    const place = places[index];
    const name = document.createElement("span");
    const line = document.createElement("b");
    line.style.borderTopColor = line.style.backgroundColor = PALETTE[place % PALETTE.length];
    line.style.borderTopStyle = place % DASHES.length ? "dashed" : "solid";
    name.append(line, text);
    return name;
  });
}
