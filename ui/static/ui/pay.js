/* Hosted payment pages: waits for an outcome, leads on, and tells the page around a frame. Each works without it. */
const WAIT_MS = 1500;
const LEAVE_MS = 1800;

const page = document.querySelector("[data-pay]");
const isFramed = window.parent !== window;

if (page?.dataset.state) setTimeout(look, WAIT_MS);
if (page?.dataset.event) {
  if (isFramed) tell();
  else if (page.dataset.back) setTimeout(() => location.assign(page.dataset.back), LEAVE_MS);
}
const onward = document.querySelector("[data-continue]");
if (onward && !isFramed) setTimeout(() => location.assign(onward.href), LEAVE_MS);
/* A bank's page does not let itself be framed: it opens beside the frame, and this page goes on when it is done. */
const step = document.querySelector("[data-go]");
if (step && isFramed) step.target = "_blank";

/* A form sent twice would be refused the second time; the button says so first. Not before the form is read, though:
   a button that is disabled by then is not sent with it, and which one was pressed is what some forms say. */
document.addEventListener("submit", (event) => {
  setTimeout(() => {
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  });
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false;
});

async function look() {
  try {
    const answer = await fetch(page.dataset.state, { headers: { Accept: "application/json" } });
    const { stamp } = await answer.json();
    if (stamp !== page.dataset.stamp) return location.reload();
  } catch {
    /* no connection for the moment: ask again */
  }
  setTimeout(look, WAIT_MS);
}

/* Only to sites that the merchant listed. Where the browser says which one it is, the others are not even tried. */
function tell() {
  const origins = page.dataset.origins.split(" ").filter(Boolean);
  const around = location.ancestorOrigins?.[0];
  const { event, id, entity } = page.dataset;
  for (const origin of around ? origins.filter((each) => each === around) : origins) {
    window.parent.postMessage({ type: event, paymentSessionId: id, entity }, origin);
  }
}
