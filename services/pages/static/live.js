// Keeps a page as it is on the server: follows its events, filters without loading it anew, and replaces what differs.

const parts = (page) => page.querySelectorAll("[data-live][id]");

function replace(page) {
  for (const part of parts(page)) {
    const shown = document.getElementById(part.id);
    if (shown === null || shown.isEqualNode(part)) continue;
    const focused = shown.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...shown.querySelectorAll("details[open][id]")].map((one) => one.id);
    const scrolled = [...shown.querySelectorAll("[data-scroll][id]")].map((one) => [one.id, one.scrollTop, atEnd(one)]);
    shown.replaceWith(document.adoptNode(part));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, top, end] of scrolled) {
      const box = document.getElementById(id);
      if (box !== null) box.scrollTop = end ? box.scrollHeight : top;
    }
    if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
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
  let waits = false;
  const change = async () => {
    if (waits) return;
    waits = true;
    try {
      await refresh();
    } finally {
      waits = false;
    }
  };
  // A hidden page follows nothing: a browser has few connections to one host, and many pages may be open.
  const follow = () => {
    events?.close();
    events = null;
    if (document.hidden) return;
    events = new EventSource(followed.dataset.events);
    events.addEventListener("change", change);
  };
  follow();
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden) refresh();
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
