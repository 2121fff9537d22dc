// Draws the chart of the picked metric. The table on the same page says the same, so that a
// page without script, a printed one and a screen reader lack nothing.
(() => {
  "use strict";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let drawn = null;

  function draw() {
    const canvas = document.querySelector("canvas[data-chart]");
    if (!canvas || !window.Chart) return;
    const told = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
    drawn?.destroy();
    const line = {
      label: told.name,
      data: told.values,
      borderColor: colour("--rc-accent"),
      backgroundColor: colour("--rc-accent"),
      borderWidth: 2,
      pointRadius: 3,
      spanGaps: false,
    };
    const target = {
      label: "Target",
      data: told.weeks.map(() => told.target),
      borderColor: colour("--rc-control"),
      borderDash: [4, 4],
      borderWidth: 1,
      pointRadius: 0,
      pointHitRadius: 0,
    };
    const ink = colour("--rc-ink-2");
    drawn = new Chart(canvas, {
      type: "line",
      data: { labels: told.weeks, datasets: told.target === null ? [line] : [line, target] },
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { ticks: { color: ink }, grid: { display: false }, border: { color: colour("--rc-line-2") } },
          y: {
            beginAtZero: true,
            title: { display: told.unit !== "", text: told.unit, color: ink },
            ticks: { color: ink },
            grid: { color: colour("--rc-line") },
            border: { display: false },
          },
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              label: (item) =>
                item.datasetIndex === 0 ? ` ${told.said[item.dataIndex]}` : ` Target ${told.target_said}`,
            },
          },
        },
      },
    });
  }

  document.addEventListener("DOMContentLoaded", draw);
  // The theme is chosen on the page: colours are read anew.
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
})();
