// Answers from the tables of the page. It counts draws and picks rows; what a row holds was computed by `tdscale report`.
"use strict";

const UNKNOWN = 65535, INFINITE = 65534;
const NEARLY = 1 + 1e-9;

/** log D, shape [1 + draws][ratios], from base64 of gzip of 16-bit differences. */
async function unpacked(level, ratios) {
  const bytes = Uint8Array.from(atob(level.log_draws), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const plain = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = plain.length / 2, rows = [Float64Array.from(level.data, (one) => (one === null ? NaN : Math.log(one)))];
  for (let start = 0; start < count; start += ratios) {
    const row = new Float64Array(ratios);
    let whole = 0;
    for (let place = 0; place < ratios; place++) {
      whole = (whole + plain[start + place] + 256 * plain[count + start + place]) & 0xffff;
      row[place] = whole === UNKNOWN ? NaN : whole === INFINITE ? Infinity : level.offset + whole * level.step;
    }
    rows.push(row);
  }
  return rows;
}

/** A number as people type it: 300k, 1.5M, 2e5, 1/4; NaN where it is none. */
function typed(text) {
  const found = /^\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kMGT]?)\s*$/i.exec(String(text).replaceAll(",", ""));
  if (!found) return NaN;
  const scale = { "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 }[found[2].toLowerCase()];
  return Number(found[1]) * scale;
}

/** A number as it can be typed again: 281k, 1.5M, 4.80e14. */
function shortly(value) {
  if (value === null || Number.isNaN(value)) return "not known";
  if (!Number.isFinite(value)) return "no upper end";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e9 || size < 1e-2) return value.toExponential(2).replace("e+", "e");
  for (const [unit, scale] of [["M", 1e6], ["k", 1e3]])
    if (size >= 0.9995 * scale) return `${Number((value / scale).toPrecision(3))}${unit}`;
  return String(Number(value.toPrecision(3)));
}

/** The place in sorted draws below which `share` of them lie, as the command counts it. */
function sure_place(sure, count) { return Math.ceil(sure * count - 1e-9) - 1; }

/** The ends of the 80 % interval of draws, widened to hold the estimate. */
function interval(value, draws) {
  const known = draws.filter((draw) => !Number.isNaN(draw)).sort((a, b) => a - b);
  if (!known.length || Number.isNaN(value)) return [value, NaN, NaN];
  const last = known.length - 1;
  return [value, Math.min(known[Math.floor(0.1 * last + 1e-9)], value), Math.max(known[Math.ceil(0.9 * last - 1e-9)], value)];
}

class Lookup {
  constructor(tables) {
    this.tables = tables;
    this.rows = new Map();
  }

  /** Unpacks what one task needs; an answer can be looked up afterwards. */
  async prepare(task) {
    const each = this.tables.sizes.flatMap((size, place) => size.tasks[task].levels.map(async (found, level) => {
      const key = `${place}/${task}/${level}`;
      if (found && !this.rows.has(key)) this.rows.set(key, await unpacked(found, size.utd.length));
    }));
    await Promise.all(each);
  }

  /** What can be run at one size, task and return: ratios with D of the estimate and the draws; null where the law can't tell D. */
  options(place, task, threshold) {
    const size = this.tables.sizes[place], levels = this.tables.levels, of_task = size.tasks[task].levels;
    let above = levels.findIndex((level) => Math.abs(level - threshold) < 0.6);
    let below = above;
    if (above < 0) {
      above = levels.findIndex((level) => level > threshold);
      below = above - 1;
    }
    if (above < 0 || below < 0 || !of_task[above] || !of_task[below]) return null;
    const first = Math.max(of_task[above].first, of_task[below].first), last = Math.min(of_task[above].last, of_task[below].last);
    if (first > last) return null;
    const weight = above === below ? 1 : (threshold - levels[below]) / (levels[above] - levels[below]);
    const high = this.rows.get(`${place}/${task}/${above}`), low = this.rows.get(`${place}/${task}/${below}`);
    const data = high.map((row, draw) => Array.from(row, (one, at) =>
      Math.exp(above === below ? one : (1 - weight) * low[draw][at] + weight * one)));
    const places = [];
    for (let at = first; at <= last; at++) places.push(at);
    return { place, task, threshold, level: above, between: above === below ? null : [levels[below], levels[above]], data, places,
      unsettled: of_task[above].unsettled };
  }

  /** C for D at a ratio; `down`: with B rounded down. */
  compute(options, unit, at, data, down = false) {
    const parts = this.tables.sizes[options.place].tasks[options.task].compute[unit];
    if (!parts) return NaN;
    let total = 0;
    for (const [warm_up, rates] of parts[down ? 1 : 0]) total += rates[at] * Math.max(data - warm_up, 0);
    return total;
  }

  /** What is limited, at a ratio, of D. */
  side(question, options, at, data, down) {
    if (question.problem === "data") return data;
    const compute = this.compute(options, question.unit, at, data, down);
    return question.problem === "compute" ? compute : compute + question.cost * data;
  }

  /** The side's value by the estimate and its draws, at a ratio. */
  sides(question, options, at, down) { return options.data.map((row) => this.side(question, options, at, row[at], down)); }

  chance(values, limit) {
    let met = 0;
    for (let draw = 1; draw < values.length; draw++) if (values[draw] <= limit * NEARLY) met++;
    return values.length > 1 ? met / (values.length - 1) : NaN;
  }

  meets(values, limit, sure) {
    if (!(values[0] <= limit * NEARLY)) return false;
    return values.length === 1 || sure <= 0.5 || this.chance(values, limit) >= sure - 1e-9;
  }

  distance(options, at) { return this.tables.sizes[options.place].distance[options.level][at]; }

  /** What is to be least, at a ratio, by the estimate or a draw. */
  objective(question, options, at, down, draw = 0) {
    const data = options.data[draw][at];
    if (question.problem === "compute") return data;
    if (question.problem === "budget") return this.side(question, options, at, data, down);
    const compute = this.compute(options, question.unit, at, data, down);
    const size = this.tables.sizes[options.place];
    return Number.isNaN(compute) ? Math.max(size.utd[at], size.range[options.level][0]) : compute;
  }

  /** The ratio of the least cost among `allowed`; the nearest to the runs of equals; null where there is none. */
  least(options, allowed, cost) {
    let best = null, least = Infinity;
    for (const at of allowed) {
      const here = cost(at) * this.distance(options, at);
      if (here < least || (here === least && this.distance(options, at) < this.distance(options, best))) [best, least] = [at, here];
    }
    return best;
  }

  /** Ratios within a budget, the distance from the runs counted; without it where nothing is else. */
  affordable(question, options, down) {
    const sides = new Map(options.places.map((at) => [at, this.sides(question, options, at, down)]));
    const within = options.places.filter((at) =>
      this.meets(sides.get(at).map((one) => one * this.distance(options, at)), question.limit, question.sure));
    return within.length ? within : options.places.filter((at) => this.meets(sides.get(at), question.limit, question.sure));
  }

  /** The answer for one network. */
  at_size(question, place) {
    if (question.problem === "budget") return this.for_budget(question, place);
    const options = this.options(place, question.task, question.threshold);
    if (!options) return { feasible: false, refused: true, place };
    for (const down of [false, true]) {
      const allowed = options.places.filter((at) => this.meets(this.sides(question, options, at, down), question.limit, question.sure));
      const best = this.least(options, allowed, (at) => this.objective(question, options, at, down));
      if (best !== null) return this.answer(question, options, best, down);
    }
    return this.nothing(question, options);
  }

  /** The highest return within a budget. */
  for_budget(question, place) {
    const levels = this.tables.levels;
    const at = (threshold) => this.options(place, question.task, threshold);
    const fits = (options) => options !== null && this.affordable(question, options, false).length > 0;
    const known = levels.filter((level) => at(level) !== null);
    if (!known.length) return { feasible: false, refused: true, place };
    let last = -1;
    known.forEach((level, index) => { if (fits(at(level))) last = index; });
    if (last < 0) return this.nothing(question, at(known[0]));
    let options = at(known[last]);
    if (last + 1 < known.length) {
      let [low, high] = [known[last], known[last + 1]];
      for (let halving = 0; halving < 14; halving++) {
        const middle = (low + high) / 2;
        if (fits(at(middle))) low = middle; else high = middle;
      }
      const level = low >= 100 ? Math.floor(low) : Number(low.toPrecision(3));
      if (level > known[last] && fits(at(level))) options = at(level);
    }
    const place_of_sure = (values) => values.length === 1 || question.sure <= 0.5 ? values[0]
      : Math.max(values[0], values.slice(1).sort((a, b) => a - b)[sure_place(question.sure, values.length - 1)]);
    const best = this.least(options, this.affordable(question, options, false), (one) => place_of_sure(this.sides(question, options, one, false)));
    const over = last === known.length - 1 && fits(at(known[last]))
      && this.affordable({ ...question, limit: question.limit / 1.05 }, options, false).length > 0;
    return { ...this.answer(question, options, best, false), beyond: over, top: known[known.length - 1] };
  }

  /** The 80 % interval of the best ratio over the draws. */
  best_range(question, options, best, down) {
    const size = this.tables.sizes[options.place], chosen = [];
    for (let draw = 1; draw < options.data.length; draw++) {
      const allowed = question.problem === "budget" ? options.places : options.places.filter((at) =>
        this.side(question, options, at, options.data[draw][at], down) <= question.limit * NEARLY);
      const at = this.least(options, allowed, (one) => this.objective(question, options, one, down, draw));
      if (at !== null) chosen.push(size.utd[at]);
    }
    return interval(size.utd[best], chosen);
  }

  /** Everything about one ratio. */
  row(question, options, at, down) {
    const of_task = this.tables.sizes[options.place].tasks[options.task], size = this.tables.sizes[options.place];
    const data = interval(options.data[0][at], options.data.slice(1).map((row) => row[at]));
    const compute = data.map((one) => this.compute(options, question.unit, at, one, down));
    const sides = this.sides(question, options, at, down);
    return {
      at, utd: size.utd[at], name: size.names[at], updates: size.updates[at],
      batch: of_task.batch ? of_task.batch[down ? 1 : 0][at] : null,
      batch_size: of_task.batch_size && of_task.batch_size.values[at],
      batch_tolerated: of_task.batch_size && of_task.batch_size.tolerated[at],
      learning_rate: of_task.learning_rate && of_task.learning_rate.values[at],
      learning_rate_tolerated: of_task.learning_rate && of_task.learning_rate.tolerated[at],
      data, compute, budget: data.map((one, end) => compute[end] + question.cost * one),
      chance: this.chance(sides, question.limit), within: this.meets(sides, question.limit, question.sure),
      outside: Math.max(size.range[options.level][0] / size.utd[at], size.utd[at] / size.range[options.level][1], 1),
    };
  }

  answer(question, options, best, down) {
    const row = this.row(question, options, best, down);
    const size = this.tables.sizes[options.place];
    return {
      feasible: true, refused: false, place: options.place, options, down, ...row, threshold: options.threshold,
      utd_range: this.best_range(question, options, best, down), neighbours: this.neighbours(question, options, best),
      size: size.name ?? null, parameters: size.parameters ?? null,
    };
  }

  /** The ratios nearest to half and to twice the plan's, and the best with an even chance and with 90 %. */
  neighbours(question, options, best) {
    const utd = this.tables.sizes[options.place].utd;
    const nearest = (wanted) => options.places.reduce((one, other) =>
      Math.abs(Math.log(utd[other] / wanted)) < Math.abs(Math.log(utd[one] / wanted)) ? other : one);
    const found = [];
    for (const [label, wanted] of [["about half the UTD ratio", utd[best] / 2], ["about twice the UTD ratio", utd[best] * 2]]) {
      const at = nearest(wanted);
      if (Math.abs(Math.log(utd[at] / wanted)) < Math.log(1.45) && at !== best) found.push([label, at]);
    }
    if (question.problem !== "budget")
      for (const [label, sure] of [["with an even chance", 0.5], ["with a chance of 90 %", 0.9]]) {
        if (sure === 0.5 ? question.sure <= 0.5 : question.sure >= 0.9) continue;
        const allowed = options.places.filter((at) => this.meets(this.sides(question, options, at, false), question.limit, sure));
        const at = this.least(options, allowed, (one) => this.objective(question, options, one, false));
        if (at !== null && at !== best && !found.some(([, other]) => other === at)) found.push([label, at]);
      }
    return found.map(([label, at]) => ({ label, ...this.row(question, options, at, false) }));
  }

  /** No ratio meets the limit: the least that is needed, and the best chance to be had. */
  nothing(question, options) {
    const cost = (at) => this.sides(question, options, at, false)[0];
    const cheapest = options.places.reduce((one, other) => (cost(other) < cost(one) ? other : one));
    let best = options.places[0], chance = -1;
    for (const at of options.places) {
      const here = this.chance(this.sides(question, options, at, false), question.limit);
      if (here > chance) [best, chance] = [at, here];
    }
    const names = this.tables.sizes[options.place].names;
    return { feasible: false, refused: false, place: options.place, options, threshold: options.threshold, least: cost(cheapest),
      least_name: names[cheapest], best_chance: chance, best_name: names[best] };
  }

  /** The answer: of one network, or of the one that serves the question best. */
  plan(question) {
    const places = question.size === null || question.size === undefined ? [...this.tables.sizes.keys()] : [question.size];
    const found = places.map((place) => this.at_size(question, place));
    const feasible = found.filter((one) => one.feasible);
    if (!feasible.length) return found.reduce((one, other) => ((other.best_chance ?? -1) > (one.best_chance ?? -1) ? other : one));
    const worth = (one) => {
      const value = { data: one.compute[0], compute: one.data[0], budget: one.budget[0] }[question.problem];
      return [question.problem === "budget" ? -one.threshold : 0, Math.log(Math.max(Number.isNaN(value) ? one.data[0] : value, 1e-300))];
    };
    const costs = feasible.map(worth);
    const first = Math.min(...costs.map(([reached]) => reached));
    const least = Math.min(...costs.filter(([reached]) => reached === first).map(([, value]) => value));
    // of networks that are as good to 1 % the smallest
    const index = costs.findIndex(([reached, value]) => reached === first && value <= least + 0.01);
    return { ...feasible[index], by_size: found.length > 1 ? found : null };
  }
}
