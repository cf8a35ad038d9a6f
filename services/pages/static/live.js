// Keeps a page as it is on the server: follows its events, filters without loading it anew, and replaces what differs.

const parts = (page) => page.querySelectorAll("[data-live][id]");
const withSelf = (part, selector) => [part, ...part.querySelectorAll("*")].filter((one) => one.matches(selector));

// Puts a section that has come to be where it is on the page.
function insert(part) {
  for (let one = part.previousElementSibling; one !== null; one = one.previousElementSibling) {
    const shown = one.id === "" ? null : document.getElementById(one.id);
    if (shown !== null) return shown.after(document.adoptNode(part));
  }
  for (let one = part.nextElementSibling; one !== null; one = one.nextElementSibling) {
    const shown = one.id === "" ? null : document.getElementById(one.id);
    if (shown !== null) return shown.before(document.adoptNode(part));
  }
}

function focusedIn(part) {
  const focused = document.activeElement;
  if (!part.contains(focused)) return "";
  if (focused.id !== "") return `#${CSS.escape(focused.id)}`;
  const address = focused.getAttribute("href");
  return address === null ? "" : `[href="${CSS.escape(address)}"]`;
}

function replace(page) {
  for (const part of [...parts(document)]) {
    if (part.matches("section") && page.getElementById(part.id) === null) part.remove();
  }
  for (const part of [...page.querySelectorAll("section[id]")]) {
    if (document.getElementById(part.id) === null) insert(part);
  }
  for (const part of parts(page)) {
    const shown = document.getElementById(part.id);
    if (shown === null || shown.isEqualNode(part)) continue;
    const focused = focusedIn(shown);
    const open = [...shown.querySelectorAll("details[open][id]")].map((one) => one.id);
    const scrolled = withSelf(shown, "[data-scroll][id]").map((one) => [one.id, one.scrollTop, atEnd(one)]);
    shown.replaceWith(document.adoptNode(part));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, top, end] of scrolled) {
      const box = document.getElementById(id);
      if (box !== null) box.scrollTop = end ? box.scrollHeight : top;
    }
    if (focused !== "") withSelf(part, focused)[0]?.focus({ preventScroll: true });
  }
  document.dispatchEvent(new CustomEvent("refreshed", { detail: page }));
}

const atEnd = (box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 4;

let latest = 0;

export async function refresh(address = location.href) {
  const own = ++latest;
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.redirected) return location.reload(); // the log-in has expired
  const text = await answer.text();
  if (answer.ok && own === latest) replace(new DOMParser().parseFromString(text, "text/html"));
}

const followed = document.querySelector("[data-events]");
if (followed !== null) {
  let events = null;
  let loading = false;
  let again = false;
  const change = async () => {
    again = true;
    if (loading) return;
    loading = true;
    try {
      while (again) {
        again = false;
        await refresh();
      }
    } finally {
      loading = false;
    }
  };
  // A hidden page follows nothing: a browser has few connections to one host, and many pages may be open.
  const follow = () => {
    events?.close();
    events = null;
    if (document.hidden) return;
    events = new EventSource(followed.dataset.events);
    events.addEventListener("change", change);
    events.addEventListener("error", () => {
      if (events?.readyState !== EventSource.CLOSED) return; // else the browser connects again by itself
      events = null;
      setTimeout(() => change().catch(() => {}).finally(follow), 5000); // the log-in has expired, or the service was away
    });
  };
  follow();
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) change();
  });
}

for (const form of document.querySelectorAll("form[data-filter]")) {
  let timer;
  const apply = () => {
    const fields = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = `${location.pathname}?${new URLSearchParams(fields)}`;
    history.replaceState(null, "", address);
    return refresh(address);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    apply();
  });
  form.querySelector("[data-without-script]")?.remove();
}

for (const box of document.querySelectorAll("[data-scroll]")) box.scrollTop = box.scrollHeight;
