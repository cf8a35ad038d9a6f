// The curves of a run and of others laid over them, and the slider over the epochs of its previews.

import { lineChart } from "./charts.js";
import "./live.js";

const box = document.getElementById("curves");

function order(name) {
  if (/loss/.test(name)) return 1;
  return name.startsWith("store/") ? 2 : 0;
}

async function draw() {
  const runs = JSON.parse(box.dataset.runs);
  const answers = await Promise.all(
    runs.map(async (run) => {
      const answer = await fetch(`/view/runs/${encodeURIComponent(run)}/curves`);
      return answer.ok ? answer.json() : { run, series: {} };
    }),
  );
  const names = [...new Set(answers.flatMap((one) => Object.keys(one.series)))];
  names.sort((a, b) => order(a) - order(b) || a.localeCompare(b));
  if (names.length === 0) return box.replaceChildren(paragraph("No epoch has ended yet."));
  if (box.querySelector(".chart") === null) box.replaceChildren();
  legend(answers.map((one) => one.run));
  for (const name of names) {
    let chart = [...box.children].find((one) => one.dataset.name === name);
    if (chart === undefined) {
      chart = document.createElement("div");
      chart.dataset.name = name;
      chart.className = "chart";
      box.append(chart);
    }
    const lines = answers.map((one) => ({ name: one.run, points: one.series[name] ?? [] }));
    if (!chart.contains(document.activeElement)) lineChart(chart, name, lines);
  }
}

function paragraph(text) {
  const one = document.createElement("p");
  one.className = "note";
  one.textContent = text;
  return one;
}

function legend(runs) {
  let list = document.getElementById("legend");
  if (runs.length < 2) return list?.remove();
  if (list === null) {
    list = document.createElement("ul");
    list.id = "legend";
    list.className = "legend";
    box.before(list);
  }
  list.replaceChildren(
    ...runs.map((run, number) => {
      const item = document.createElement("li");
      item.textContent = run;
      item.className = `series${number % 8}`;
      return item;
    }),
  );
}

if (box !== null) {
  const drawn = () => draw().catch((error) => box.replaceChildren(paragraph(`no curves: ${error.message}`)));
  drawn();
  document.addEventListener("refreshed", drawn);
  let timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(drawn, 200);
  });
}

function bindSlider() {
  const slider = document.getElementById("epoch");
  if (slider === null || slider.dataset.bound === "yes") return;
  slider.dataset.bound = "yes";
  const section = document.getElementById("previews");
  slider.addEventListener("input", () => {
    const epoch = JSON.parse(section.dataset.epochs)[Number(slider.value)];
    slider.nextElementSibling.textContent = epoch;
    for (const figure of section.querySelectorAll("[data-preview]")) {
      figure.querySelector("img").src = `${figure.dataset.preview}${String(epoch).padStart(4, "0")}.png`;
    }
  });
}

// Epochs that have come to be are added to the slider; who looks at the newest goes on to the next.
function extend(page) {
  const [shown, fresh] = [document, page].map((one) => one.getElementById("previews"));
  if (shown === null || fresh === null || shown.dataset.epochs === fresh.dataset.epochs) return;
  const slider = shown.querySelector("#epoch");
  const newest = slider.value === slider.max;
  shown.dataset.epochs = fresh.dataset.epochs;
  slider.max = JSON.parse(fresh.dataset.epochs).length - 1;
  slider.disabled = slider.max === "0";
  if (!newest) return;
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
}

bindSlider();
document.addEventListener("refreshed", (event) => {
  bindSlider();
  extend(event.detail);
});
