/* Everything here is a convenience: each page works with JavaScript off. No eval, no inline style attributes. */
import "./charts.js";

const $ = (selector, root = document) => root.querySelector(selector);
const csrfToken = () => $("meta[name=csrf]")?.content ?? "";
const TICK_MS = 5000;
const COPIED_MS = 1500;

/* ---- theme: a cookie that the server reads, so there is no flash and no inline script */
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-theme]");
  if (!form) return;
  event.preventDefault();
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  const body = new URLSearchParams({ theme: root.dataset.theme });
  await fetch(form.action, { method: "POST", headers: { "X-CSRFToken": csrfToken() }, body });
});

/* ---- copy */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.dataset.done = "";
  announce("Copied");
  setTimeout(() => delete button.dataset.done, COPIED_MS);
});

function announce(text) {
  const toast = $("#toast");
  if (toast) toast.textContent = text;
}

/* ---- dialogs: <button data-dialog="id"> opens, <button data-close> closes */
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog?.showModal) {
      event.preventDefault();
      dialog.showModal();
    }
  }
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog").close();
});

/* ---- "/" or cmd-K puts the cursor into the search box */
document.addEventListener("keydown", (event) => {
  const isTyping = /INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName);
  const wantsSearch = (event.key === "k" && (event.metaKey || event.ctrlKey)) || (event.key === "/" && !isTyping);
  const box = $("#q");
  if (!wantsSearch || !box) return;
  event.preventDefault();
  box.focus();
  box.select();
});

/* ---- rows that open in place: the row below is fetched once, then shown and hidden */
document.addEventListener("click", (event) => {
  const opener = event.target.closest(".row-open[aria-expanded]");
  if (!opener) return;
  const below = opener.closest("tr").nextElementSibling;
  if (!below?.matches("tr.detail")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  below.hidden = !below.hidden;
  opener.setAttribute("aria-expanded", String(!below.hidden));
}, true);
document.addEventListener("htmx:afterRequest", (event) => {
  const opener = event.detail.elt.closest?.(".row-open");
  if (opener && event.detail.successful) opener.setAttribute("aria-expanded", "true");
});

/* ---- live regions listen for "tick"; it stops while the tab is hidden, and skips a region that is being used */
setInterval(() => {
  if (document.visibilityState === "visible") document.body.dispatchEvent(new CustomEvent("tick"));
}, Number(document.body.dataset.tick) || TICK_MS);
document.addEventListener("htmx:confirm", (event) => {
  const region = event.detail.elt;
  if (event.detail.triggeringEvent?.type === "tick" && isInUse(region)) event.preventDefault();
});
function isInUse(region) {
  const focused = document.activeElement;
  return (
    (focused !== document.body && focused !== region && region.contains(focused)) ||
    $(".chart .canvas:hover, details[open], dialog[open]", region) !== null
  );
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRFToken"] = csrfToken();
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.requestConfig.triggeringEvent?.type === "tick") return;
  const id = event.detail.xhr.getResponseHeader("X-Request-Id");
  announce(`That did not work, and nothing was changed. Reload the page and try again.${id ? ` Request ${id}` : ""}`);
});
