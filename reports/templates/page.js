/* Starts the page: theme, sections, the state in the address, figures when they come near. */

/* Plotly runs when the first figure is drawn, so that the table opens at once. */
function loadPlotly() {
  if (!window.Plotly) document.body.append(make("script", {}, document.getElementById("plotly").textContent));
}

document.getElementById("zoom").addEventListener("input", (event) =>
  document.getElementById("views").style.setProperty("--size", `${event.target.value}px`));

/* Theme: as the system, or fixed by the reader. */
const theme = document.getElementById("theme");
theme.addEventListener("change", () => { document.documentElement.dataset.theme = theme.value; keep(); });

const sections = all(document, "main > section").map((element, n) => new Section(element, data.sections[n]));

/* The address holds what the reader chose, so that it can be sent. */
function keep() {
  const state = new URLSearchParams();
  if (theme.value) state.set("theme", theme.value);
  for (const section of sections) {
    for (const [key, value] of Object.entries(section.state())) {
      if (value !== section.initial[key]) state.set(`${section.key}.${key}`, value);
    }
  }
  history.replaceState(null, "", `#${state}`);
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  theme.value = state.get("theme") ?? "";
  document.documentElement.dataset.theme = theme.value;
  for (const section of sections) {
    const found = [...state].filter(([key]) => key.startsWith(`${section.key}.`));
    section.restore(Object.fromEntries(found.map(([key, value]) => [key.slice(section.key.length + 1), value])));
  }
}
addEventListener("hashchange", restore);
restore();

for (const link of all(document, "nav a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const section = document.querySelector(link.getAttribute("href"));
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  });
}

/* Figures are drawn when they come near the screen, and all before printing. */
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const section = sections.find((each) => each.plots.includes(target));
    if (!section.drawn.has(target.dataset.figure)) section.draw(target.dataset.figure);
  }
}, { rootMargin: "300px" });
sections.forEach((section) => section.plots.forEach((plot) => near.observe(plot)));
addEventListener("beforeprint", () => sections.forEach((section) => section.drawAll(true)));
addEventListener("afterprint", () => sections.forEach((section) => section.drawAll()));
