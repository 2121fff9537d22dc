// Sending, waiting and being cut off. Nothing here is needed for a form to work.
//
// Contract with the templates:
//   button[data-busy="Approving"]    what it says while its form is under way
//   #offline[data-probe]             the banner; its [data-offline-since] takes the time,
//                                    [data-offline-try] asks the probe again
//   [data-open-dialog="id"]          opens that dialog
//   input[data-says="Deny it"]       once chosen, what the [data-said] button of its form says
//   [data-focus]                     takes the focus after a swap, within what was swapped
//   details.rc-confirm               Esc or its [data-close-confirm] closes it, the focus returns to its summary
//   form[data-download]              its answer is a file, and the page stays as it is
// While a form is under way, or there is no connection, its submit buttons are aria-disabled
// and can still be reached, so that the reason beside them can be read. Forms with method
// "get" and "dialog" go on working.
(() => {
  "use strict";
  const WHY = "rc-offline-why";
  const UNSURE = "rc-unsure";
  let cut = false; // no connection
  const sends = (form) => form.method === "post" || form.hasAttribute("hx-post");
  const submits = (form) =>
    [...form.elements].filter((e) => (e.type === "submit" || e.type === "image") && !e.hasAttribute("formnovalidate"));

  // A button that the server disabled, with its own reason, stays disabled: only ours are freed.
  function hold(button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.rcHeld = true;
    button.setAttribute("aria-disabled", "true");
  }

  function free(button) {
    if (!button.rcHeld || cut || "sending" in button.form.dataset) return;
    delete button.rcHeld;
    button.removeAttribute("aria-disabled");
  }

  // --- Under way ------------------------------------------------------------------------------
  function begin(form, pressed) {
    form.dataset.sending = "";
    form.querySelector(`.${UNSURE}`)?.remove();
    submits(form).forEach(hold);
    if (!pressed?.dataset.busy) return;
    pressed.rcWords ??= [...pressed.childNodes];
    const wheel = document.createElement("span");
    wheel.className = "rc-spin";
    wheel.ariaHidden = "true";
    pressed.replaceChildren(wheel, pressed.dataset.busy);
    pressed.setAttribute("aria-busy", "true");
  }

  function end(form) {
    delete form.dataset.sending;
    for (const button of submits(form)) {
      if (button.rcWords) button.replaceChildren(...button.rcWords);
      delete button.rcWords;
      button.removeAttribute("aria-busy");
      free(button);
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!sends(form)) return;
    const waits = event.submitter?.getAttribute("aria-disabled") === "true";
    if ("sending" in form.dataset || waits || cut) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.rcPressed = event.submitter;
    // htmx sends by itself; a plain form is only marked once its data have been taken.
    if (!form.matches("[hx-post], [data-download]")) setTimeout(() => event.defaultPrevented || begin(form, event.submitter));
  }, true);

  const formOf = (event) => event.detail.elt?.closest?.("form");
  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = formOf(event);
    if (form && sends(form)) begin(form, form.rcPressed);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const form = formOf(event);
    if (form && sends(form)) end(form);
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("form[data-sending]").forEach(end); // back button
  });

  // --- An answer that is none -----------------------------------------------------------------
  // The server failed, or something before it answered: whether it was recorded is not known here.
  function doubt(form) {
    if (!form || !sends(form) || form.querySelector(`.${UNSURE}`)) return;
    const words = document.createElement("p");
    words.className = `rc-error ${UNSURE}`;
    words.textContent = "The server did not take this as it should. Open the page again to see whether it was recorded.";
    form.append(words);
    rc.alert(words.textContent);
  }
  document.addEventListener("htmx:responseError", (event) => doubt(formOf(event)));

  // A whole page is never put in the place of a part: signed out meanwhile, or refused on the way.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { serverResponse, xhr } = event.detail;
    if (!event.detail.shouldSwap || !/^\s*<!doctype/i.test(serverResponse)) return;
    event.detail.shouldSwap = false;
    const form = formOf({ detail: event.detail.requestConfig });
    if (form && sends(form)) doubt(form);
    else if (xhr.status < 400) location.reload();
  });

  // --- Cut off --------------------------------------------------------------------------------
  const banner = document.getElementById("offline");
  let probing = 0;

  function goOffline() {
    if (cut || !banner) return;
    cut = true;
    const since = banner.querySelector("[data-offline-since]");
    if (since) since.textContent = rc.timeOfDay.format(rc.now());
    banner.hidden = false;
    for (const form of document.forms) {
      if (!sends(form)) continue;
      const buttons = submits(form);
      if (!buttons.length) continue;
      const why = document.createElement("p");
      why.className = `form-text ${WHY}`;
      why.id = `${WHY}-${[...document.forms].indexOf(form)}`;
      why.textContent = "This waits for the connection. What you typed stays here.";
      let place = buttons.at(-1); // beside the buttons, and outside what a choice may hide
      while (form.contains(place) && place.parentElement !== form) place = place.parentElement;
      place.after(why);
      for (const button of buttons) {
        hold(button);
        button.setAttribute("aria-describedby", [button.getAttribute("aria-describedby"), why.id].filter(Boolean).join(" "));
      }
    }
    probing = setInterval(probe, 5000);
  }

  function goOnline() {
    if (!cut) return;
    cut = false;
    clearInterval(probing);
    banner.hidden = true;
    for (const why of document.querySelectorAll(`.${WHY}`)) {
      for (const button of document.querySelectorAll(`[aria-describedby~="${why.id}"]`)) {
        const rest = button.getAttribute("aria-describedby").split(" ").filter((id) => id !== why.id).join(" ");
        if (rest) button.setAttribute("aria-describedby", rest);
        else button.removeAttribute("aria-describedby");
        free(button);
      }
      why.remove();
    }
    rc.say("The connection is back.");
    document.dispatchEvent(new CustomEvent("rc:online"));
  }

  async function probe() {
    try {
      await fetch(banner.dataset.probe, { cache: "no-store" });
      goOnline();
    } catch {
      goOffline(); // any answer, even a refusal, is a connection; no answer is none
    }
  }

  addEventListener("offline", goOffline);
  addEventListener("online", () => banner && probe());
  document.addEventListener("htmx:sendError", goOffline);
  document.addEventListener("htmx:timeout", goOffline);
  document.addEventListener("htmx:afterOnLoad", goOnline);
  if (navigator.onLine === false) goOffline();

  // --- Dialogs and places ---------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open-dialog]");
    if (opener) document.getElementById(opener.dataset.openDialog)?.showModal();
    if (event.target.closest("[data-offline-try]")) probe();
    // The backdrop of a dialog is the dialog itself, outside its box.
    if (event.target.matches("dialog[open]")) {
      const box = event.target.getBoundingClientRect();
      const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
      if (!inside) event.target.close();
    }
  });

  function close(confirm) {
    if (!confirm) return;
    confirm.open = false;
    confirm.querySelector("summary")?.focus();
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(event.target.closest?.(".rc-confirm[open]"));
  });
  document.addEventListener("click", (event) => {
    close(event.target.closest("[data-close-confirm]")?.closest(".rc-confirm"));
  });

  // --- The button says what is chosen ---------------------------------------------------------
  document.addEventListener("change", (event) => {
    const { says } = event.target.dataset ?? {};
    const button = says && event.target.form?.querySelector("[data-said]");
    if (button) button.textContent = says;
  });

  // --- Focus after a swap ---------------------------------------------------------------------
  function settle(root) {
    const wanted = root.querySelector('[aria-invalid="true"], [data-focus]');
    if (wanted) {
      if (!wanted.matches("a[href], button, input, select, textarea, [tabindex]")) wanted.tabIndex = -1;
      wanted.focus();
      return true;
    }
    return false;
  }

  // Only what comes in the place of the target takes the focus. What an answer brings for other
  // places settles first, and leaves it alone.
  let hadFocus = false;
  const elsewhere = new WeakSet();
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, requestConfig } = event.detail;
    const form = requestConfig?.elt?.closest?.("form");
    // Not every browser focuses a button that is pressed: whoever sent a form was in it.
    hadFocus = [document.activeElement, form && sends(form) ? form : null].some((e) => e && target?.contains?.(e));
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    for (const part of event.detail.fragment.children) elsewhere.add(part);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const root = event.detail.elt;
    rc.tick();
    if (!hadFocus || !root?.isConnected || elsewhere.has(root)) return;
    hadFocus = false;
    if (settle(root) || root.contains(document.activeElement)) return;
    root.tabIndex = -1; // what held the focus is gone: stay where the reader was
    root.focus({ preventScroll: true });
  });
  settle(document.querySelector("main") ?? document.body);
})();
