"use strict";
// Draws the charts of report.html from the data that travels inside the page.
const BANDS = 4; // more bands than this hide one another
const STRIP = 0.07; // the part of the width that misses take
const shown = new Set();
const folded = [];
let data;

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function visible() {
  return data.submissions.filter((submission) => shown.has(submission.name))
    .map((submission) => ({ ...submission, colour: look(submission.variable) }));
}

function nothing(chart, hits) {
  // Say so where no line would tell anything; returns whether it did.
  if (!shown.size) say(chart, "No submission is shown.");
  else if (!hits) say(chart, "None of the submissions shown reached a target: there is nothing to draw.");
  return !shown.size || !hits;
}

function profiles() {
  const all = visible().map((submission) => {
    const points = data.profiles.filter((point) => point.submission === submission.name);
    return { ...submission, points, x: points.map((point) => point.tau), y: points.map((point) => point.share) };
  });
  if (nothing("profiles", all.some((line) => line.y.some((share) => share > 0)))) return;
  const range = [-0.06, 1.06];
  const pixel = (range[1] - range[0]) / (box("profiles").height - MARGIN.t - MARGIN.b);
  const shifts = apart(all, PARTING * pixel);
  const bands = all.flatMap(({ points, x, colour }) => {
    if (points[0].low === null || all.length > BANDS) return [];
    const band = { x, mode: "lines", hoverinfo: "skip", line: { shape: "hv", width: 0, color: colour } };
    return [
      { ...band, y: points.map((point) => point.low) },
      { ...band, y: points.map((point) => point.high), fill: "tonexty", fillcolor: colour + "2b" },
    ];
  });
  const lines = all.map(({ x, y, name, colour, dash }, place) => ({
    x, y: y.map((share) => share + shifts[place]), customdata: y, name, mode: "lines",
    line: { shape: "hv", color: colour, dash, width: 2.5 },
    hovertemplate: "%{customdata:.1%} of workloads within %{x:.2f}x<extra>" + words(name) + "</extra>",
  }));
  const ends = all.map(({ name, colour, y }, place) => ({ name, colour, y: y.at(-1) + shifts[place] }));
  const { right, annotations } = labels("profiles", ends, range);
  draw("profiles", [...bands, ...lines], {
    x: "ratio to the fastest", y: "share of workloads", right, more: { annotations },
    xaxis: { range: [1, data.rMax] },
    yaxis: { range, tickformat: ".0%", tickvals: [0, 0.2, 0.4, 0.6, 0.8, 1] },
  });
}

function timeTraces(rows, limits, names) {
  // For every submission its times with intervals, then its misses on an axis of their own.
  const several = visible();
  const height = 0.8 / several.length;
  const space = (height * (box("times").height - MARGIN.t - MARGIN.b)) / names.length; // pixels of a line
  const [bottom, top] = limits;
  return several.flatMap(({ name, colour }, place) => {
    const level = (row) => names.indexOf(row.workload) + (place + 0.5) * height - 0.4;
    const mine = rows.filter((row) => row.submission === name);
    const hits = mine.filter((row) => row.time !== null);
    const lost = mine.filter((row) => row.time === null);
    const open = hits.filter((row) => row.time_low !== null && row.time_high === null);
    const mark = { color: colour, size: Math.min(9, Math.max(4, 0.8 * space)) };
    const base = { name, type: "scatter", mode: "markers", hovertemplate: "%{text}<extra>" + words(name) + "</extra>" };
    return [{
      ...base, x: hits.map((row) => row.time), y: hits.map(level), marker: mark,
      text: hits.map((row) => row.workload + ": " + brief(row.time) + " " + data.unit),
      error_x: {
        array: hits.map((row) => (row.time_low === null ? 0 : (row.time_high ?? top) - row.time)),
        arrayminus: hits.map((row) => row.time - Math.max(bottom, row.time_low ?? row.time)),
        color: colour, thickness: 2, width: 3,
      },
    }, {
      ...base, x: open.map(() => top), y: open.map(level), hoverinfo: "skip", hovertemplate: null, cliponaxis: false,
      marker: { ...mark, symbol: "triangle-right" },
    }, {
      ...base, x: lost.map(() => 0.5), xaxis: "x2", y: lost.map(level), marker: { ...mark, symbol: "x" },
      text: lost.map((row) => row.workload + ": missed, " + words(row.reason)),
    }].filter((trace) => trace.x.length);
  });
}

function times() {
  const names = data.workloads.map((workload) => workload.name);
  const rows = data.times.filter((row) => shown.has(row.submission));
  const known = rows.flatMap((row) => [row.time_low, row.time, row.time_high]).filter((time) => time > 0);
  if (nothing("times", rows.some((row) => row.time !== null))) return;
  const limits = [Math.min(...known) / 1.25, Math.max(...known) * 1.25];
  const missed = rows.some((row) => row.time === null);
  const size = box("times");
  const strip = missed ? Math.max(STRIP, 52 / size.width) : 0;
  const rules = names.slice(1).map((_, place) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: place + 0.5, y1: place + 0.5, line: { color: look("--grid"), width: 1 },
  }));
  const ground = {
    type: "rect", xref: "paper", yref: "paper", x0: 1 - strip, x1: 1, y0: 0, y1: 1,
    fillcolor: look("--strip"), line: { width: 0 }, layer: "below",
  };
  draw("times", timeTraces(rows, limits, names), {
    x: "time to target (" + data.unit + ")", y: "",
    xaxis: {
      type: "log", range: limits.map(Math.log10), domain: [0, missed ? 1 - 1.5 * strip : 1],
      tickvals: ticks(...limits, (1 - 1.5 * strip) * size.width - (size.width < PHONE ? 110 : 180)),
    },
    yaxis: {
      tickvals: names.map((_, place) => place), range: [names.length - 0.5, -0.5], showgrid: false,
      ticktext: names.map((name) => workloadName(name, size.width)),
    },
    more: {
      shapes: missed ? [ground, ...rules] : rules,
      xaxis2: {
        domain: [1 - strip, 1], range: [0, 1], tickvals: [0.5], ticktext: ["missed"], showgrid: false,
        zeroline: false, fixedrange: true,
      },
    },
  });
}

function workloadName(name, width) {
  // On a phone a line ends at a joint of the name.
  if (width >= PHONE) return words(name);
  const lines = [""];
  for (const piece of name.match(/[^_]*_?/g).filter(Boolean)) {
    if (lines.at(-1) && (lines.at(-1) + piece).length > 15) lines.push("");
    lines.push(lines.pop() + piece);
  }
  return lines.map(words).join("<br>");
}

function curves() {
  const name = document.getElementById("workload").value;
  const axis = document.querySelector("input[name=axis]:checked").value;
  const workload = data.workloads.find((one) => one.name === name);
  const all = visible().map((submission) => {
    const found = data.curves[name] ?? {};
    const lines = Object.hasOwn(found, submission.name) ? found[submission.name] : []; // it may be "constructor"
    return { ...submission, others: lines.filter((line) => !line.best), best: lines.filter((line) => line.best) };
  });
  if (!all.some((one) => one.best.length)) {
    say("curves", shown.size ? "None of the submissions shown has an evaluation on " + name + "." : "No submission is shown.");
    return;
  }
  const faint = all.map((one) => strand({ ...one, dash: "solid" }, one.others, axis, { opacity: 0.22, width: 1 }));
  const strong = all.map((one) => strand(one, one.best, axis, { opacity: 0.95, width: 1.8 }));
  const range = span([...faint, ...strong], workload.target);
  const pixel = (range[1] - range[0]) / (box("curves").height - MARGIN.t - MARGIN.b);
  apart(strong, PARTING * pixel).forEach((shift, place) => {
    strong[place].y = strong[place].y.map((value) => (value === null ? null : value + shift));
  });
  const last = Math.max(...[...faint, ...strong].flatMap((trace) => trace.x).filter((x) => x !== null)) || 1;
  const points = strong.map(end).filter(Boolean);
  const { right, annotations, at } = labels("curves", points, range);
  const leaders = at.map((y, place) => ({
    type: "line", x0: points[place].x, y0: Math.min(range[1], Math.max(range[0], points[place].y)), x1: 1.02 * last, y1: y,
    line: { color: points[place].colour, width: 1, dash: "dot" }, opacity: 0.6, layer: "below",
  }));
  const target = {
    type: "line", xref: "paper", x0: 0, x1: 1, y0: workload.target, y1: workload.target,
    line: { color: look("--ink"), width: 1.5, dash: "dash" },
  };
  const label = { // on the side of the line that the curves come to last
    xref: "paper", x: 0, xanchor: "left", y: workload.target, xshift: 2,
    yanchor: workload.maximize ? "bottom" : "top",
    text: "target " + workload.target, showarrow: false, bgcolor: look("--veil"),
  };
  draw("curves", [...faint, ...strong], {
    x: axis === "steps" ? "step" : "submission time (s)",
    y: "validation " + words(workload.metric.replaceAll("_", " ")), right,
    xaxis: { range: [0, 1.02 * last] }, yaxis: { range },
    more: { shapes: [target, ...leaders], annotations: [label, ...annotations] },
  });
}

function strand({ name, colour, dash }, lines, axis, { opacity, width }) {
  // Several lines as one trace; a point without neighbours gets a dot of its own.
  const trace = { x: [], y: [], text: [] };
  for (const line of lines) {
    trace.x.push(...line[axis], null);
    trace.y.push(...line.values, null);
    trace.text.push(...line.values.map(() => words(line.label)), "");
  }
  const lonely = trace.y.map((y, place) => y !== null && (trace.y[place - 1] ?? null) === null && (trace.y[place + 1] ?? null) === null);
  return {
    ...trace, customdata: trace.y, name, opacity, mode: lonely.some(Boolean) ? "lines+markers" : "lines",
    marker: { color: colour, size: lonely.map((alone) => (alone ? 9 : 0)), line: { width: 0 } },
    line: { color: colour, dash, width },
    hovertemplate: "%{customdata:.5g} at %{x:,.0f}<br>%{text}<extra>" + words(name) + "</extra>",
  };
}

function end(trace) {
  // The last point of the line that goes furthest.
  let found = null;
  trace.x.forEach((x, place) => {
    if (x !== null && trace.y[place] !== null && (found === null || x >= found.x)) {
      found = { x, y: trace.y[place], name: trace.name, colour: trace.line.color };
    }
  });
  return found;
}

function span(traces, target) {
  // The first evaluations are often far off; show the middle 90 % and the target.
  const values = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  if (!values.length) return [target - 1, target + 1];
  values.sort((a, b) => a - b);
  const at = (share) => values[Math.floor(share * (values.length - 1))];
  const low = Math.min(at(values.length < 20 ? 0 : 0.05), target);
  const high = Math.max(at(values.length < 20 ? 1 : 0.95), target);
  const room = 0.09 * (high - low || Math.abs(target) || 1);
  return [low - room, high + room];
}

function tuning() {
  const all = visible().map((submission) => {
    const rows = data.tuning.filter((row) => row.submission === submission.name);
    return { ...submission, x: rows.map((row) => row.trials), y: rows.map((row) => row.score) };
  });
  const most = Math.max(...all.flatMap((line) => line.x));
  if (nothing("tuning", all.some((line) => line.y.some((score) => score > 0)))) return;
  if (most === 1) {
    say("tuning", "Every study has one trial: there is nothing to compare.");
    return;
  }
  const range = [-0.06, 1.06];
  const pixel = (range[1] - range[0]) / (box("tuning").height - MARGIN.t - MARGIN.b);
  const shifts = apart(all, PARTING * pixel);
  const traces = all.map(({ x, y, name, colour, dash }, place) => ({
    x, y: y.map((score) => score + shifts[place]), customdata: y, name, mode: "lines+markers",
    line: { color: colour, dash, width: 2.5 }, cliponaxis: false,
    hovertemplate: "%{x} trial(s): %{customdata:.3f}<extra>" + words(name) + "</extra>",
  }));
  const ends = all.map(({ name, colour, y }, place) => ({ name, colour, y: y.at(-1) + shifts[place] }));
  const { right, annotations } = labels("tuning", ends, range);
  draw("tuning", traces, {
    x: "tuning trials per study", y: "expected score", right, more: { annotations },
    xaxis: { dtick: Math.max(1, Math.ceil(most / 10)), range: [1 - 0.02 * most, 1.02 * most] },
    yaxis: { range, tickvals: [0, 0.2, 0.4, 0.6, 0.8, 1] },
  });
}
