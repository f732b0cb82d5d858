// Measures of units, by which they are put in order.

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
