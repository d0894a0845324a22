/* The readout of a chart under the pointer or the arrow keys. Positions and texts come from the server. */
const SVG = "http://www.w3.org/2000/svg";
const TIP_GAP = 14;
const data = new WeakMap();
const shown = new WeakMap();

const plotOf = (figure) => {
  if (!data.has(figure)) data.set(figure, JSON.parse(figure.dataset.chart));
  return data.get(figure);
};

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function text(tag, className, content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = content;
  return element;
}

function marks(plot, at) {
  const x = plot.xs[at];
  if (!plot.series[0].ys) {
    const slot = 100 / plot.xs.length;
    return [shape("rect", { class: "band", x: `${x - slot / 2}%`, width: `${slot}%`, y: 0, height: "100%" })];
  }
  const cursor = shape("line", { class: "cursor", x1: `${x}%`, x2: `${x}%`, y1: 0, y2: "100%" });
  const points = plot.series.map((series) =>
    shape("circle", { class: `point ${series.tone}`, cx: `${x}%`, cy: `${series.ys[at]}%`, r: 4 }),
  );
  return [cursor, ...points];
}

function readout(plot, at) {
  const rows = plot.series.toReversed().map((series) => {
    const row = text("div");
    const name = text("span");
    name.append(text("i", `swatch ${series.tone}`), series.name);
    row.append(name, text("span", "", series.texts[at]));
    return row;
  });
  return [text("b", "", plot.labels[at]), ...rows];
}

function show(figure, at) {
  const plot = plotOf(figure);
  const canvas = figure.querySelector(".canvas");
  const svg = canvas.querySelector("svg");
  let layer = svg.querySelector(":scope > .hover");
  if (!layer) svg.append((layer = shape("g", { class: "hover" })));
  layer.replaceChildren(...marks(plot, at));

  let tip = canvas.querySelector(".tip");
  if (!tip) {
    tip = text("div", "tip");
    tip.setAttribute("role", "status");
    canvas.append(tip);
  }
  tip.replaceChildren(...readout(plot, at));
  tip.hidden = false;
  const middle = (plot.xs[at] / 100) * canvas.clientWidth;
  const right = middle + TIP_GAP;
  const left = right + tip.offsetWidth > canvas.clientWidth ? middle - tip.offsetWidth - TIP_GAP : right;
  tip.style.transform = `translate(${Math.max(0, Math.min(canvas.clientWidth - tip.offsetWidth, left))}px, 4px)`;
  shown.set(figure, at);
}

function hide(figure) {
  figure.querySelector(".hover")?.remove();
  const tip = figure.querySelector(".tip");
  if (tip) tip.hidden = true;
  shown.delete(figure);
}

const figureOf = (event) => event.target.closest?.("[data-chart]");

document.addEventListener("pointermove", (event) => {
  const figure = figureOf(event);
  const canvas = figure?.querySelector(".canvas");
  if (!canvas?.contains(event.target)) return;
  const { xs } = plotOf(figure);
  const box = canvas.getBoundingClientRect();
  const under = ((event.clientX - box.left) / box.width) * 100;
  const nearest = xs.reduce((best, x, i) => (Math.abs(x - under) < Math.abs(xs[best] - under) ? i : best), 0);
  if (shown.get(figure) !== nearest) show(figure, nearest);
});

document.addEventListener("pointerout", (event) => {
  const figure = figureOf(event);
  if (figure && !figure.contains(event.relatedTarget)) hide(figure);
});

document.addEventListener("keydown", (event) => {
  const figure = event.target;
  if (!figure.matches?.("[data-chart]")) return;
  if (event.key === "Escape") return hide(figure);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const last = plotOf(figure).xs.length - 1;
  const from = shown.get(figure) ?? (step > 0 ? -1 : last + 1);
  show(figure, Math.max(0, Math.min(last, from + step)));
});
