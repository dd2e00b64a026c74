"use strict";
(() => {
  const NARROW = 560; // px: below it parts stand under each other
  const PHONE = 400; // px: below it legends, ticks and heights shrink
  const PAPER = { wide: 840, half: 420 }; // px: widths of the copies for paper
  const page = JSON.parse(document.getElementById("drawn").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const places = [...document.querySelectorAll("[data-figure]")];
  const shown = new Map(); // place -> what vega-embed gave
  let turn = 0; // the newest drawing of all figures; an older one stops
  let drawing; // its end

  // Rows as Vega takes them, made of the columns that the page carries.
  function rows(node) {
    if (Array.isArray(node)) return node.map(rows);
    if (node === null || typeof node !== "object") return node;
    const { $rows: columns, ...rest } = node;
    const made = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, rows(value)]));
    if (columns) {
      const names = Object.keys(columns);
      made.values = columns[names[0]].map((_, i) => Object.fromEntries(names.map((n) => [n, columns[n][i]])));
    }
    return made;
  }

  function specification(figure, look, width) {
    const spec = rows(figure.spec);
    if (look === "dark") {
      for (const [path, value] of figure.dark) {
        const last = path[path.length - 1];
        path.slice(0, -1).reduce((node, key) => node[key], spec)[last] = value;
      }
    }
    fit(spec, width);
    if (width < PHONE) slim(spec);
    return spec;
  }

  // The width of one chart, or of each part of several; side by side only where there is room.
  function fit(spec, width) {
    const axis = spec.vconcat ? 74 : 54; // px: with its title
    if (spec.hconcat && width < NARROW) {
      spec.vconcat = spec.hconcat;
      delete spec.hconcat;
    }
    if (spec.concat && width < NARROW) spec.columns = 1;
    const parts = spec.hconcat || spec.vconcat || spec.concat;
    if (!parts) {
      spec.width = width;
      spec.autosize = { type: "fit-x", contains: "padding" };
      return;
    }
    const across = spec.hconcat ? parts.length : spec.concat ? spec.columns || parts.length : 1;
    const gap = spec.hconcat || across > 1 ? spec.spacing || 20 : 0;
    const own = Math.max(120, (width - 16 - gap * (across - 1)) / across - axis);
    for (const part of parts) part.width = own;
  }

  // Fewer columns in legends, fewer ticks, less height: for a phone.
  function slim(node) {
    if (node === null || typeof node !== "object") return;
    if (node.legend) {
      const columns = Math.max(1, Math.floor((node.legend.columns ?? 6) / 3)); // long names have fewer from the start
      Object.assign(node.legend, { columns, gradientLength: 150, labelLimit: 250 });
    }
    if (node.axis && node.axis.tickCount > 5) node.axis.tickCount = 5;
    if (node.axis && node.axis.orient === "right") node.axis.labels = false; // words that the page says elsewhere
    if (node.height > 260) node.height = 260;
    for (const [key, value] of Object.entries(node)) if (key !== "values") slim(value);
  }

  function options(look) {
    return {
      mode: "vega-lite", renderer: "svg", actions: false, config: page.looks[look], tooltip: { theme: look },
      ast: true, // the page's policy allows no code made from text
    };
  }

  async function draw(place) {
    const figure = page.figures[Number(place.dataset.figure)];
    const look = dark.matches ? "dark" : "light";
    shown.get(place)?.finalize();
    const result = await vegaEmbed(place, specification(figure, look, place.clientWidth), options(look));
    shown.set(place, result);
    place.dataset.width = place.clientWidth;
    if (look === "dark") await copyForPaper(place, figure);
  }

  // Paper has no dark ground: what is drawn in the dark gets a light copy, seen in print only.
  async function copyForPaper(place, figure) {
    let paper = place.nextElementSibling;
    if (!paper.classList.contains("paper")) {
      paper = document.createElement("div");
      paper.className = "paper";
      paper.setAttribute("aria-hidden", "true");
      place.after(paper);
    }
    const away = document.createElement("div");
    const width = place.closest("figure").classList.contains("half") ? PAPER.half : PAPER.wide;
    const result = await vegaEmbed(away, specification(figure, "light", width), options("light"));
    paper.innerHTML = await result.view.toSVG();
    result.finalize();
  }

  // One figure that cannot be drawn says so and leaves the others alone.
  function fail(place, error) {
    const said = document.createElement("p");
    said.className = "nothing";
    said.textContent = `Not drawn: ${error.message}`;
    place.replaceChildren(said);
    console.error(place.getAttribute("aria-label"), error);
  }

  async function drawAll() {
    const mine = ++turn;
    for (const place of places) {
      await draw(place).catch((error) => fail(place, error));
      await new Promise((next) => setTimeout(next));
      if (mine !== turn) return;
    }
    document.documentElement.dataset.drawn = turn; // said to whoever waits for it
  }

  function redraw() {
    drawing = drawAll();
  }

  // The page has loaded when its figures are drawn: who takes a picture of it or prints it without a reader does so at
  // that moment. A frame whose document is still being written holds that event back, and nothing else.
  async function holdLoad() {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    const inside = frame.contentDocument; // none where the page itself stands in a frame that is shut off
    inside?.open();
    for (let awaited; awaited !== drawing; ) await (awaited = drawing);
    inside?.close();
    frame.remove();
  }

  async function save(button) {
    const place = places.find((one) => one.dataset.figure === button.dataset.save);
    const figure = page.figures[Number(button.dataset.save)];
    const svg = await shown.get(place).view.toSVG();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    link.download = `${figure.name}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl + C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2500);
  }

  function toggle(button) {
    const story = document.getElementById(button.getAttribute("aria-controls"));
    story.hidden = !story.hidden;
    button.setAttribute("aria-expanded", String(!story.hidden));
  }

  // A link to something inside what is closed opens it.
  function reveal() {
    const aim = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let node = aim; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    if (aim) aim.scrollIntoView();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button?.dataset.save) save(button);
    else {
      const opens = button ?? event.target.closest("tr.request")?.querySelector("button.opens");
      if (opens?.classList.contains("opens")) toggle(opens);
    }
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => closed.forEach((one) => (one.open = false)));
  addEventListener("hashchange", reveal);

  let later;
  addEventListener("resize", () => {
    clearTimeout(later);
    later = setTimeout(() => {
      if (places.some((one) => one.clientWidth !== Number(one.dataset.width))) redraw();
    }, 200);
  });
  dark.addEventListener("change", redraw);
  reveal();
  redraw();
  holdLoad();
})();
