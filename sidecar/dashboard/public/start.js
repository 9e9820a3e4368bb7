/*
 * Before the first paint: the colour scheme, so that nothing flashes, and the
 * question who is signed in, whose answer then waits for the page.  A file of its
 * own because the policy allows no inline script.
 */
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

  window.idashMe = fetch("/api/v1/me", { headers: { accept: "application/json" },
    credentials: "same-origin", cache: "no-store" });
  window.idashMe.catch(function () { /* who asks for it is told */ });
})();
