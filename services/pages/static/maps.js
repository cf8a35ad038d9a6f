// The grid of images with their maps, and the one image that is shown large.

import { fit, load, paint, shares } from "./overlay.js";
import { refresh } from "./live.js";

const field = (name) => document.querySelector(`[data-control="${name}"]`);
const value = (name, otherwise) => (field(name) === null ? otherwise : Number(field(name).value));
const settings = () => ({ opacity: value("opacity", 0.8), threshold: value("threshold", 0) });

class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.photo = null;
    this.map = null;
    this.turn = 0;
  }

  async show() {
    const own = ++this.turn;
    const { photo, map, side } = this.canvas.dataset;
    const [picture, grey] = await Promise.all([load(photo).catch(() => null), load(map)]);
    if (own !== this.turn) return; // the sliders have moved on
    if (picture === null) fit(this.canvas, { naturalWidth: 400, naturalHeight: (400 * grey.naturalHeight) / grey.naturalWidth }, Number(side));
    else fit(this.canvas, picture, Number(side));
    this.photo = picture;
    this.map = shares(grey, this.canvas.width, this.canvas.height);
    this.paint();
    this.canvas.dataset.ready = map;
  }

  paint() {
    if (this.map !== null) paint(this.canvas, this.photo, this.map, settings());
  }

  at(x, y) {
    if (this.map === null) return null;
    const { width, height } = this.canvas;
    const column = Math.min(width - 1, Math.floor(x * width));
    return this.map.values[Math.min(height - 1, Math.floor(y * height)) * width + column];
  }
}

let viewers = [];

const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      viewers.find((one) => one.canvas === entry.target)?.show().catch(() => {});
    }
  },
  { rootMargin: "300px" },
);

function collect() {
  const known = new Map(viewers.map((one) => [one.canvas, one]));
  viewers = [...document.querySelectorAll("canvas[data-map]")].map((canvas) => known.get(canvas) ?? new Viewer(canvas));
  for (const one of viewers) if (one.map === null) near.observe(one.canvas);
}

collect();

function announce(name) {
  const control = field(name);
  const output = control?.parentElement.querySelector("output");
  if (output) output.textContent = control.dataset.words ? JSON.parse(control.dataset.words)[Number(control.value)] : Number(control.value).toFixed(2);
}

for (const name of ["opacity", "threshold"]) {
  field(name)?.addEventListener("input", () => {
    announce(name);
    for (const one of viewers) one.paint();
  });
}

// Versions and classes: the same image by another map, in all viewers or in the one that the slider belongs to.
for (const control of document.querySelectorAll("[data-versions]")) {
  const versions = JSON.parse(control.dataset.versions);
  control.addEventListener("input", () => {
    const words = JSON.parse(control.dataset.words);
    control.parentElement.querySelector("output").textContent = words[Number(control.value)];
    const one = viewers.find((viewer) => viewer.canvas.id === control.dataset.of);
    change(one, "version", versions[Number(control.value)]);
  });
}

const choice = field("class");
choice?.addEventListener("input", () => {
  const names = JSON.parse(choice.dataset.classes);
  choice.parentElement.querySelector("output").textContent = names[Number(choice.value)].name;
  for (const one of viewers) change(one, "class", names[Number(choice.value)].index);
});

function change(one, name, chosen) {
  const address = new URL(one.canvas.dataset.map, location.href);
  address.searchParams.set(name, chosen);
  one.canvas.dataset.map = address.pathname + address.search;
  one.show().catch(() => {});
}

// One cursor over all viewers, and what each map is there.
const cursor = document.getElementById("cursor");
if (cursor !== null) {
  const crosses = [...document.querySelectorAll("[data-cross]")];
  let [x, y] = [0.5, 0.5];
  const show = () => {
    for (const cross of crosses) {
      cross.hidden = false;
      cross.style.left = `${100 * x}%`;
      cross.style.top = `${100 * y}%`;
    }
    const values = viewers.map((one) => one.at(x, y));
    cursor.textContent = values.map((one) => (one === null ? "–" : one.toFixed(2))).join(" | ");
  };
  for (const one of viewers) {
    one.canvas.addEventListener("pointermove", (event) => {
      const box = one.canvas.getBoundingClientRect();
      x = Math.min(0.999, Math.max(0, (event.clientX - box.left) / box.width));
      y = Math.min(0.999, Math.max(0, (event.clientY - box.top) / box.height));
      show();
    });
    one.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      x = Math.min(0.999, Math.max(0, x + 0.02 * step[0]));
      y = Math.min(0.999, Math.max(0, y + 0.02 * step[1]));
      show();
    });
  }
}

// While images are ranked, the grid is loaded anew; a new canvas is drawn when it comes into view.
document.addEventListener("refreshed", () => {
  collect();
  again();
});

function again() {
  if (document.querySelector("[data-ranking]") !== null) setTimeout(() => refresh(), 1500);
}

again();
