// Lists with bars, and the equations.

const MOST = 10; // units and places in the list of matches

function bars(target, entries) {
  const longest = Math.max(2, ...entries.map(({ label }) => Array.from(label).length));
  target.style.setProperty("--label", `${Math.min(14, longest + 1)}ch`);
  target.replaceChildren(
    ...entries.map(({ label, share, text, choose, isRight }) => {
      const line = document.createElement("div");
      const name = document.createElement(choose ? "button" : "code");
      name.textContent = label;
      if (choose) name.addEventListener("click", choose);
      const bar = document.createElement("i");
      bar.style.width = `${Math.min(100, 100 * share)}%`;
      const number = document.createElement("span");
      number.textContent = text;
      line.classList.toggle("right", Boolean(isRight));
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
