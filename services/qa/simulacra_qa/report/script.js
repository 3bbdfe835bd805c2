(() => {
  const data = (id) => { const e = document.getElementById(id); return e ? JSON.parse(e.textContent) : null; };
  const root = document.documentElement, tip = document.getElementById("tip");
  const unfold = () => { for (const e of document.querySelectorAll("details")) e.open = true; };
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const e of document.querySelectorAll("[data-filter]")) e.hidden = !e.dataset.filter.includes(wanted);
    if (wanted) unfold();
  });
  const axes = data("data-axes") || {}, ordered = data("data-names") || [], columns = data("data-columns") || [];
  const cellAt = (event, rows, width) => {
    const panel = event.target.closest("[data-panel]"), frame = panel && panel.querySelector(".frame");
    if (!frame) return null;
    const box = frame.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * width);
    const y = Math.floor((event.clientY - box.top) / box.height * rows);
    return x >= 0 && y >= 0 && x < width && y < rows ? [y, x] : null;
  };
  const describe = (event) => {
    const svg = event.target.closest && event.target.closest("svg.pair, svg.matrix");
    if (!svg) return "";
    const values = (svg.parsed ||= svg.dataset.values.split(",").map(Number));
    if (svg.classList.contains("matrix")) {
      const names = svg.closest("#accuracy") ? columns : ordered, cell = cellAt(event, names.length, names.length);
      if (!cell) return "";
      const value = values[cell[0] * names.length + cell[1]];
      return `${names[cell[0]]} × ${names[cell[1]]}\n${svg.closest("#accuracy") ? value.toFixed(1) + " %" : (value / 100).toFixed(2)}`;
    }
    const left = axes[svg.dataset.rows], below = axes[svg.dataset.columns];
    const rows = left.length - 1, width = below.length - 1, cell = cellAt(event, rows, width);
    if (!cell) return "";
    const at = cell[0] * width + cell[1], share = (v) => (v / 100).toFixed(2) + " %";
    return `${left[0]}: ${left[cell[0] + 1]}\n${below[0]}: ${below[cell[1] + 1]}\ntraining ${share(values[at])}, synthetic ${share(values[rows * width + at])}`;
  };
  document.addEventListener("pointermove", (event) => {
    const text = describe(event);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
  });
})();
