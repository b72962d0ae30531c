// Before the first paint, so that a dark page does not flash white.
try {
  const chosen = localStorage.getItem("assay.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* no storage: the colours of the system */ }
