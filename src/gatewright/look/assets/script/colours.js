// Colours of numbers, in the light or dark theme.

const theme = {};

// Read the colours of the theme once a drawing, not once a number.
function readTheme() {
  const style = getComputedStyle(document.documentElement);
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

function rgb(text) {
  if (text.startsWith("#")) return [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
  return text.split(",").map(Number);
}
