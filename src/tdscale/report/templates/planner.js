// The planner: reads the form, looks the answer up, shows it in words, numbers and on the frontier, and copies it out.
"use strict";

class Planner {
  constructor(root, tables) {
    this.root = root;
    this.tables = tables;
    this.lookup = new Lookup(tables);
    this.format = "command";
    this.field = (name) => root.querySelector(`[name="${name}"]`);
    root.querySelector("form").addEventListener("input", (event) => this.changed(event));
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    for (const button of root.querySelectorAll("[data-format]")) button.addEventListener("click", () => this.choose(button));
    root.querySelector(".copy").addEventListener("click", () => this.copy());
  }

  async start() {
    await this.lookup.prepare(0);
    this.suggest();
    await this.update();
    this.root.dataset.ready = "yes";
  }

  get problem() {
    const kind = this.root.querySelector('[name="kind"]:checked').value;
    const [problem, unit] = kind.split(":");
    return { problem, unit: unit || this.tables.units[0]?.key || "flops" };
  }

  get task() { return Number(this.field("task").value); }

  question() {
    const { problem, unit } = this.problem, known = this.tables.units.find((one) => one.key === unit);
    const cost = problem === "budget" ? typed(this.field("cost").value) : known?.cost ?? NaN;
    return { task: this.task, problem, unit, limit: typed(this.field("limit").value), sure: Number(this.field("sure").value) / 100,
      threshold: Number(this.field("threshold").value), cost, size: this.field("size")?.value ? Number(this.field("size").value) : null };
  }

  /** A limit that asks for something: what the middle of the ratios takes at this return. */
  suggest() {
    const { problem, unit } = this.problem, options = this.lookup.options(0, this.task, Number(this.field("threshold").value));
    if (!options) return;
    const at = options.places[Math.floor(options.places.length / 2)], cost = typed(this.field("cost")?.value ?? "");
    const value = this.lookup.side({ problem, unit, cost }, options, at, options.data[0][at] * 1.25, false);
    if (Number.isFinite(value) && value > 0) this.field("limit").value = shortly(Number(value.toPrecision(2)));
    // the slider spans what the ratios take, from the easiest return to the hardest
    const ends = [];
    for (const level of this.tables.levels) {
      const found = this.lookup.options(0, this.task, level);
      if (found) for (const one of found.places) ends.push(this.lookup.side({ problem, unit, cost }, found, one, found.data[0][one], false));
    }
    const known = ends.filter((one) => one > 0 && Number.isFinite(one));
    const slider = this.field("slider");
    [slider.min, slider.max] = [Math.log10(Math.min(...known) / 1.5), Math.log10(Math.max(...known) * 1.5)];
    slider.value = Math.log10(typed(this.field("limit").value));
  }

  async changed(event) {
    const name = event.target.name;
    if (name === "slider") this.field("limit").value = shortly(10 ** Number(event.target.value));
    if (name === "limit") this.field("slider").value = Math.log10(typed(event.target.value));
    if (name === "task" || name === "kind" || name === "cost") {
      await this.lookup.prepare(this.task);
      if (name !== "cost") this.price();
      this.suggest();
    }
    await this.update();
  }

  /** The price of an env step that the study has, in the unit that is asked for. */
  price() {
    const { problem, unit } = this.problem, known = this.tables.units.find((one) => one.key === unit);
    if (problem !== "budget" || !known) return;
    const task = this.tables.tasks[this.task].name, of_task = known.cost_by_task;
    const own = of_task && task !== null ? of_task[this.tables.tasks.filter((one) => one.name !== null).findIndex((one) => one.name === task)] : null;
    const cost = own ?? known.cost;
    if (cost !== null) this.field("cost").value = shortly(cost);
  }

  unit_name(unit) { return this.tables.units.find((one) => one.key === unit)?.name ?? ""; }

  with_raw(threshold) {
    const scale = this.tables.tasks[this.task].scale;
    const raw = scale ? ` (raw ${Number((scale[0] + (threshold / 1000) * (scale[1] - scale[0])).toPrecision(4))})` : "";
    return `${Number(threshold.toPrecision(4))}${raw}`;
  }

  async update() {
    const question = this.question(), budget = question.problem === "budget";
    const show = (name, shown) => { for (const one of this.root.querySelectorAll(`[data-part="${name}"]`)) one.hidden = !shown; };
    show("threshold", !budget);
    show("cost", budget);
    const unit = question.problem === "data" ? "env steps" : this.unit_name(question.unit);
    this.root.querySelector(".limit-unit").textContent = unit;
    for (const one of this.root.querySelectorAll(".cost-unit")) one.textContent = unit;
    this.root.querySelector(".threshold-value").textContent = this.with_raw(question.threshold);
    this.root.querySelector(".sure-value").textContent = `${Math.round(100 * question.sure)} %`;
    this.field("slider").setAttribute("aria-valuetext", `${this.field("limit").value} ${unit}`);
    this.field("threshold").setAttribute("aria-valuetext", `return ${this.with_raw(question.threshold)}`);
    const wrong = !(question.limit > 0) ? `“${this.field("limit").value}” is not a limit; type a number above 0, such as 300k or 1.5e14`
      : budget && !(question.cost > 0) ? "the price of an env step must be a number above 0, such as 4e9" : "";
    this.field("limit").setAttribute("aria-invalid", String(!(question.limit > 0)));
    this.answer = wrong ? null : this.lookup.plan(question);
    this.asked = question;
    this.root.querySelector("output").replaceChildren(...(wrong ? [element("p", { class: "refusal" }, wrong)] : this.words()));
    this.facts();
    this.others();
    this.notes();
    this.copied();
    await this.frontier();
  }

  between([, low, high], say = shortly) {
    return Number.isNaN(low) ? "" : ` (80 % interval ${say(low)} to ${Number.isFinite(high) ? say(high) : "open"})`;
  }

  ratio(utd) {
    const inverse = 1 / utd;
    return utd < 1 && Math.abs(inverse - Math.round(inverse)) < 1e-6 * inverse ? `1/${Math.round(inverse)}` : String(Number(utd.toPrecision(3)));
  }

  words() {
    const { answer, asked } = this, unit = asked.problem === "data" ? "env steps" : this.unit_name(asked.unit);
    if (answer.refused) return [element("p", { class: "refusal" }, "The runs do not tell how much data this return takes, so there is no answer. "
      + "Ask for a lower return or another task.")];
    if (!answer.feasible && Number.isNaN(answer.least)) return [element("p", { class: "refusal" },
      "Compute is not known for this task: the runs do not tell its best batch size. Ask with a limit on data.")];
    if (!answer.feasible) {
      const least = `Return ${this.with_raw(answer.threshold)} takes at least ${shortly(answer.least)} ${unit} by the estimate (UTD ratio ${answer.least_name}).`;
      const best = answer.best_chance > 0 ? ` The best chance to be had is ${this.percent(answer.best_chance)}, at UTD ratio ${answer.best_name}.` : "";
      return [element("p", { class: "refusal" }, `No UTD ratio meets ${shortly(asked.limit)} ${unit} with a chance of ${Math.round(100 * asked.sure)} %. ${least}${best}`)];
    }
    const settings = [answer.size ? `network ${answer.size}` : "", `UTD ratio ${answer.name}`, answer.batch ? `batch size ${answer.batch}` : "",
      answer.learning_rate ? `learning rate ${shortly(answer.learning_rate[0])}` : ""].filter(Boolean).join(", ");
    const needs = `${shortly(answer.data[0])} env steps${this.between(answer.data)}`;
    const met = Number.isNaN(answer.chance) ? "" : ` The limit is met with a chance of ${this.percent(answer.chance)}.`;
    return [element("p", { class: "headline" }, element("strong", {}, `${settings}: `), `return ${this.with_raw(answer.threshold)} in ${needs}.${met}`)];
  }

  percent(share) { return share >= 0.995 && share < 1 ? "more than 99 %" : share > 0 && share < 0.005 ? "less than 1 %" : `${Math.round(100 * share)} %`; }

  facts() {
    const list = this.root.querySelector(".answer-facts"), { answer, asked } = this;
    list.replaceChildren();
    if (!answer?.feasible) return;
    const unit = this.unit_name(asked.unit), described = this.tables.units.find((one) => one.key === asked.unit)?.described;
    const remark = (which) => this.tables.sizes[answer.place].tasks[asked.task][which]?.remark;
    const tolerated = (ends) => (ends ? `; ${shortly(ends[0])} to ${shortly(ends[1])} cost at most ${100 * this.tables.more_data} % more data` : "");
    const rows = [
      ["UTD ratio σ", `${answer.name} (best ratio: 80 % interval ${this.ratio(answer.utd_range[1])} to ${this.ratio(answer.utd_range[2])})`],
      answer.batch && ["batch size B", `${answer.batch} (law: ${this.plain(answer.batch_size)}${tolerated(answer.batch_tolerated)})`, remark("batch_size")],
      answer.learning_rate && ["learning rate η", `${this.plain(answer.learning_rate)}${tolerated(answer.learning_rate_tolerated)}`, remark("learning_rate")],
      answer.size && ["network", `${answer.size}, N = ${shortly(answer.parameters)} parameters`],
      ["data D", `${this.plain(answer.data)} env steps`],
      !Number.isNaN(answer.compute[0]) && ["compute C", `${this.plain(answer.compute)} ${described ?? unit}`],
      !Number.isNaN(answer.budget[0]) && ["total budget F", `${this.plain(answer.budget)} ${unit}, an env step at ${shortly(asked.cost)}`],
      ["chance to meet the limit", Number.isNaN(answer.chance) ? "not known: these laws have no draws" : this.percent(answer.chance)],
    ];
    for (const row of rows.filter(Boolean))
      list.append(element("div", {}, element("dt", {}, row[0]), element("dd", {}, row[1], row[2] ? ` – ${row[2]}` : "")));
  }

  plain(value) { return `${shortly(value[0])}${value[1] === null || Number.isNaN(value[1]) ? "" : ` [${shortly(value[1])}, ${value[2] === null || !Number.isFinite(value[2]) ? "open" : shortly(value[2])}]`}`; }

  others() {
    const table = this.root.querySelector(".neighbours"), { answer, asked } = this;
    table.hidden = !answer?.feasible;
    if (!answer?.feasible) return;
    const unit = this.unit_name(asked.unit), compute = !Number.isNaN(answer.compute[0]);
    const row = (label, one) => element("tr", {}, element("th", { scope: "row" }, label), ...[one.name, one.batch ?? "–", this.plain(one.data),
      ...(compute ? [this.plain(one.compute)] : []), this.percent(one.chance)].map((text) => element("td", {}, String(text))));
    const head = ["", "UTD ratio", "batch size", "env steps", ...(compute ? [unit] : []), "chance to meet the limit"];
    table.querySelector("thead").replaceChildren(element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))));
    table.querySelector("tbody").replaceChildren(row("the plan", answer), ...answer.neighbours.map((one) => row(one.label, one)));
  }

  notes() {
    const list = this.root.querySelector(".plan-notes"), { answer, asked } = this, size = answer && this.tables.sizes[answer.place];
    const found = [];
    if (answer?.feasible) {
      const level = answer.options.level, of_task = size.tasks[asked.task];
      if (answer.options.between) found.push(`Return ${Number(answer.threshold.toPrecision(4))} was not fitted; what it takes is interpolated between returns ${answer.options.between.map((one) => Number(one.toPrecision(4))).join(" and ")}.`);
      if (answer.outside > 1.05) found.push(`This extrapolates: UTD ratio ${answer.name} lies outside those that were run, by a factor of ${shortly(answer.outside)}. Take the intervals with care.`);
      if (!size.identified[level]) found.push("The least data that would do however large the UTD ratio is not identified: the data still falls at the largest ratio that was run.");
      for (const [which, name] of [["batch_size", "batch size"], ["learning_rate", "learning rate"]]) {
        const law = of_task[which];
        if (!law) continue;
        const beyond = Math.max(law.seen[0] / answer.utd, answer.utd / law.seen[1]);
        if (law.remark) found.push(`The ${name} is that of the runs: no sweep chose it.`);
        else {
          if (!law.identified) found.push(`Whether the best ${name} rises or falls with the UTD ratio is not identified by these runs.`);
          if (beyond > Math.max(answer.outside, 1) * 1.05) found.push(`The best ${name} was found at UTD ratios ${this.ratio(law.seen[0])} to ${this.ratio(law.seen[1])}; here it is extrapolated by a factor of ${shortly(beyond)}.`);
        }
      }
      if (answer.down) found.push(`The batch size is rounded down: the nearest multiple of ${this.tables.batch_multiple} would exceed the limit.`);
      if (answer.beyond) found.push(`The budget is more than the highest return that was fitted (${Number(answer.top.toPrecision(4))}) takes. What lies beyond it is not predicted; the command below tells how the rest is best shared.`);
      if (answer.options.unsettled.some(Boolean)) found.push("At UTD ratios farther out the runs do not settle how much data it takes; they are left out.");
    }
    if (this.tables.draws < this.tables.all_draws) found.push(`Chances are counted over ${this.tables.draws} of the ${this.tables.all_draws} bootstrap draws.`);
    list.replaceChildren(...found.map((text) => element("li", {}, text)));
  }

  /** The answer as a command line, as settings of a library, or as JSON. */
  text() {
    const { answer, asked } = this, task = this.tables.tasks[asked.task].name;
    const quoted = (text) => (/^[\w./=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
    const own = this.tables.units.find((one) => one.key === asked.unit)?.own ?? true;
    const command = ["tdscale plan", quoted(this.tables.folder), `--${asked.problem} ${Number(asked.limit.toPrecision(6))}`,
      asked.problem === "budget" ? `--data-cost ${Number(asked.cost.toPrecision(6))}` : `--threshold ${asked.threshold}`,
      !own && asked.problem !== "data" ? `--unit ${asked.unit}` : "", task === null ? "" : `--task ${quoted(task)}`, `--sure ${asked.sure}`,
      asked.size === null ? "" : `--size ${quoted(this.tables.sizes[asked.size].name)}`].filter(Boolean).join(" ");
    if (this.format === "command" || !answer?.feasible) return command;
    const steps = Math.ceil(answer.data[0]), rate = answer.learning_rate ? Number(answer.learning_rate[0].toPrecision(3)) : null;
    const [updates, every] = answer.updates ?? [answer.utd, 1];
    if (this.format === "json") return JSON.stringify({ question: { ...asked, task }, utd: answer.utd, batch_size: answer.batch,
      learning_rate: rate, size: answer.size ?? undefined, return_threshold: answer.threshold, chance: answer.chance,
      ...Object.fromEntries(["data", "compute", "budget"].filter((name) => !Number.isNaN(answer[name][0]))
        .map((name) => [name, { value: answer[name][0], low: answer[name][1], high: answer[name][2], level: 0.8 }])) }, null, 2);
    if (this.format === "cleanrl") {
      const flags = [`--total-timesteps ${steps}`, answer.batch ? `--batch-size ${answer.batch}` : "", rate ? `--q-lr ${rate} --policy-lr ${rate}` : ""];
      const first = updates === 1 && every === 1 ? "" : `# sac_continuous_action.py updates once each env step. Make it ${updates} update${updates === 1 ? "" : "s"}`
        + ` every ${every === 1 ? "env step" : `${every} env steps`}:\n${every === 1 ? "" : `#   if global_step % ${every} == 0:\n`}#   for _ in range(${updates}): …  around the block of the critic and actor updates\n`;
      return `${first}python cleanrl/sac_continuous_action.py${task === null ? "" : ` --env-id ${quoted(task)}`} ${flags.filter(Boolean).join(" ")}`;
    }
    const library = this.format === "sbx" ? "sbx" : "stable_baselines3";
    const env = task === null ? "env" : JSON.stringify(task);
    const settings = [rate ? `learning_rate=${rate}` : "", answer.batch ? `batch_size=${answer.batch}` : "", `train_freq=${every}`, `gradient_steps=${updates}`];
    return `from ${library} import SAC\n\nmodel = SAC("MlpPolicy", ${env}, ${settings.filter(Boolean).join(", ")})\nmodel.learn(total_timesteps=${steps})`;
  }

  choose(button) {
    this.format = button.dataset.format;
    for (const one of this.root.querySelectorAll("[data-format]")) one.setAttribute("aria-pressed", String(one === button));
    this.copied();
  }

  copied() { this.root.querySelector(".copied-text").textContent = this.asked && this.asked.limit > 0 ? this.text() : ""; }

  async copy() {
    const status = this.root.querySelector(".copy-status");
    try {
      await navigator.clipboard.writeText(this.text());
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(this.root.querySelector(".copied-text"));
      status.textContent = "Selected; copy it with Ctrl+C.";
    }
    setTimeout(() => { status.textContent = ""; }, 3000);
  }

  /** Data against compute along the UTD ratios, with the plan on it; without compute, data against the UTD ratio. */
  async frontier() {
    if (!window.vegaEmbed || !this.answer?.options) return;
    const { answer, asked } = this, options = answer.options, size = this.tables.sizes[answer.place];
    const by_compute = !Number.isNaN(this.lookup.compute(options, asked.unit, options.places[0], 1e9));
    const x_of = (at, data) => (by_compute ? this.lookup.compute(options, asked.unit, at, data) : size.utd[at]);
    const rows = options.places.map((at) => ({ at, data: interval(options.data[0][at], options.data.slice(1).map((row) => row[at])) }));
    const colour = "#0072b2", mark = "#d55e00", grey = "#8a8a8a";
    const x = rows.map((row) => x_of(row.at, row.data[0])), y = rows.map((row) => row.data[0]);
    const series = [{ kind: "line", colour, x, y, width: 1.5, of: [0], quiet: true },
      ...rows.map((row, place) => ({ kind: "points", colour, face: "#ffffff", edge: colour, shape: "circle", size: 5, opacity: 1, x: [x[place]],
        y: [y[place]], low: [row.data[1]], high: [row.data[2]], of: [1 + place] }))];
    const legend = [{ text: "frontier" }, ...rows.map((row) => ({ text: `UTD ratio ${size.names[row.at]}` }))];
    if (answer.feasible) {
      if (!Number.isNaN(answer.data[1])) series.push({ kind: "line", colour: mark, opacity: 0.8, width: 2, quiet: true, of: [],
        x: answer.data.slice(1).map((one) => x_of(answer.at, one)), y: answer.data.slice(1) });
      series.push({ kind: "text", colour: "#222222", text: `UTD ratio ${answer.name}`, align: "left", of: [], x: [x_of(answer.at, answer.data[0]) * 1.02],
        y: [answer.data[0] * 1.03] });
      series.push({ kind: "points", colour: mark, face: mark, edge: mark, shape: "circle", size: 9, opacity: 1, x: [x_of(answer.at, answer.data[0])],
        y: [answer.data[0]], of: [legend.length], low: [answer.data[1]], high: [answer.data[2]] });
      legend.push({ text: `the plan, UTD ratio ${answer.name}` });
    }
    const limit = { width: 1.2, colour: grey, dash: [4, 3], of: [] };
    if (asked.problem === "data") series.push({ kind: "rule", y: [asked.limit], ...limit });
    if (asked.problem === "compute") series.push({ kind: "rule", x: [asked.limit], ...limit });
    const ends = (values, more) => {
      const known = [...values, ...more].filter((one) => one > 0 && Number.isFinite(one));
      return [Math.min(...known) / 1.2, Math.max(...known) * 1.2];
    };
    if (asked.problem === "budget") {
      const [low, high] = ends(x, []), line = { kind: "line", quiet: true, ...limit, x: [], y: [] };
      for (let step = 0; step <= 100; step++) {
        const at = low * (high / low) ** (step / 100), rest = (asked.limit - at) / asked.cost;
        if (rest > 0) { line.x.push(at); line.y.push(rest); }
      }
      if (line.x.length > 1) series.push(line);
    }
    const of_limit = (problem) => (asked.problem === problem ? [asked.limit] : []);
    const told = { title: `To return ${this.with_raw(answer.threshold)}`, series,
      x: { label: by_compute ? `compute (${this.unit_name(asked.unit)})` : "UTD ratio", log: true, ends: ends(x, of_limit("compute")), ticks: [],
        format: by_compute && asked.unit !== "seconds" ? ".2~e" : "~g" },
      y: { label: "data (env steps)", log: true, ends: ends(y, of_limit("data")), ticks: [] } };
    if (!this.panel) this.panel = new Panel(this.root.querySelector(".frontier"), told, legend, "Data against compute, a point for each UTD ratio; the plan is filled.");
    [this.panel.told, this.panel.legend, this.panel.at] = [told, legend, undefined];
    await this.panel.draw();
  }
}

/** The first answer, and only then the library: it takes longer to read than all else. */
async function begin() {
  const root = document.getElementById("planner");
  if (root) {
    window.planner = new Planner(root, JSON.parse(document.getElementById("planner-data").textContent));
    await window.planner.start();
  }
  const library = document.getElementById("library").textContent;
  document.body.append(element("script", { type: "module" }, `${library}\nstart_charts(); window.planner?.frontier();`));
}

begin();
