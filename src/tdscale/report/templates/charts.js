// Figures one can ask: what `tdscale report` told about each is drawn again by Vega, panel by panel, in the page's own colours.
"use strict";

const light_only = (colour) => colour;
const of_page = (colour) => `var(--k${colour.slice(1)})`;
const chart_data = new Map();

/** A Vega specification of one panel. `paint`: how a colour is written; `off`: places of the legend that are switched off. */
function specification(panel, width, height, off, scales, paint) {
  const ink = paint === of_page ? "currentColor" : "#222222", faint = paint === of_page ? "var(--line)" : "#e4e4e4";
  const shown = panel.series.filter((one) => !one.of.some((place) => off.has(place)));
  const marks = [];
  for (const [index, one] of shown.entries()) {
    const rows = rows_of(one, panel, scales);
    if (rows.length) marks.push(...marks_of(one, `s${index}`, rows, paint));
  }
  const axis = (which, orient) => {
    const told = panel[which], own = told.ticks.length > 0 && scales[which] === (told.log ? "log" : "linear");
    const names = Object.fromEntries(told.ticks.map(([place, text]) => [place, text]));
    const ticks = which === "x" ? fewer(told.ticks, width < 380 ? 5 : 12) : told.ticks;
    return { orient, scale: which, title: told.label, grid: true, gridColor: faint, domainColor: ink, tickColor: ink, tickCount: 5,
      labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelOverlap: !told.turned, ...(told.bare ? { values: [], ticks: false } : {}), ...(told.ticks.length ? {} : { format: told.format ?? "~s" }),
      titleLimit: which === "y" ? height + 20 : width, ...(own ? { values: ticks.map(([place]) => place),
        encode: { labels: { update: { text: { signal: `${JSON.stringify(names)}[datum.value] || datum.label` } } } } } : {}) };
  };
  const scale = (which, range) => {
    const [low, high] = panel[which].ends, log = scales[which] === "log";
    return { name: which, type: log ? "log" : "linear", domain: [!log && low > 0 && panel[which].log ? 0 : low, high], range, zero: false, reverse: panel[which].turned ?? false,
      nice: false, clamp: false };
  };
  return {
    width, height, padding: 6, autosize: { type: "fit", contains: "padding" }, background: paint === of_page ? null : "white",
    title: panel.title ? { text: panel.title, anchor: "start", color: ink, fontSize: 13, fontWeight: "normal", limit: width } : undefined,
    config: { text: { font: "system-ui, sans-serif" }, style: { "guide-label": { font: "system-ui, sans-serif" },
      "guide-title": { font: "system-ui, sans-serif" }, "group-title": { font: "system-ui, sans-serif" } } },
    data: marks.filter((mark) => mark.rows).map((mark) => ({ name: mark.data, values: mark.rows })),
    scales: [scale("x", "width"), scale("y", "height")],
    axes: [axis("x", "bottom"), axis("y", "left")],
    marks: [{ type: "group", clip: true, encode: { enter: { width: { signal: "width" }, height: { signal: "height" } } },
      marks: marks.map((mark) => mark.mark) }],
  };
}

function fewer(ticks, most) {
  const every = Math.ceil(ticks.length / most);
  return ticks.filter((_, place) => place % every === 0);
}

/** The rows of a series that can be drawn. */
function rows_of(one, panel, scales) {
  const usable = (value, which) => value !== null && (scales[which] !== "log" || value > 0);
  const count = Math.max(...["x", "y", "low", "high"].map((name) => (one[name] || []).length));
  const rows = [];
  for (let at = 0; at < count; at++) {
    const row = {};
    for (const name of ["x", "y", "low", "high"]) if (one[name]) row[name] = one[name][at] ?? null;
    const needs = { line: ["x", "y"], points: ["x", "y"], text: ["x", "y"], band: ["x", "low", "high"], bars: ["x", "low", "high"] }[one.kind];
    const floor = scales.y === "log" ? panel.y.ends[0] / 10 : -Infinity;
    if (one.kind === "band" && row.low !== null) row.low = Math.max(row.low, floor);
    if (needs && !needs.every((name) => usable(row[name], name === "x" ? "x" : "y"))) continue;
    rows.push(row);
  }
  return rows;
}

function marks_of(one, data, rows, paint) {
  const x = { scale: "x", field: "x" }, y = { scale: "y", field: "y" }, colour = paint(one.colour);
  const stroke = { stroke: { value: colour }, strokeWidth: { value: Math.max(one.width || 1, 0.6) * 1.2 }, opacity: { value: one.opacity ?? 1 },
    ...(one.dash && one.dash.length ? { strokeDash: { value: one.dash.map((part) => part * 1.6) } } : {}) };
  const mark = (type, enter, from = { data }) => ({ data, rows, mark: { type, from, interactive: false, encode: { enter } } });
  const whole = { x: [{ value: 0 }, { signal: "width" }], y: [{ value: 0 }, { signal: "height" }] };
  switch (one.kind) {
    case "line":
      return [mark("line", { x, y, ...stroke, interpolate: { value: one.step ? "step-after" : "linear" } })];
    case "band":
      return [mark("area", { x, y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" }, fill: { value: colour },
        fillOpacity: { value: one.opacity } })];
    case "bars":
      return [mark("rule", { x, y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" }, ...stroke })];
    case "level-bars":
      return [mark("rule", { y, x: { scale: "x", field: "low" }, x2: { scale: "x", field: "high" }, ...stroke })];
    case "points":
      return [mark("symbol", { x, y, shape: { value: one.shape }, size: { value: Math.max(one.size ** 2 * 1.9, 16) },
        fill: { value: paint(one.face) }, stroke: { value: paint(one.edge) }, strokeWidth: { value: 1 }, opacity: { value: one.opacity } })];
    case "rule":
      return [mark("rule", one.x
        ? { x, y: whole.y[0], y2: whole.y[1], ...stroke } : { y, x: whole.x[0], x2: whole.x[1], ...stroke })];
    case "span": case "block": {
      const fill = { fill: { value: colour }, fillOpacity: { value: one.opacity } };
      const sides = (name, values) => (values ? { [name]: { scale: name, value: values[0] }, [`${name}2`]: { scale: name, value: values[1] } }
        : { [name]: whole[name][0], [`${name}2`]: whole[name][1] });
      return [{ data, rows: [{}], mark: { type: "rect", from: { data }, interactive: false,
        encode: { enter: { ...sides("x", one.x), ...sides("y", one.y), ...fill } } } }];
    }
    case "text":
      return [mark("text", { x: one.across ? { signal: `${one.x[0]} * width` } : x, y, text: { value: one.text }, fill: { value: colour },
        fontSize: { value: 11 }, align: { value: one.align }, dx: { value: one.across ? 0 : one.middle ? 2 : 6 }, dy: { value: one.middle ? 0 : -5 },
        baseline: { value: one.middle ? "middle" : "alphabetic" } })];
    default:
      return [];
  }
}

/** "300k [280k, 330k]": a value as it is read, with its interval. */
function with_interval(value, low, high) {
  const ends = low !== null && low !== undefined ? `, 80 % interval ${shortly(low)} to ${high === null ? "open" : shortly(high)}` : "";
  return `${shortly(value)}${ends}`;
}

/** What can be pointed at in a panel: places and words. */
function points_of(panel, legend, off, scales) {
  const found = [];
  for (const one of panel.series) {
    if (one.quiet || !["line", "points", "block"].includes(one.kind) || one.of.some((place) => off.has(place))) continue;
    if (one.kind === "line" && !one.low && panel.series.some((other) => other.kind === "points" && other.colour === one.colour)) continue;
    const names = one.of.map((place) => legend[place].text).join(", ");
    if (one.kind === "block") {
      found.push({ x: (one.x[0] + one.x[1]) / 2, y: one.y[1], text: [names, `${panel.y.label}: ${shortly(one.y[1])}`] });
      continue;
    }
    const every = one.kind === "line" ? Math.max(Math.floor(one.x.length / 60), 1) : 1;
    rows_of(one, panel, scales).forEach((row, at) => {
      if (at % every) return;
      found.push({ x: row.x, y: row.y, text: [names || (one.kind === "line" ? "law" : ""),
        `${panel.x.label}: ${shortly(row.x)}`, `${panel.y.label}: ${with_interval(row.y, row.low, row.high)}`].filter(Boolean) });
    });
  }
  return found;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function saved(name, type, content) {
  const link = element("a", { href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** One panel on the page: drawn anew when something is switched. */
class Panel {
  constructor(holder, told, legend, label) {
    this.told = told;
    this.legend = legend;
    this.scales = { x: told.x.log ? "log" : "linear", y: told.y.log ? "log" : "linear" };
    this.off = new Set();
    this.tip = element("div", { class: "tip", hidden: true });
    this.ring = element("div", { class: "ring", hidden: true });
    this.drawing = element("div", { class: "drawing", "aria-hidden": "true" });
    const words = `${label} Arrow keys go from point to point.`;
    this.said = element("div", { class: "unseen", "aria-live": "polite" });
    this.holder = element("div", { class: "panel", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-label": words },
      this.drawing, this.ring, this.tip);
    holder.append(this.holder, this.said);
    this.holder.addEventListener("pointermove", (event) => this.point(event));
    this.holder.addEventListener("pointerleave", () => this.hide());
    this.holder.addEventListener("blur", () => this.hide());
    this.holder.addEventListener("keydown", (event) => this.step(event));
  }

  /** As high as the figure in print, unless that is flat or taller than a screen; a row of names needs its room. */
  height(width) {
    const names = this.told.y.turned ? 17 * this.told.y.ticks.length + 60 : 0;
    return Math.round(Math.max(Math.min(Math.max(width * (this.told.shape ?? 0.62) * 0.9, 230), 380), names));
  }

  async draw() {
    const width = Math.max(Math.floor(this.holder.clientWidth), 240);
    this.drawn_width = width;
    const spec = specification(this.told, width, this.height(width), this.off, this.scales, of_page);
    const made = await vegaEmbed(this.drawing, spec, { mode: "vega", renderer: "svg", actions: false });
    this.drawing.querySelector("svg")?.setAttribute("focusable", "false");
    this.view?.finalize();
    this.view = made.view;
    this.holder.dataset.drawn = "yes";
    this.places = null;
  }

  /** Where points lie on the drawing, in pixels. */
  located() {
    if (this.places || !this.view) return this.places || [];
    const origin = this.view.origin(), padding = this.view.padding(), [x, y] = [this.view.scale("x"), this.view.scale("y")];
    this.places = points_of(this.told, this.legend, this.off, this.scales).map((one) => ({ ...one,
      left: x(one.x) + origin[0] + padding.left, top: y(one.y) + origin[1] + padding.top }))
      .filter((one) => one.left >= 0 && one.left <= this.drawn_width && one.top >= 0 && Number.isFinite(one.top + one.left));
    return this.places;
  }

  point(event) {
    const box = this.drawing.getBoundingClientRect(), [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = 32 ** 2;
    for (const one of this.located()) {
      const far = (one.left - left) ** 2 + (one.top - top) ** 2;
      if (far < least) [best, least] = [one, far];
    }
    if (best) this.show(best); else this.hide();
  }

  step(event) {
    const all = this.located();
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.hide();
    if (!by || !all.length) return;
    event.preventDefault();
    this.at = this.at === undefined ? (by > 0 ? 0 : all.length - 1) : (this.at + by + all.length) % all.length;
    this.show(all[this.at]);
    this.said.textContent = all[this.at].text.join(", ");
  }

  show(one) {
    this.tip.replaceChildren(...one.text.map((line) => element("div", {}, line)));
    this.tip.hidden = this.ring.hidden = false;
    Object.assign(this.ring.style, { left: `${one.left}px`, top: `${one.top}px` });
    const right = one.left > this.drawn_width / 2;
    Object.assign(this.tip.style, { top: `${one.top + 10}px`, left: right ? "auto" : `${one.left + 10}px`,
      right: right ? `${this.drawn_width - one.left + 10}px` : "auto" });
  }

  hide() { this.tip.hidden = this.ring.hidden = true; }

  /** The panel by light, for a file: SVG text or a PNG. */
  async picture(type) {
    const width = 720, spec = specification(this.told, width, this.height(width), this.off, this.scales, light_only);
    const made = await vegaEmbed(document.createElement("div"), spec, { mode: "vega", renderer: "svg", actions: false });
    const found = type === "svg" ? await made.view.toSVG() : await (await fetch(await made.view.toImageURL("png", 2))).blob();
    made.view.finalize();
    return found;
  }
}

/** A figure with its panels, its legend as buttons, its axes' scales and its files. */
class Chart {
  constructor(figure, told, caption) {
    this.figure = figure;
    this.told = told;
    this.name = figure.id.replace("figure-", "");
    const holder = figure.querySelector(".panels");
    holder.dataset.count = told.panels.length;
    this.panels = told.panels.map((panel) => new Panel(element("div", { class: "cell" }), panel, told.legend,
      [panel.title, `${panel.y.label} against ${panel.x.label}.`].filter(Boolean).join(": ")));
    for (const panel of this.panels) holder.append(panel.holder.parentElement);
    figure.querySelector(".controls").append(this.legend(), this.choices(caption));
  }

  legend() {
    const list = element("div", { class: "legend", role: "group", "aria-label": "Series; a button shows or hides one" });
    this.told.legend.forEach((entry, place) => {
      const content = [key_of(entry), entry.text];
      list.append(entry.toggles
        ? element("button", { type: "button", "aria-pressed": "true", onclick: (event) => this.toggle(event.currentTarget, place) }, ...content)
        : element("span", {}, ...content));
    });
    return list;
  }

  toggle(button, place) {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    for (const panel of this.panels) {
      if (on) panel.off.delete(place); else panel.off.add(place);
      panel.draw();
    }
  }

  choices(caption) {
    const row = element("div", { class: "choices" });
    for (const which of ["x", "y"]) {
      if (!this.told.panels.every((panel) => panel[which].log || (panel[which].ends[0] > 0 && !panel[which].bare && !panel[which].turned))) continue;
      const now = this.panels[0].scales[which];
      row.append(element("label", {}, `${which} axis `, element("select", { onchange: (event) => {
        for (const panel of this.panels) {
          panel.scales[which] = event.target.value;
          panel.draw();
        }
      } }, ...["log", "linear"].map((name) => element("option", { value: name, selected: name === now },
        name === "log" ? "logarithmic" : "linear")))));
    }
    for (const type of ["svg", "png", "csv"])
      row.append(element("button", { type: "button", "aria-label": `Download ${type.toUpperCase()}: ${caption}`, onclick: () => this.save(type) },
        type.toUpperCase()));
    return row;
  }

  async save(type) {
    if (type === "csv") return saved(`${this.name}.csv`, "text/csv", this.csv());
    for (const [place, panel] of this.panels.entries()) {
      const name = this.panels.length > 1 ? `${this.name}-${place + 1}` : this.name;
      saved(`${name}.${type}`, `image/${type === "svg" ? "svg+xml" : "png"}`, await panel.picture(type));
    }
    return undefined;
  }

  csv() {
    const rows = [["panel", "series", "kind", "x", "y", "low", "high", "x axis", "y axis"]];
    this.told.panels.forEach((panel, place) => {
      for (const one of panel.series) {
        if (one.kind === "text" || one.of.some((entry) => this.panels[place].off.has(entry))) continue;
        const names = one.of.map((entry) => this.told.legend[entry].text).join("; ");
        const count = Math.max(...["x", "y", "low", "high"].map((name) => (one[name] || []).length));
        for (let at = 0; at < count; at++)
          rows.push([panel.title || place + 1, names, one.kind, ...["x", "y", "low", "high"].map((name) => one[name]?.[at] ?? ""),
            panel.x.label, panel.y.label]);
      }
    });
    return rows.map((row) => row.map((cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell)).join(",")).join("\n");
  }

  draw() {
    if (this.started) return;
    this.started = true;
    for (const panel of this.panels) panel.draw();
  }

  redraw() {
    if (this.started) for (const panel of this.panels) if (Math.abs(panel.holder.clientWidth - panel.drawn_width) > 4) panel.draw();
  }
}

function key_of(entry) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const part = (tag, attributes, style) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.setAttribute("style", style);
    svg.append(made);
  };
  svg.setAttribute("viewBox", "0 0 26 12");
  svg.setAttribute("class", "key");
  svg.setAttribute("aria-hidden", "true");
  if (entry.dash !== null) part("path", { d: "M1,6H25", "stroke-dasharray": entry.dash.join(" ") }, `stroke:${of_page(entry.colour)};stroke-width:2`);
  const glyph = { circle: "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z", square: "M-.9,-.9H.9V.9H-.9Z", diamond: "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "triangle-up": "M0,-1L1,.8H-1Z", "triangle-down": "M0,1L1,-.8H-1Z", cross: "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z" };
  if (entry.shape) part("path", { d: glyph[entry.shape] || entry.shape, transform: "translate(13,6) scale(4)", "vector-effect": "non-scaling-stroke" },
    `fill:${of_page(entry.face)};stroke:${of_page(entry.edge)};stroke-width:1px`);
  return svg;
}

/** Draws the figures that come into view, and the others when there is time. */
function start_charts() {
  const all = JSON.parse(document.getElementById("charts-data").textContent), charts = [];
  for (const [name, told] of Object.entries(all)) {
    const figure = document.getElementById(`figure-${name}`);
    charts.push(new Chart(figure, told, figure.querySelector("figcaption").textContent));
    chart_data.set(name, charts[charts.length - 1]);
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) charts.find((one) => one.figure === entry.target)?.draw();
  }, { rootMargin: "400px" });
  for (const chart of charts) seen.observe(chart.figure);
  const idle = window.requestIdleCallback ?? ((next) => setTimeout(next, 200));
  const rest = () => {
    const next = charts.find((one) => !one.started);
    if (!next) return;
    next.draw();
    idle(rest);
  };
  idle(rest);
  addEventListener("beforeprint", () => charts.forEach((one) => one.draw()));
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => charts.forEach((one) => one.redraw()), 150);
  });
}
