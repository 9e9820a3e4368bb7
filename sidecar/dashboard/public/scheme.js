/* Sets the colour scheme before the first paint, so that nothing flashes.
 * A file of its own because the policy allows no inline script. */
(function () {
  var want = null;
  try {
    want = window.localStorage.getItem("idash-scheme");
  } catch (e) { /* storage is off: follow the system */ }
  if (want !== "light" && want !== "dark") {
    want = window.matchMedia("(prefers-color-scheme: dark)").matches
      ? "dark" : "light";
  }
  document.documentElement.setAttribute("data-mantine-color-scheme", want);
})();
