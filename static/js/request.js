// The page of one request: the bar on phones. Nothing here is needed to decide.
//
// Contract with the template:
//   a[data-verdict="reject"]   chooses that verdict in form[data-decision] and goes there;
//                              without script it opens the page anew with ?verdict=
//   #decidebar                 steps aside while the form itself is in view
(() => {
  "use strict";
  const form = () => document.querySelector("form[data-decision]");

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-verdict]");
    const choice = link && form()?.querySelector(`[name="verdict"][value="${CSS.escape(link.dataset.verdict)}"]`);
    if (!choice) return;
    event.preventDefault();
    if (!choice.checked) {
      choice.checked = true;
      choice.dispatchEvent(new Event("change", { bubbles: true }));
    }
    choice.focus({ preventScroll: true });
    document.getElementById("decide").scrollIntoView({ block: "start" });
  });

  if (!("IntersectionObserver" in window)) return;
  const watch = new IntersectionObserver((entries) => {
    const bar = document.getElementById("decidebar");
    if (!bar || !form()) return;
    bar.hidden = entries.at(-1).isIntersecting;
  }, { rootMargin: "0px 0px -35% 0px" });
  const look = () => {
    watch.disconnect();
    const found = form();
    if (found) watch.observe(found);
  };
  document.addEventListener("htmx:afterSettle", look);
  look();
})();
