/* The pictures of a section: sheets of small pictures, cut into rows, and two settings compared. */

/* The address of a sheet of pictures, decoded when it is first shown. */
const addresses = [];
function sheet(number) {
  if (addresses[number] === undefined) {
    const bytes = Uint8Array.from(atob(data.sheets[number]), (char) => char.charCodeAt(0));
    addresses[number] = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
  }
  return addresses[number];
}

/* One picture of sheet `number`, which holds `count`; with `minus`, its difference from that sheet's. */
function picture(number, at, count, label, minus) {
  const images = [number, minus].filter((each) => each !== undefined).map((n) => `url(${sheet(n)})`);
  const element = make("div", { class: minus === undefined ? "sprite" : "sprite difference", role: "img", "aria-label": label });
  element.style.backgroundImage = images.join(",");
  element.style.backgroundSize = `${count * 100}% 100%`;
  element.style.backgroundPosition = `${count > 1 ? (at * 100) / (count - 1) : 0}% 0`;
  return element;
}

Object.assign(Section.prototype, {
  offerSeedsAndSteps() {
    const runs = this.pictures.rows.flatMap((row) => row.seeds);
    const seeds = [...new Set(runs.map((run) => String(run.seed)))];
    if (seeds.length > 1) this.control("seed").append(...seeds.map((seed) => make("option", {}, seed)));
    const steps = new Set(runs.flatMap((run) => run.steps.map((step) => step.seen)));
    this.steps = [...steps].sort((a, b) => a - b);
    const slider = this.control("step"); // 0 is the end of training, -1 the step before it
    slider.min = 1 - this.steps.length;
    slider.parentElement.hidden = this.steps.length < 2;
  },

  /* Pictures: one row a setting, one column an image; input and target stay in view. */
  drawPictures() {
    const { columns, rows } = this.pictures;
    const slider = this.control("step");
    const atEnd = Number(slider.value) === 0;
    const seen = this.steps.at(Number(slider.value) - 1);
    slider.nextElementSibling.textContent = atEnd ? "end" : `${seen.toLocaleString("en")} images`;
    this.now = rows.map((row) => {
      const run = row.seeds.find((each) => String(each.seed) === this.value("seed")) ?? row.seeds[0];
      const step = atEnd ? run.steps.at(-1) : run.steps.findLast((each) => each.seen <= seen) ?? run.steps[0];
      return { row: String(row.row), run, step, several: row.seeds.length > 1 };
    });
    const place = new Map(this.lines.map((line, n) => [line.dataset.row, n]));
    this.now.sort((a, b) => place.get(a.row) - place.get(b.row));
    let order = columns.map((_, n) => n).filter((n) =>
      ["class", "damage"].every((key) => this.value(key) === "" || columns[n][key] === this.value(key)));
    if (this.value("order") === "worst") {
      const shown = this.now.filter(({ row }) => (this.chosen.size ? this.chosen.has(row) : !this.hidden?.has(row)));
      const worst = (n) => shown.reduce((sum, { step }) => sum + (step.l1[n] ?? 0), 0);
      order = order.sort((a, b) => worst(b) - worst(a));
    }
    const count = columns.length;
    const name = (n) => `${columns[n].class}, ${columns[n].damage}`;
    const cells = (draw) => order.map((n) => make("td", {}, ...draw(n)));
    const first = this.now[0].run;
    const head = make("thead", {},
      make("tr", {}, make("td"), ...order.map((n) => make("th", { scope: "col", "data-class": columns[n].class, "data-damage": columns[n].damage },
        columns[n].class, make("small", {}, columns[n].damage)))),
      ...["input", "target"].map((kind) => make("tr", {}, make("th", { scope: "row" }, kind),
        ...cells((n) => [picture(first[kind], n, count, `${kind}: ${name(n)}`)]))));
    const body = make("tbody");
    for (const { row, run, step, several } of this.now) {
      const label = this.rows[row].label;
      const show = this.value("show");
      const line = make("tr", { "data-row": row }, make("th", { scope: "row" }, label, ...(several ? [make("small", {}, `seed ${run.seed}`)] : [])));
      line.append(...cells((n) => {
        if (step.l1[n] === null || step.l1[n] === undefined) return [];
        const found = make("button", { type: "button" });
        const l1 = step.l1[n].toFixed(4);
        if (show !== "error") found.append(picture(step.sheet, n, count, `output of ${label}, L1 ${l1}: ${name(n)}`));
        if (show !== "") found.append(picture(step.sheet, n, count, `error of ${label}, L1 ${l1}: ${name(n)}`, run.target));
        found.append(make("small", {}, l1));
        found.onclick = () => this.compare(row, n);
        return [found];
      }));
      body.append(line);
    }
    const table = this.element.querySelector(".pictures");
    table.style.setProperty("--size", `${this.value("size")}px`);
    table.replaceChildren(head, body);
    this.element.querySelector(".shown").textContent = `${order.length} of ${count} pictures`;
    if (this.chosen) this.showRows();
  },

  /* Two settings on one picture: a slider between them, their difference, input and target. */
  compare(row, at) {
    const other = this.now.find((each) => each.row !== row && (!this.chosen.size || this.chosen.has(each.row)));
    const [a, b] = [document.getElementById("side-a"), document.getElementById("side-b")];
    const options = () => this.now.map((each) => make("option", { value: each.row }, this.rows[each.row].label));
    a.replaceChildren(...options());
    b.replaceChildren(...options());
    [a.value, b.value] = [row, (other ?? this.now[0]).row];
    const { columns } = this.pictures;
    const dialog = document.getElementById("compare");
    document.getElementById("compare-name").textContent = `${columns[at].class}, ${columns[at].damage}`;
    const show = () => {
      const [left, right] = [a, b].map((select) => this.now.find((each) => each.row === select.value));
      const view = (caption, ...children) => make("figure", {}, ...children, make("figcaption", {}, caption));
      const draw = (label, sheet, minus) => picture(sheet, at, columns.length, label, minus);
      const l1 = ({ step }) => step.l1[at]?.toFixed(4) ?? "unknown";
      const slider = make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "From A (right end) to B (left end)" });
      const top = draw(`A: output of ${this.rows[left.row].label}`, left.step.sheet);
      const both = make("div", { class: "both" }, draw(`B: output of ${this.rows[right.row].label}`, right.step.sheet), top);
      const cut = () => { top.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`; };
      slider.addEventListener("input", cut);
      cut();
      document.getElementById("views").replaceChildren(
        view("input", draw("input", left.run.input)),
        view("target", draw("target", left.run.target)),
        view(`A ${l1(left)} | B ${l1(right)}`, both, slider),
        view("A and B differ by (white: 0.25 or more)", draw("difference of A and B", left.step.sheet, right.step.sheet)),
        view("error of A", draw("error of A", left.step.sheet, left.run.target)),
        view("error of B", draw("error of B", right.step.sheet, right.run.target)));
    };
    for (const select of [a, b]) select.onchange = show;
    show();
    dialog.showModal();
  },
});
