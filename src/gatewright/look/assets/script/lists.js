// Lists with bars, and the equations.

const MOST = 10; // units and places in the list of matches

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

function symbolAt(step) {
  const { symbols } = row();
  return symbols.slice(step * header.patch, (step + 1) * header.patch).join(" ");
}

function showEquations() {
  element("equations").textContent = layer().equations.join("\n");
  element("roles").textContent = layer()
    .values.filter((description) => description.role)
    .map((description) => `${description.name}: ${description.role}.`)
    .join(" ");
}
