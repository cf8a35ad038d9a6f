// Small charts as SVG. They set no inline style and evaluate no text, so that the strict policy for content holds.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 178;
const EDGE = { left: 46, right: 10, top: 24, bottom: 22 };

export function element(name, attributes = {}, ...inner) {
  const one = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(...inner);
  return one;
}

// Round numbers that cover a range, about `count` of them.
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, place) => (first + place) * step);
}

export function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1).replace("e+", "e") : String(Number(value.toPrecision(4)));
}

function widened([low, high]) {
  if (low < high) return [low - (high - low) * 0.05, high + (high - low) * 0.05];
  const half = Math.abs(low) * 0.1 || 1;
  return [low - half, high + half];
}

// Lines over whole numbers, such as epochs. Each line: { name, points: [[x, y], ...] }; its number chooses its colour.
export function lineChart(box, title, lines) {
  const width = Math.max(180, box.clientWidth);
  const points = lines.flatMap((line) => line.points);
  const xs = [...new Set(points.map((point) => point[0]))].sort((a, b) => a - b);
  const [low, high] = widened([Math.min(...points.map((one) => one[1])), Math.max(...points.map((one) => one[1]))]);
  const [first, last] = [xs[0], xs.at(-1)];
  const x = (value) =>
    EDGE.left + (first === last ? 0.5 : (value - first) / (last - first)) * (width - EDGE.left - EDGE.right);
  const y = (value) => EDGE.top + (1 - (value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const words = lines.map((line) => `${line.name} ${line.points.length ? number(line.points.at(-1)[1]) : "none"}`);
  const svg = element("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", tabindex: 0,
    "aria-label": `${title}, last values: ${words.join(", ")}`,
  });
  svg.append(element("text", { x: 2, y: 12, class: "title" }, title));
  const whole = first === last ? [first] : ticks(first, last, 5).filter(Number.isInteger);
  for (const value of whole) svg.append(element("text", { x: x(value), y: HEIGHT - 6, class: "tick middle" }, String(value)));
  for (const value of ticks(low, high, 4)) {
    svg.append(element("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(element("text", { x: EDGE.left - 6, y: y(value) + 3.5, class: "tick end" }, number(value)));
  }
  lines.forEach((line, place) => {
    const at = line.points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`);
    svg.append(element("polyline", { points: at.join(" "), class: `line series${place % 8}` }));
    if (at.length > 40) return;
    for (const point of line.points) {
      svg.append(element("circle", { cx: x(point[0]), cy: y(point[1]), r: 2.2, class: `mark series${place % 8}` }));
    }
  });
  follow(svg, box, { xs, x, lines });
  box.querySelector("svg")?.remove();
  box.prepend(svg);
}

// A line at the epoch under the pointer, or chosen with the arrow keys, and the values there.
function follow(svg, box, { xs, x, lines }) {
  const rule = element("line", { y1: EDGE.top, y2: HEIGHT - EDGE.bottom, class: "rule", visibility: "hidden" });
  svg.append(rule);
  let note = box.querySelector("output");
  if (note === null) {
    note = document.createElement("output");
    box.append(note);
  }
  note.replaceChildren();
  let place = xs.length - 1;
  const show = () => {
    const values = lines.map((line) => [line.name, line.points.find((point) => point[0] === xs[place])?.[1]]);
    const known = values.filter(([, value]) => value !== undefined);
    const shown = known.map(([name, value]) => (lines.length > 1 ? `${name} ${number(value)}` : number(value)));
    note.textContent = `${xs[place]}: ${shown.join("  ")}`;
    rule.setAttribute("x1", x(xs[place]));
    rule.setAttribute("x2", x(xs[place]));
    rule.setAttribute("visibility", "visible");
  };
  const hide = () => {
    rule.setAttribute("visibility", "hidden");
    note.replaceChildren();
  };
  svg.addEventListener("pointermove", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    place = xs.reduce((best, one, index) => (Math.abs(x(one) - at) < Math.abs(x(xs[best]) - at) ? index : best), 0);
    show();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focus", show);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    place = Math.min(xs.length - 1, Math.max(0, place + step));
    event.preventDefault();
    show();
  });
}
