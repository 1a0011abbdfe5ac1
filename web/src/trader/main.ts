import { byId, el, flash, setText } from "../shell/dom.ts";
import { findService } from "../shell/find.ts";
import { Account, type News } from "./account.ts";
import { AgeMeter } from "./age.ts";
import { Blotter } from "./blotter.ts";
import { fromRow } from "./candles.ts";
import { Chart } from "./chart.ts";
import { Clock } from "./clock.ts";
import { Desk, randomId, trader } from "./desk.ts";
import * as format from "./format.ts";
import type { Listing, Quote, Reply, Request, Ticket } from "./messages.ts";
import { Status } from "./status.ts";
import { TicketForm } from "./ticket.ts";
import { Watch } from "./watch.ts";

const ALIVE_EVERY_MS = 5000;
/** An order that waited longer than this for the desk is dropped by the gateway. */
const ORDER_EXPIRES_MS = 10_000;
/** Beyond this, what a hidden page missed is asked for again. */
const HIDDEN_MAX_MS = 5000;
const TOAST_MS = 5000;

const me = trader(localStorage);
const account = new Account();
const clock = new Clock();
const ages = new AgeMeter();
const listings = new Map<string, Listing>();
const quotes = new Map<string, Quote>();

/** What changed since the last frame was painted. */
const changed = new Set<string>();
let accountChanged = false;
let frameAsked = false;

let chosen = location.hash.slice(1);
let hiddenAt = 0;
let gapAsked = false;

const status = new Status();
const watch = new Watch(choose, open);
const chart = new Chart();
const ticket = new TicketForm(place);
const blotter = new Blotter(
  {
    cancel: (id) => ask({ type: "cancel", trader: me, id }),
    close: ({ symbol, quantity }) =>
      place({
        symbol,
        side: quantity > 0 ? "sell" : "buy",
        kind: "market",
        quantity: Math.abs(quantity),
      }),
    choose: open,
  },
  { listing: (symbol) => listings.get(symbol), quote: (symbol) => quotes.get(symbol) },
);

const desk = new Desk({
  connected: () => {
    status.connected();
    gapAsked = false;
    ask({ type: "hello", trader: me });
  },
  lost: () => {
    status.lost();
    ticket.setLive(false);
  },
  refused: (why) => say(`The gateway refused: ${why}`, "error"),
  quote: (quote) => {
    status.quote(performance.now());
    quotes.set(quote.symbol, quote);
    changed.add(quote.symbol);
    paintSoon();
  },
  reply,
});

function ask(request: Request): boolean {
  const now = clock.market(Date.now());
  return desk.ask(request, clock.isSet ? now + ORDER_EXPIRES_MS : undefined);
}

function place(order: Ticket): void {
  const id = randomId().slice(0, 16);
  if (!ask({ type: "order", trader: me, id, ...order })) {
    ticket.say("There is no connection: the order was not sent", "error");
    return;
  }
  account.send(id, order, Date.now());
  ticket.say("Sending…", "info");
  accountChanged = true;
  paintSoon();
}

function reply(message: Reply): void {
  status.reply(performance.now());
  if (message.type === "alive") alive(message.sent, message.time, message.version);
  if (message.type === "state") enter(message.instruments);
  if (message.type === "history" && message.symbol === chosen) {
    chart.history(message.candles.map(fromRow), message.seconds);
  }
  for (const news of account.apply(message)) tell(news);
  accountChanged = true;
  paintSoon();
}

/** The desk is there; our greeting may have got lost. */
function alive(sent: number, replied: number, version: number): void {
  clock.sample(sent, replied, Date.now());
  if (listings.size === 0) ask({ type: "hello", trader: me });
  else if (version === account.version) status.entered();
}

/** The desk has listed the instruments. */
function enter(instruments: readonly Listing[]): void {
  gapAsked = false;
  for (const listing of instruments) {
    listings.set(listing.symbol, listing);
    if (!quotes.has(listing.symbol)) quotes.set(listing.symbol, listing.quote);
  }
  watch.list(instruments);
  choose(listings.has(chosen) ? chosen : (instruments[0]?.symbol ?? ""));
  status.entered();
}

function choose(symbol: string): void {
  const [listing, quote] = [listings.get(symbol), quotes.get(symbol)];
  if (listing === undefined || quote === undefined) return;
  const isNew = symbol !== chosen || byId("selected-symbol", HTMLElement).textContent !== symbol;
  chosen = symbol;
  watch.mark(symbol);
  if (isNew) {
    history.replaceState(null, "", `#${symbol}`);
    byId("chart", HTMLElement).setAttribute("aria-label", `Price chart of ${symbol}`);
    setText(byId("selected-symbol", HTMLElement), symbol);
    setText(byId("selected-name", HTMLElement), listing.name);
    chart.choose(listing);
    ticket.choose(listing, quote);
    focus(listing, quote);
    accountChanged = true;
    paintSoon();
  }
  ask({ type: "history", trader: me, symbol });
}

function open(symbol: string): void {
  choose(symbol);
  show("trade");
}

function tell(news: News): void {
  switch (news.kind) {
    case "filled": {
      const { side, quantity, symbol, price } = news.fill;
      const decimals = listings.get(symbol)?.decimals ?? 2;
      const did = side === "buy" ? "Bought" : "Sold";
      const at = format.price(price, decimals);
      say(`${did} ${format.count(quantity)} ${symbol} at ${at}`, "ok");
      break;
    }
    case "working": {
      const { side, quantity, symbol } = news.order;
      say(`Working: ${side} ${format.count(quantity)} ${symbol}`, "info");
      break;
    }
    case "cancelled":
      say(`Cancelled: ${news.order.side} ${news.order.quantity} ${news.order.symbol}`, "info");
      break;
    case "rejected":
      say(`Rejected: ${news.order.reason ?? "the desk gave no reason"}`, "error");
      break;
    case "refused":
      say(`The desk refused: ${news.reason}`, "error");
      break;
    case "unconfirmed":
      say(`Not received: ${news.order.side} ${news.order.quantity} ${news.order.symbol}`, "error");
      break;
    case "gap":
      if (!gapAsked) gapAsked = ask({ type: "hello", trader: me });
      break;
  }
}

/** Says it in the ticket, and in passing where the ticket cannot be seen. */
function say(text: string, kind: "ok" | "error" | "info"): void {
  ticket.say(text, kind);
  if (byId("ticket", HTMLElement).offsetParent !== null) return;
  const toast = el("p", { class: "toast", "data-kind": kind }, text);
  byId("toasts", HTMLElement).append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

function paintSoon(): void {
  if (frameAsked) return;
  frameAsked = true;
  requestAnimationFrame(paint);
}

/** Paints what changed, once for all messages since the last frame. */
function paint(): void {
  frameAsked = false;
  for (const symbol of changed) {
    const quote = quotes.get(symbol);
    if (quote === undefined) continue;
    watch.update(quote);
    const listing = symbol === chosen ? listings.get(symbol) : undefined;
    if (listing !== undefined) {
      focus(listing, quote);
      chart.update(quote);
      ticket.update(quote);
    }
    ages.add(performance.now(), clock.market(Date.now()) - quote.time);
  }
  if (accountChanged) {
    blotter.change(account);
    ticket.hold(account.positions.get(chosen));
    const orders = [...account.orders.values()].filter(({ symbol }) => symbol === chosen);
    chart.mark(account.positions.get(chosen), orders);
  } else if ([...changed].some((symbol) => account.positions.has(symbol)) || changed.size > 0) {
    blotter.update(account);
  }
  changed.clear();
  accountChanged = false;
}

/** The head of the chart. */
function focus(listing: Listing, quote: Quote): void {
  const last = byId("selected-last", HTMLElement);
  const price = (value: number) => format.price(value, listing.decimals);
  const before = last.textContent;
  if (setText(last, price(quote.last)) && before !== null) {
    flash(last, price(quote.last) > before ? "up" : "down");
  }
  const change = quote.last - quote.open;
  const changeElement = byId("selected-change", HTMLElement);
  const sign = change > 0 ? "+" : change < 0 ? "−" : "";
  setText(
    changeElement,
    `${sign}${price(Math.abs(change))} (${format.percent(quote.last / quote.open - 1)})`,
  );
  changeElement.dataset["trend"] = change > 0 ? "up" : change < 0 ? "down" : "flat";
  setText(byId("selected-bid", HTMLElement), price(quote.bid));
  setText(byId("selected-ask", HTMLElement), price(quote.ask));
  setText(byId("selected-low", HTMLElement), price(quote.low));
  setText(byId("selected-high", HTMLElement), price(quote.high));
  setText(byId("selected-volume", HTMLElement), format.short(quote.volume));
}

/** Which part a phone shows; larger screens show all of them. */
function show(view: string): void {
  byId("main", HTMLElement).dataset["view"] = view;
  for (const tab of document.querySelectorAll<HTMLElement>(".tabs button")) {
    tab.setAttribute("aria-pressed", String(tab.dataset["view"] === view));
  }
  if (byId("main", HTMLElement).clientWidth < 820) scrollTo(0, 0);
}

document.querySelector(".tabs")?.addEventListener("click", ({ target }) => {
  const tab = target instanceof Element ? target.closest<HTMLElement>("button") : null;
  if (tab?.dataset["view"] !== undefined) show(tab.dataset["view"]);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (performance.now() - hiddenAt > HIDDEN_MAX_MS && chosen !== "") choose(chosen);
});

setInterval(() => {
  if (desk.isConnected) {
    ask({ type: "alive", trader: me, version: account.version, sent: Date.now() });
  }
}, ALIVE_EVERY_MS);

setInterval(() => {
  status.show(performance.now(), ages.read(performance.now()));
  ticket.setLive(status.isLive);
  byId("main", HTMLElement).classList.toggle("stale", !status.isLive);
  const [listing, quote] = [listings.get(chosen), quotes.get(chosen)];
  if (listing !== undefined && quote !== undefined) {
    document.title = `${format.price(quote.last, listing.decimals)} ${chosen} · Passerelle`;
  }
}, 250);

void findService("broker").then((broker) => {
  if (broker === undefined) status.absent();
  else desk.start(broker);
});
