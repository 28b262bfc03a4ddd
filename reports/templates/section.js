/* One section of the page: its table, choices, figures and state. pictures.js adds the pictures. */
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const say = (text) => { document.getElementById("status").textContent = text; };
const all = (root, selector) => [...root.querySelectorAll(selector)];
const number = (text) => (text.trim() === "" ? NaN : Number(text));

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

class Section {
  constructor(element, known) {
    Object.assign(this, { element, ...known, key: element.id });
    this.table = element.querySelector("table.numbers");
    this.lines = all(this.table, "tbody tr");
    this.heads = all(this.table, "th");
    this.byRow = [...this.lines];
    this.controls = all(element, "[data-key]");
    if (this.pictures) this.offerSeedsAndSteps();
    this.initial = this.state();
    this.element.addEventListener("change", (event) => this.changed(event.target));
    this.element.addEventListener("input", (event) => {
      if (event.target.matches("input[type=search], input[type=range]")) this.changed(event.target);
    });
    this.heads.forEach((head) => head.firstChild.addEventListener("click", () => this.sortBy(head)));
    this.table.tBodies[0].addEventListener("click", (event) => this.clicked(event));
    all(element, ".tools [data-do]").forEach((button) =>
      button.addEventListener("click", () => this[button.dataset.do]()));
    this.element.addEventListener("pointerover", (event) => this.mark(event.target.closest("[data-row]")));
    this.plots = all(element, ".plot");
    this.drawn = new Set();
  }

  /* Everything the reader chose, by control; only what differs from the page as sent. */
  state() {
    const found = {};
    for (const control of this.controls) {
      const key = control.dataset.key;
      if (control.type !== "checkbox") found[key] = control.value;
      else found[key] = [found[key], control.checked ? control.value : ""].filter(Boolean).join(".");
    }
    return found;
  }

  restore(state) {
    for (const control of this.controls) {
      const value = state[control.dataset.key] ?? this.initial[control.dataset.key] ?? "";
      if (control.type === "checkbox") control.checked = value.split(".").includes(control.value);
      else control.value = value;
    }
    this.update();
  }

  control(key) { return this.controls.find((control) => control.dataset.key === key); }
  value(key) { return this.control(key)?.value ?? ""; }
  checked(key) { return this.controls.filter((c) => c.dataset.key === key && c.checked).map((c) => c.value); }

  changed(control) {
    if (!control.dataset.key) return;
    this.update(control.dataset.key);
    keep();
  }

  update(key) {
    this.chosen = new Set(this.checked("chosen"));
    const pictures = ["class", "damage", "order", "show", "seed", "size", "step"];
    if (pictures.includes(key)) return this.drawPictures();
    if (key === "curve") return this.draw("curves");
    if (!key || key === "columns") this.showColumns();
    if (!key || key === "base") this.showBaseline();
    this.sortRows();
    this.showRows();
    if (this.pictures && (!key || this.value("order") === "worst")) this.drawPictures();
    if (!key && this.drawn.has("curves")) this.draw("curves");
    this.markPlots();
  }

  /* Rows: filter, sort, columns, baseline. */
  showColumns() {
    const shown = new Set(this.checked("columns"));
    for (const cell of all(this.table, "[data-c]")) cell.hidden = !shown.has(cell.dataset.c);
  }

  matches(line, term) {
    const condition = term.match(/^(.+?)\s*(<=|>=|!=|=|<|>)\s*(.+)$/);
    const plain = (name) => name.toLowerCase().replaceAll(/[_\s]+/g, " ").trim();
    const head = condition && this.heads.find((each) =>
      [each.dataset.name, each.textContent].some((name) => plain(name) === plain(condition[1])));
    if (!head) return line.textContent.toLowerCase().includes(term.toLowerCase());
    const cell = this.cell(line, head.dataset.c);
    const [x, y] = [number(cell.dataset.value), number(condition[3])];
    const same = x === y || plain(cell.textContent) === plain(condition[3]);
    return { "=": same, "!=": !same, "<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y }[condition[2]];
  }

  showRows() {
    const terms = this.value("filter").split(",").map((term) => term.trim()).filter(Boolean);
    const only = this.checked("only").length > 0 && this.chosen.size > 0;
    this.hidden = new Set();
    for (const line of this.byRow) {
      const shown = terms.every((term) => this.matches(line, term)) && !(only && !this.chosen.has(line.dataset.row));
      if (!shown) this.hidden.add(line.dataset.row);
    }
    for (const each of all(this.element, "tr[data-row]")) {
      each.hidden = this.hidden.has(each.dataset.row);
      each.classList.toggle("chosen", this.chosen.has(each.dataset.row));
    }
    for (const line of all(this.table, "tr.details")) line.hidden = line.previousElementSibling.hidden;
    const shown = this.lines.length - this.hidden.size;
    this.element.querySelector(".tools output").textContent =
      `${shown} of ${this.lines.length} settings${this.chosen.size ? `, ${this.chosen.size} chosen` : ""}`;
  }

  sortBy(head) {
    const falling = head.ariaSort === "ascending";
    this.control("sort").value = (falling ? "-" : "") + head.dataset.c;
    this.sortRows();
    if (this.pictures) this.drawPictures();
    keep();
    say(`Sorted by ${head.textContent.trim()}, ${falling ? "falling" : "rising"}.`);
  }

  sortRows() {
    const wanted = this.value("sort");
    if (wanted === (this.sorted ?? "")) return;
    this.sorted = wanted;
    const column = Number(wanted.replace("-", ""));
    const falling = wanted.startsWith("-");
    for (const head of this.heads) {
      const here = wanted === "" ? head.dataset.name === "place" : Number(head.dataset.c) === column;
      head.ariaSort = here ? (falling ? "descending" : "ascending") : "none";
    }
    const value = (line) => this.cell(line, column).dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = Number.isFinite(number(x) - number(y)) ? number(x) - number(y)
        : x.localeCompare(y, "en", { numeric: true });
      return falling ? -order : order;
    };
    this.lines = wanted === "" ? [...this.byRow] : [...this.byRow].sort(compare);
    all(this.table, "tr.details").forEach((line) => line.remove());
    all(this.table, "[aria-expanded=true]").forEach((button) => { button.ariaExpanded = "false"; });
    this.table.tBodies[0].append(...this.lines);
  }

  cell(line, column) { return line.querySelector(`[data-c="${column}"]`); }

  /* Every number also as its difference from the baseline's, in per cent. */
  showBaseline() {
    const base = this.byRow[this.value("base")];
    for (const line of this.byRow) {
      line.classList.toggle("baseline", line === base);
      for (const cell of all(line, "td[data-c]")) {
        cell.querySelector("small")?.remove();
        const [x, y] = [number(cell.dataset.value), base ? number(this.cell(base, cell.dataset.c).dataset.value) : NaN];
        if (line === base || !Number.isFinite(x) || !y || !("measured" in this.heads[cell.dataset.c].dataset)) continue;
        const percent = (100 * (x - y)) / Math.abs(y);
        cell.append(make("small", {}, `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)} %`));
      }
    }
  }

  /* A click on a row: its settings, the command that repeats it, its address. */
  clicked(event) {
    const line = event.target.closest("tr[data-row]");
    if (!line || event.target.closest("input, a, tr.details")) return;
    const button = line.querySelector("[data-do=details]");
    const open = button.ariaExpanded === "true";
    button.ariaExpanded = String(!open);
    if (open) return line.nextElementSibling.remove();
    const row = this.rows[line.dataset.row];
    const settings = make("dl", { class: "settings" });
    for (const [name, value] of Object.entries(row.settings)) {
      settings.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    }
    const runs = make("ul");
    for (const run of row.runs) {
      const item = make("li", {}, `${run.name} (${run.id}), seed ${run.seed}, ${run.day} `);
      if (/^https?:/.test(run.url ?? "")) item.append(make("a", { href: run.url, rel: "noreferrer" }, "open in W&B"));
      runs.append(item);
    }
    const base = make("button", { type: "button" }, "Use as baseline");
    base.addEventListener("click", () => {
      this.control("base").value = line.dataset.row;
      this.changed(this.control("base"));
    });
    const details = make("td", { colspan: this.heads.length + 1 }, settings, make("pre", {}, row.command), runs, base);
    line.after(make("tr", { class: "details" }, details));
  }

  /* Choose these rows and no others. */
  choose(rows) {
    for (const control of this.controls) {
      if (control.dataset.key === "chosen") control.checked = rows.has(control.value);
    }
    this.update("chosen");
    keep();
  }
  clear() { this.choose(new Set()); }

  copy(write, text) {
    const heads = this.heads.filter((head) => !head.hidden);
    const lines = this.lines.filter((line) => !line.hidden);
    const rows = lines.map((line) => heads.map((head) => text(this.cell(line, head.dataset.c))));
    rows.unshift(heads.map((head) => head.textContent));
    const copied = write(rows);
    const shown = () => say(`Copied ${lines.length} rows.`);
    (navigator.clipboard?.writeText(copied) ?? Promise.reject()).then(shown, () => {
      const area = make("textarea", {}, copied);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      shown();
    });
  }
  csv() {
    this.copy((rows) => rows.map((row) => row.map((text) =>
      /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text).join(",")).join("\n"),
    (cell) => cell.dataset.value);
  }
  markdown() {
    const line = (cells) => `| ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
    this.copy(([head, ...rows]) => [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n"),
      (cell) => [...cell.childNodes].map((node) => node.textContent).join(" ").trim());
  }

  /* Figures. The class of a trace names its row. */
  draw(name, printed = false) {
    loadPlotly();
    const holder = this.plots.find((each) => each.dataset.figure === name);
    const figure = this.figures[name === "curves" ? `curves ${this.value("curve")}` : name];
    const narrow = !printed && holder.clientWidth < 420;
    const wide = holder.closest(".wide") !== null;
    const columns = figure.layout.xaxis.ticktext?.length ?? 0;
    if (name === "parallel") holder.style.minWidth = printed ? "" : `${columns * 84}px`;
    const height = name === "curves" && !narrow && !printed ? 460 : 380;
    holder.style.height = `${height}px`;
    const layout = {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { size: 12, family: "system-ui, sans-serif" },
      margin: { l: 64, r: 16, t: 48, b: 56 }, height, ...figure.layout,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : figure.layout.dragmode ?? "zoom",
      title: { text: figure.layout.title.text, x: 0, xref: "paper", font: { size: 14 } },
      ...(printed ? { width: wide ? 980 : 480 } : {}), // A4 landscape
      showlegend: !narrow && figure.data.some((trace) => trace.uid && trace.showlegend !== false),
    };
    if (name !== "curves") layout.legend = { x: 1, xanchor: "right", y: 1.02, yanchor: "bottom", bgcolor: "transparent" };
    const first = !holder._fullLayout;
    Plotly.react(holder, figure.data, structuredClone(layout), { displayModeBar: false, responsive: true });
    this.drawn.add(name);
    if (first) {
      const row = (point) => /^r(\d+)$/.exec(point.data.uid ?? "")?.[1];
      holder.on("plotly_hover", (event) => this.markRow(row(event.points[0])));
      holder.on("plotly_unhover", () => this.markRow(undefined));
      holder.on("plotly_click", (event) => this.choose(this.chosen.symmetricDifference(new Set([row(event.points[0])]))));
      holder.on("plotly_selected", (event) => event?.points?.length && this.choose(new Set(event.points.map(row))));
      holder.on("plotly_afterplot", () => this.markPlots(holder));
    }
    this.markPlots(holder);
  }

  drawAll(printed) { for (const holder of this.plots) this.draw(holder.dataset.figure, printed); }

  mark(line) { this.markRow(line?.dataset.row); }

  markRow(row) {
    if (row === this.marked) return;
    this.marked = row;
    all(this.element, "tr.marked").forEach((line) => line.classList.remove("marked"));
    if (row !== undefined) all(this.element, `tr[data-row="${row}"]`).forEach((line) => line.classList.add("marked"));
    this.markPlots();
  }

  markPlots(holder) {
    for (const plot of holder ? [holder] : this.plots) {
      plot.classList.toggle("choice", this.chosen.size > 0 || this.marked !== undefined);
      for (const trace of all(plot, "g.trace")) {
        const [, kind, row] = /trace([rbx])(\d+)/.exec(trace.getAttribute("class")) ?? [];
        if (kind === undefined) continue;
        trace.classList.toggle("marked", this.chosen.has(row) || this.marked === row);
        trace.classList.toggle("hidden", this.hidden?.has(row) ?? false);
        trace.classList.toggle("extra", kind === "x");
      }
    }
  }
}
