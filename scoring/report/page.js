"use strict";
// What the page does: it draws, hides, prints, and follows the window and the theme.
const CHARTS = [profiles, times, curves, tuning];

function redraw() {
  state.drawn = document.getElementById("profiles").clientWidth;
  CHARTS.forEach((chart) => chart());
}

function toggle(input) {
  // Boxes and rows stand in the order of the data, whose names may hold anything.
  const boxes = [...document.querySelectorAll("#toggles input")];
  const { name } = data.submissions[boxes.indexOf(input)];
  if (input.checked) shown.add(name); else shown.delete(name);
  document.querySelectorAll(".heat tr[data-submission]").forEach((row, place) => {
    row.classList.toggle("off", !boxes[place].checked);
  });
}

function makeRoom() {
  // One line for every time to target.
  const lines = data.workloads.length * data.submissions.length;
  const height = Math.min(1200, 80 + Math.max(40 * data.workloads.length, 11 * lines));
  document.getElementById("times").style.height = height + "px";
}

function toPaper() {
  state.paper = true;
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.open = true;
    folded.push(part);
  }
  redraw();
  for (const picture of document.querySelectorAll(".chart .main-svg")) {
    picture.setAttribute("viewBox", `0 0 ${picture.getAttribute("width")} ${picture.getAttribute("height")}`);
  }
}

function fromPaper() {
  state.paper = false;
  for (const picture of document.querySelectorAll(".chart .main-svg")) picture.removeAttribute("viewBox");
  for (const part of folded.splice(0)) part.open = false;
  redraw(); // and again when the page has the width of the window
}

function listen() {
  for (const input of document.querySelectorAll("#toggles input")) {
    input.addEventListener("change", () => {
      toggle(input);
      redraw();
    });
  }
  for (const control of document.querySelectorAll("#workload, input[name=axis]")) {
    control.addEventListener("change", curves);
  }
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const chart = document.getElementById("profiles");
  let waiting;
  state.drawn = chart.clientWidth;
  new ResizeObserver(() => {
    if (chart.clientWidth === state.drawn || state.paper) return; // heights are our own
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 50);
  }).observe(chart);
}

function darken() {
  // A browser that turns light pages dark by itself gets the theme made for that, which
  // it leaves alone. It shows in the colour of a light canvas.
  const probe = document.createElement("div");
  probe.style.cssText = "display: none; color-scheme: light; background-color: canvas";
  document.body.append(probe);
  const forced = getComputedStyle(probe).backgroundColor !== "rgb(255, 255, 255)";
  probe.remove();
  if (!forced) return;
  for (const rule of document.styleSheets[0].cssRules) {
    if (rule.media?.mediaText.includes("prefers-color-scheme: dark")) rule.media.mediaText = "screen";
  }
}

async function start() {
  darken();
  data = JSON.parse(await unpack("data"));
  document.querySelectorAll("#toggles input").forEach(toggle);
  makeRoom();
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
  listen();
  for (const chart of CHARTS) {
    chart();
    await new Promise((done) => setTimeout(done)); // let the page answer in between
  }
  document.body.dataset.ready = Math.round(performance.now());
}

start();
