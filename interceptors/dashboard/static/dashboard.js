"use strict";
// Pages work without this file.  With it they stay fresh, and lists can be walked by keys.
// What comes from the gateway is only ever put into a page as text.
(() => {
  const PAUSE_MS = 3000; // between two loads of a page that changes
  const ROWS = 300; // of the live page
  const main = document.querySelector("main");
  const live = document.querySelector("#live");
  const tail = document.querySelector("#tail");

  // --- staying fresh ---------------------------------------------------------------------

  let due = false;
  let loading = false;
  let last = 0;

  function stale() {
    due = true;
    if (!loading && !document.hidden) {
      loading = true;
      setTimeout(refresh, Math.max(0, last + PAUSE_MS - Date.now()));
    }
  }

  async function refresh() {
    due = false;
    main.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status === 401) {
        location.reload();
        return;
      }
      if (answer.ok) {
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
    } catch {
      // The gateway is away; the socket says so, and when it is back there is a next time.
    } finally {
      main.removeAttribute("aria-busy");
      last = Date.now();
      loading = false;
      if (due) stale();
    }
  }

  function replace(page) {
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const other = page.querySelector(`[data-fresh="${part.dataset.fresh}"]`);
      if (!other) continue;
      const focused = part.contains(document.activeElement) ? document.activeElement : null;
      const place = focused && focused.getAttribute("href");
      part.replaceWith(document.adoptNode(other));
      if (place !== null) {
        const again = [...other.querySelectorAll("a")].find((a) => a.getAttribute("href") === place);
        if (again) again.focus({ preventScroll: true });
      }
    }
  }

  // --- the feed --------------------------------------------------------------------------

  const wanted = main.dataset.refresh; // "any", or the one session that matters
  let wait = 500;

  function show(state, text) {
    live.hidden = false;
    live.className = `state ${state}`;
    const words = document.createElement("span");
    words.textContent = text;
    live.replaceChildren(words);
  }

  function connect() {
    const url = new URL(live.dataset.live, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.onmessage = (message) => heard(JSON.parse(message.data));
    socket.onclose = () => {
      show("off", "Connecting…");
      setTimeout(connect, wait);
      wait = Math.min(wait * 2, 15000);
    };
  }

  function heard(event) {
    if (event.type === "connected") {
      if (wait > 500 && wanted) stale(); // back again: something was missed
      wait = 500;
      if (event.following) show("on", "Live");
      else live.hidden = true;
    } else if (event.type === "lagged") {
      if (tail) missed(event.missed);
      else if (wanted) stale();
    } else if (tail) {
      add(event);
    } else if (wanted === "any" || wanted === event.session_id) {
      stale();
    }
  }

  // --- the live page ---------------------------------------------------------------------

  const pause = document.querySelector("#pause");
  const KINDS = {
    started: "session begins",
    request_recorded: "asked",
    response_recorded: "answered",
    tool_call_recorded: "tool",
    message_recorded: "message",
    completed: "session ends",
    error: "failed",
    gap: "missing",
  };
  let paused = false;
  let held = 0;

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    made.textContent = text;
    return made;
  }

  function add(event) {
    const kind = KINDS[event.type];
    if (!kind) return;
    if (paused) {
      held += 1;
      pause.textContent = `Go on (${held})`;
      return;
    }
    const row = element("a", "", "row");
    const place = tail.dataset.session + encodeURIComponent(event.session_id);
    const request = event.request_id ? `/request/${encodeURIComponent(event.request_id)}` : "";
    row.href = place + (kind === "session begins" || kind === "session ends" ? "" : request);
    const what = element("span", "", "what");
    what.append(element("span", event.relation || kind, "relation"), event.text || kind);
    const meta = element("span", "", "meta");
    for (const text of figures(event, kind)) meta.append(element("span", text));
    meta.append(element("code", event.session_id, "wide"));
    row.append(what, meta);
    const item = element("li", "", "fresh");
    item.append(row);
    tail.prepend(item);
    document.querySelector("#none").hidden = true;
    while (tail.children.length > ROWS) tail.lastElementChild.remove();
  }

  function figures(event, kind) {
    const found = [kind, (event.timestamp || "").slice(11, 19)];
    found.push(event.model_used || event.model_requested);
    if (event.status) found.push(String(event.status));
    if (event.latency_ms) found.push(`${Math.round(event.latency_ms).toLocaleString("en")} ms`);
    if (event.tokens) found.push(`${event.tokens.toLocaleString("en")} tokens`);
    if (event.cost_usd) found.push(`$${event.cost_usd.toFixed(5)}`);
    if (event.reason) found.push(event.reason);
    return found.filter(Boolean);
  }

  function missed(count) {
    const note = document.querySelector("#missed");
    note.textContent = `More happened than this page could take: ${count} events are not shown.`;
    note.hidden = false;
  }

  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      held = 0;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
    });
  }

  // --- keys ------------------------------------------------------------------------------

  function step(by) {
    const rows = [...document.querySelectorAll("[data-rows] a.row")];
    if (!rows.length) return;
    const here = rows.findIndex((row) => row === document.activeElement);
    const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : here + by;
    const row = rows[Math.min(Math.max(next, 0), rows.length - 1)];
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    "/": () => document.querySelector("#search")?.focus(),
    "?": () => document.querySelector(".top a")?.focus(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, pre");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    const arrow = event.key.startsWith("Arrow");
    // Arrows scroll, as everywhere, until a list is entered.
    if (arrow && !event.target.closest("[data-rows] a.row")) return;
    const act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  document.querySelector(".keys").hidden = false;
  document.addEventListener("visibilitychange", () => !document.hidden && due && stale());
  addEventListener("pagehide", () => main.setAttribute("aria-busy", "true"));
  addEventListener("pageshow", () => main.removeAttribute("aria-busy"));
  connect();
})();
