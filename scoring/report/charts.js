"use strict";
// What the charts of report.html have in common: colours, labels, ticks, words.
const SETTINGS = { displayModeBar: false };
const MARGIN = { l: 60, r: 15, t: 12, b: 50 };
const LINE = 16; // pixels of height that a label takes
const PAPER = 700; // pixels of width while printing; CSS stretches that to the paper
const PHONE = 640; // pixels of width; below it, labels have less room
const PARTING = 3; // pixels between lines that would lie on one another
const state = { paper: false, ruler: null, drawn: 0 };

function look(name) {
  // A variable of the style sheet: on paper that for light screens, which stands first.
  if (!state.paper) return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rules = [...document.styleSheets[0].cssRules].filter((rule) => rule.selectorText === ":root");
  return rules.map((rule) => rule.style.getPropertyValue(name).trim()).find(Boolean);
}

function words(text) {
  // Plotly reads tags, entities and %{...} in labels; a name has none of them.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, " ")
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "%&#123;");
}

function extent(text) {
  state.ruler ??= document.createElement("canvas").getContext("2d");
  state.ruler.font = "12px system-ui, sans-serif";
  return state.ruler.measureText(text).width;
}

function fitted(text, width) {
  // Leave out the middle of a long name: its ends tell more.
  const letters = Array.from(text);
  if (extent(text) <= width) return text;
  for (let kept = letters.length - 1; kept > 2; kept -= 1) {
    const front = Math.ceil(kept / 2);
    const short = letters.slice(0, front).join("") + "…" + letters.slice(front - kept).join("");
    if (extent(short) <= width) return short;
  }
  return letters.slice(0, 2).join("") + "…";
}

function box(chart) {
  const element = document.getElementById(chart);
  if (!state.paper) return { width: element.clientWidth, height: element.clientHeight };
  return { width: PAPER, height: Math.min(480, Math.max(270, parseFloat(element.style.height || "0"))) };
}

function say(chart, text) {
  // A sentence where there is nothing to draw.
  const element = document.getElementById(chart);
  if (element.data) Plotly.purge(element);
  element.textContent = text;
  element.classList.add("empty");
}

function draw(chart, traces, { x, y, xaxis = {}, yaxis = {}, more = {}, right = MARGIN.r }) {
  const element = document.getElementById(chart);
  if (element.classList.contains("empty")) {
    element.textContent = "";
    element.classList.remove("empty");
  }
  const axis = {
    gridcolor: look("--grid"), linecolor: look("--grid"), zeroline: false, automargin: true,
    tickformat: ",", exponentformat: "none", fixedrange: true,
  };
  const size = box(chart);
  element.style.setProperty("--shape", size.width / size.height);
  return Plotly.react(element, traces, {
    font: { family: "system-ui, sans-serif", size: 13, color: look("--ink") },
    paper_bgcolor: look("--ground"), plot_bgcolor: look("--ground"),
    ...size, separators: ".,", showlegend: false, hovermode: "closest",
    margin: { ...MARGIN, r: right },
    hoverlabel: { bgcolor: look("--ground"), bordercolor: look("--faint"), font: { color: look("--ink") }, namelength: -1 },
    xaxis: { ...axis, title: { text: x }, ...xaxis },
    yaxis: { ...axis, title: { text: y }, ...yaxis },
    ...more,
  }, SETTINGS);
}

function apart(lines, unit) {
  // Where lines share points, draw them side by side: offsets, in units of `y`.
  const shared = (a, b) => {
    const known = new Map(a.x.map((x, place) => [x, a.y[place]]));
    const count = b.x.filter((x, place) => x !== null && b.y[place] !== null && known.get(x) === b.y[place]).length;
    const length = Math.min(a.x.length, b.x.length);
    return count >= Math.max(length > 2 ? 2 : 1, 0.1 * length);
  };
  const slots = [];
  lines.forEach((line, place) => {
    const taken = new Set(slots.filter((_, other) => shared(lines[other], line)));
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    slots[place] = slot;
  });
  return slots.map((slot) => (slot % 2 ? 1 : -1) * Math.ceil(slot / 2) * unit + 0);
}

function labels(chart, ends, range) {
  // Names at the right end of lines, each at its line but never on one another.
  const { width, height } = box(chart);
  const plot = height - MARGIN.t - MARGIN.b;
  if (!ends.length || ends.length * LINE > plot) return { right: MARGIN.r, annotations: [], at: [] };
  const most = (width < PHONE ? 0.27 : 0.25) * width - 22;
  const texts = ends.map((end) => fitted(end.name, most));
  const [low, high] = range;
  const unit = (high - low) / plot;
  const order = ends.map((_, place) => place).sort((a, b) => ends[b].y - ends[a].y || a - b);
  const at = ends.map((end) => Math.min(high, Math.max(low, end.y)));
  let edge = high + LINE * unit / 2;
  for (const place of order) edge = at[place] = Math.min(at[place], edge - LINE * unit);
  edge = low - LINE * unit / 2;
  for (const place of order.reverse()) edge = at[place] = Math.max(at[place], edge + LINE * unit);
  const annotations = ends.map((end, place) => ({
    xref: "paper", x: 1, xanchor: "left", xshift: 4, yref: "y", y: at[place], yanchor: "middle",
    text: `<span style="color:${end.colour}">●</span> ${words(texts[place])}`, align: "left",
    showarrow: false, font: { size: 12, color: look("--ink") }, hovertext: words(end.name), borderpad: 0,
  }));
  return { right: Math.ceil(Math.max(...texts.map(extent))) + 26, annotations, at };
}

function ticks(low, high, room) {
  // Round numbers on a logarithmic axis, as many as there is room for, none at its end.
  const end = high * (low / high) ** Math.min(0.2, 24 / room);
  const most = Math.max(2, Math.floor(room / 62));
  const between = (steps) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
      found.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(3))));
    }
    return found.filter((tick) => tick >= low && tick <= end);
  };
  const choices = [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]].map(between);
  const chosen = choices.find((found) => found.length <= most) ?? choices.at(-1).filter((_, place) => place % 2 === 0);
  if (chosen.length > 2 || high / low > 10) return chosen;
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * size >= rough) * size;
  const even = [];
  for (let tick = Math.ceil(low / step); tick * step <= end; tick += 1) even.push(Number((tick * step).toPrecision(6)));
  return even;
}

function brief(number) {
  return number >= 100 ? Math.round(number).toLocaleString("en") : String(Number(number.toPrecision(3)));
}
