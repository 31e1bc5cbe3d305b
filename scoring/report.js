"use strict";
// Draws the charts of report.html from the data that travels inside the page.
const FONT = { family: "system-ui, sans-serif", size: 13, color: "#1c2126" };
const SETTINGS = { displayModeBar: false, responsive: true };
const BANDS = 4; // more bands than this hide one another
const PAPER = 680; // pixels of width on A4; report.css says the same
const PHONE = 640; // pixels of width; below it, labels have less room
const shown = new Set();
let data;

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Plotly reads tags, entities and %{...} in labels; a name is none of these.
function asText(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "%&#123;");
}

function layout(x, y, extra = {}) {
  const axis = { gridcolor: "#e8ecf0", zeroline: false, automargin: true };
  return {
    font: FONT, showlegend: false, hovermode: "closest",
    margin: { l: 60, r: 15, t: 10, b: 50 },
    xaxis: { ...axis, title: { text: x }, ...extra.x },
    yaxis: { ...axis, title: { text: y }, ...extra.y },
    ...extra.all,
  };
}

function visible() {
  return data.submissions.filter((submission) => shown.has(submission.name));
}

function profiles() {
  const traces = [];
  for (const { name, colour } of visible()) {
    const points = data.profiles.filter((point) => point.submission === name);
    const tau = points.map((point) => point.tau);
    const steps = { shape: "hv", color: colour };
    const band = { x: tau, mode: "lines", hoverinfo: "skip", line: { ...steps, width: 0 } };
    if (points[0].low !== null && shown.size <= BANDS) {
      traces.push({ ...band, y: points.map((point) => point.low) });
      traces.push({
        ...band, y: points.map((point) => point.high),
        fill: "tonexty", fillcolor: colour + "22",
      });
    }
    traces.push({
      x: tau, y: points.map((point) => point.share), name, mode: "lines",
      line: { ...steps, width: 2.5 },
      hovertemplate: "%{y:.1%} of workloads within %{x:.2f}x<extra>" + asText(name) + "</extra>",
    });
  }
  const range = { x: { range: [1, data.rMax] }, y: { range: [-0.02, 1.02], tickformat: ".0%" } };
  Plotly.react("profiles", traces, layout("ratio to the fastest", "share of workloads", range), SETTINGS);
}

function times() {
  const names = data.workloads.map((workload) => workload.name);
  const rows = data.times.filter((row) => shown.has(row.submission));
  const ends = rows.flatMap((row) => [row.time_low, row.time, row.time_high]);
  const known = ends.filter((time) => time > 0);
  const top = known.length ? 1.8 * Math.max(...known) : 10;
  const bottom = 0.7 * Math.min(top / 10, ...known);
  const height = 0.8 / Math.max(1, visible().length);
  const traces = visible().map(({ name, colour }, place) => {
    const mine = rows.filter((row) => row.submission === name);
    const up = (row) => (row.time_low === null ? 0 : (row.time_high ?? 9 * top) - row.time);
    return {
      y: mine.map((row) => names.indexOf(row.workload) + (place + 0.5) * height - 0.4),
      x: mine.map((row) => row.time ?? 0.85 * top), name, type: "scatter", mode: "markers",
      text: mine.map((row) => (row.time === null ? asText(row.workload + ": miss, " + row.reason)
        : asText(row.workload) + ": " + brief(row.time) + " " + data.unit)),
      marker: { color: colour, size: 9, symbol: mine.map((row) => (row.time === null ? "x-thin-open" : "circle")) },
      error_x: {
        array: mine.map((row) => (row.time === null ? 0 : up(row))),
        arrayminus: mine.map((row) => (row.time === null ? 0 : row.time - (row.time_low ?? row.time))),
        color: colour, thickness: 2, width: 3,
      },
      hovertemplate: "%{text}<extra>" + asText(name) + "</extra>",
    };
  });
  const axes = {
    x: { type: "log", range: [Math.log10(bottom), Math.log10(top)], tickvals: decades(bottom, top), tickformat: ",", showgrid: true },
    y: {
      tickvals: names.map((_, place) => place), range: [names.length - 0.5, -0.5], showgrid: false,
      ticktext: innerWidth < PHONE ? names.map((name) => asText(name).replace("_", "<br>")) : names.map(asText),
    },
  };
  const lines = names.slice(1).map((_, place) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: place + 0.5, y1: place + 0.5, line: { color: "#d9dee4", width: 1 },
  }));
  Plotly.react("times", traces, layout("time to target (" + data.unit + ")", "", { ...axes, all: { shapes: lines } }), SETTINGS);
}

function brief(time) {
  return time >= 100 ? Math.round(time).toLocaleString("en") : time.toPrecision(3);
}

function decades(low, high) {
  const ticks = [];
  const steps = high / low > 2000 || innerWidth < PHONE ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    ticks.push(...steps.map((step) => step * 10 ** power));
  }
  return ticks;
}

function curves() {
  const name = document.getElementById("workload").value;
  const axis = document.querySelector("input[name=axis]:checked").value;
  const workload = data.workloads.find((one) => one.name === name);
  const strands = [[false, 0.2, 1], [true, 0.9, 1.8]]; // the others, then the best
  const traces = strands.flatMap(([best, opacity, width]) => visible().map((submission) => {
    const trace = { x: [], y: [], text: [] };
    for (const line of linesOf(name, submission.name)) {
      if (line.best !== best) continue;
      trace.x.push(...line[axis], null);
      trace.y.push(...line.values, null);
      trace.text.push(...line.values.map(() => asText(line.label)), "");
    }
    return {
      ...trace, name: submission.name, mode: "lines", opacity,
      line: { color: submission.colour, width },
      hovertemplate: "%{y:.5g} at %{x:,.0f}<br>%{text}<extra>" + asText(submission.name) + "</extra>",
    };
  }));
  const target = {
    type: "line", xref: "paper", x0: 0, x1: 1, y0: workload.target, y1: workload.target,
    line: { color: "#111", width: 1.5, dash: "dash" },
  };
  const label = { // on the side of the line that the curves come to last
    xref: "paper", x: 0, xanchor: "left", y: workload.target,
    yanchor: workload.maximize ? "bottom" : "top",
    text: "target " + workload.target, showarrow: false, bgcolor: "#ffffffcc",
  };
  Plotly.react("curves", traces, layout(axis === "steps" ? "step" : "submission time (s)",
    "validation " + asText(workload.metric.replaceAll("_", " ")),
    { y: { range: span(traces, workload.target) }, all: { shapes: [target], annotations: [label] } }), SETTINGS);
}

function linesOf(workload, submission) {
  const found = data.curves[workload] ?? {};
  return Object.hasOwn(found, submission) ? found[submission] : []; // a name may be "constructor"
}

function span(traces, target) {
  // The first evaluations are often far off; show the middle 90 % and the target.
  const values = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  if (!values.length) return [target - 1, target + 1];
  values.sort((a, b) => a - b);
  const at = (share) => values[Math.floor(share * (values.length - 1))];
  const low = Math.min(at(0.05), target);
  const high = Math.max(at(0.95), target);
  const room = 0.09 * (high - low || 1);
  return [low - room, high + room];
}

function tuning() {
  const traces = visible().map(({ name, colour }) => {
    const rows = data.tuning.filter((row) => row.submission === name);
    return {
      x: rows.map((row) => row.trials), y: rows.map((row) => row.score), name,
      mode: "lines+markers", line: { color: colour, width: 2.5 },
      hovertemplate: "%{x} trial(s): %{y:.3f}<extra>" + asText(name) + "</extra>",
    };
  });
  const axes = { x: { dtick: 1 }, y: { range: [0, 1] } };
  Plotly.react("tuning", traces, layout("tuning trials per study", "expected score", axes), SETTINGS);
}

const CHARTS = [profiles, times, curves, tuning];

function toggle(box) {
  const name = box.dataset.submission;
  if (box.checked) shown.add(name); else shown.delete(name);
  for (const row of document.querySelectorAll(".heat tr[data-submission]")) {
    row.classList.toggle("off", !shown.has(row.dataset.submission));
  }
}

function size(width) {
  // Paper has its own width; null gives the chart back to the window.
  for (const chart of document.querySelectorAll(".chart")) {
    Plotly.relayout(chart, { width, autosize: width === null });
  }
}

function makeRoom() {
  // One line for every time to target.
  const lines = data.workloads.length * data.submissions.length;
  const height = Math.min(900, 110 + Math.max(34 * data.workloads.length, 9 * lines));
  document.getElementById("times").style.height = height + "px";
}

function listen() {
  for (const box of document.querySelectorAll("#toggles input")) {
    box.addEventListener("change", () => {
      toggle(box);
      CHARTS.forEach((draw) => draw());
    });
  }
  for (const control of document.querySelectorAll("#workload, input[name=axis]")) {
    control.addEventListener("change", curves);
  }
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    size(PAPER);
  });
  addEventListener("afterprint", () => size(null));
}

async function start() {
  data = JSON.parse(await unpack("data"));
  document.querySelectorAll("#toggles input").forEach(toggle);
  makeRoom();
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
  listen();
  for (const draw of CHARTS) {
    draw();
    await new Promise((done) => setTimeout(done)); // let the page answer in between
  }
  document.body.dataset.ready = Math.round(performance.now());
}

start();
