import { byId, el, flash, setText } from "../shell/dom.ts";
import * as format from "./format.ts";
import type { Listing, Quote } from "./messages.ts";

interface Row {
  readonly listing: Listing;
  readonly element: HTMLElement;
  readonly bid: HTMLElement;
  readonly ask: HTMLElement;
  readonly last: HTMLElement;
  readonly change: HTMLElement;
  readonly spark: SVGPolylineElement;
  quote: Quote;
  drawnAt: number;
}

const SPARK_EVERY_MS = 1000;
const SPARK = { width: 64, height: 24 };

/** The list of instruments. */
export class Watch {
  readonly #list = byId("instruments", HTMLElement);
  readonly #find = byId("find", HTMLInputElement);
  readonly #sector = byId("sector", HTMLSelectElement);
  readonly #nothing = byId("nothing-found", HTMLElement);
  readonly #rows = new Map<string, Row>();
  readonly #choose: (symbol: string) => void;
  readonly #open: (symbol: string) => void;
  #chosen = "";

  /** `open` is for a click or Enter, `choose` for moving along the list. */
  constructor(choose: (symbol: string) => void, open: (symbol: string) => void) {
    this.#choose = choose;
    this.#open = open;
    this.#find.addEventListener("input", () => this.#filter());
    this.#sector.addEventListener("change", () => this.#filter());
    this.#list.addEventListener("click", (event) => {
      const row =
        event.target instanceof Element ? event.target.closest<HTMLElement>("[role=option]") : null;
      if (row?.dataset["symbol"] !== undefined) open(row.dataset["symbol"]);
    });
    this.#list.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Shows these instruments. */
  list(listings: readonly Listing[]): void {
    const same =
      listings.length === this.#rows.size && listings.every(({ symbol }) => this.#rows.has(symbol));
    if (!same) {
      this.#rows.clear();
      for (const listing of listings) this.#rows.set(listing.symbol, makeRow(listing));
      this.#list.replaceChildren(...[...this.#rows.values()].map(({ element }) => element));
      const sectors = [...new Set(listings.map(({ sector }) => sector))];
      this.#sector.replaceChildren(
        el("option", { value: "" }, "All sectors"),
        ...sectors.map((sector) => el("option", { value: sector }, sector)),
      );
      this.#filter();
    }
    for (const { quote } of listings) this.update(quote);
  }

  /** Paints a quote. */
  update(quote: Quote): void {
    const row = this.#rows.get(quote.symbol);
    if (row === undefined) return;
    const { decimals } = row.listing;
    const before = row.quote;
    row.quote = quote;
    setText(row.bid, format.price(quote.bid, decimals));
    setText(row.ask, format.price(quote.ask, decimals));
    if (setText(row.last, format.price(quote.last, decimals)) && before.last !== quote.last) {
      flash(row.last, quote.last > before.last ? "up" : "down");
    }
    const change = quote.last / quote.open - 1;
    setText(row.change, format.percent(change));
    row.element.dataset["trend"] = change > 0 ? "up" : change < 0 ? "down" : "flat";
    if (quote.time - row.drawnAt > SPARK_EVERY_MS) draw(row);
  }

  /** Marks the chosen instrument. */
  mark(symbol: string): void {
    this.#rows.get(this.#chosen)?.element.setAttribute("aria-selected", "false");
    this.#chosen = symbol;
    const row = this.#rows.get(symbol)?.element;
    row?.setAttribute("aria-selected", "true");
    if (row !== undefined) this.#list.setAttribute("aria-activedescendant", row.id);
  }

  #filter(): void {
    const words = this.#find.value.trim().toLowerCase();
    let shown = 0;
    for (const { listing, element } of this.#rows.values()) {
      const text = `${listing.symbol} ${listing.name}`.toLowerCase();
      const fits = text.includes(words) && ["", listing.sector].includes(this.#sector.value);
      element.hidden = !fits;
      if (fits) shown += 1;
    }
    this.#nothing.hidden = shown > 0 || this.#rows.size === 0;
  }

  #move(event: KeyboardEvent): void {
    if (event.key === "Enter") this.#open(this.#chosen);
    const rows = [...this.#rows.values()].filter(({ element }) => !element.hidden);
    const at = rows.findIndex(({ listing }) => listing.symbol === this.#chosen);
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      Home: 0,
      End: rows.length - 1,
    };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const row = rows[Math.min(Math.max(to, 0), rows.length - 1)];
    if (row === undefined) return;
    this.#choose(row.listing.symbol);
    row.element.scrollIntoView({ block: "nearest" });
  }
}

function makeRow(listing: Listing): Row {
  const { symbol, name, quote } = listing;
  const id = (what: string) => ({ "data-testid": `${what}-${symbol}` });
  const bid = el("span", { ...id("bid"), class: "bid num" });
  const ask = el("span", { ...id("ask"), class: "ask num" });
  const last = el("b", { ...id("last"), class: "last num" });
  const change = el("span", { ...id("change"), class: "change num" });
  const spark = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
  picture.setAttribute("aria-hidden", "true");
  picture.classList.add("spark");
  picture.append(spark);
  const element = el(
    "div",
    {
      ...id("instrument"),
      id: `instrument-${symbol}`,
      role: "option",
      "aria-selected": "false",
      "data-symbol": symbol,
    },
    el("span", { class: "who" }, el("b", {}, symbol), el("span", { class: "muted" }, name)),
    picture,
    el("span", { class: "book" }, bid, ask),
    el("span", { class: "now" }, last, change),
  );
  return { listing, element, bid, ask, last, change, spark, quote, drawnAt: 0 };
}

function draw(row: Row): void {
  row.drawnAt = row.quote.time;
  const values = [...row.listing.hour, row.quote.last];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = SPARK.width / Math.max(1, values.length - 1);
  const y = (SPARK.height - 4) / (high - low || 1);
  const points = values.map(
    (value, at) => `${(at * x).toFixed(1)},${(SPARK.height - 2 - (value - low) * y).toFixed(1)}`,
  );
  row.spark.setAttribute("points", points.join(" "));
}
