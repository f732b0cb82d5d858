// Colours of numbers, in the light or dark theme.

const theme = {};

// Read the colours of the theme once a drawing, not once a number.
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const paper = style.getPropertyValue("--card").trim();
  if (paper !== theme["--card"]) inks.clear();
  const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  PALETTES[isDark ? "dark" : "light"].forEach((paint, place) => (PALETTE[place] = paint));
  for (const name of ["--ink", "--soft", "--card", "--above", "--below", "--cursor", "--edge"]) {
    theme[name] = style.getPropertyValue(name).trim();
  }
}

const colour = (name) => theme[name];

// How strongly, from -1 to 1, a number is tinted: gates from 0 on, everything else about 0.
function strength(x, description) {
  return description.kind === "gate" ? x : (2 * (x - description.low)) / (description.high - description.low) - 1;
}

function tint(x, description) {
  const amount = strength(x, description);
  const alpha = (0.85 * Math.abs(amount)).toFixed(3);
  return `rgba(${colour(amount < 0 ? "--below" : "--above")}, ${alpha})`;
}

const inks = new Map(); // by tint, in the present theme

// The ink or the paper, whichever is easier to read on a tint.
function inkOn(paint) {
  if (!inks.has(paint)) inks.set(paint, readableInk(paint));
  return inks.get(paint);
}

function readableInk(paint) {
  const [red, green, blue, alpha] = paint.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2;
  const paper = rgb(colour("--card"));
  const under = luminance([red, green, blue].map((channel, place) => paper[place] + alpha * (channel - paper[place])));
  const [ink, card] = [luminance(rgb(colour("--ink"))), luminance(paper)];
  const contrast = (one) => (Math.max(one, under) + 0.05) / (Math.min(one, under) + 0.05);
  return contrast(ink) >= contrast(card) ? colour("--ink") : colour("--card");
}

function rgb(text) {
  if (text.startsWith("#")) return [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
  return text.split(",").map(Number);
}
