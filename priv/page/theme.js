// A classic script in the head: what was chosen holds before anything is painted.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('erlmcp_native.theme');
  } catch {
    // Storage may be forbidden: then the system's scheme holds.
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
