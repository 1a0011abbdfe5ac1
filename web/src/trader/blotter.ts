import { byId, el, flash, setText } from "../shell/dom.ts";
import { type Account, average, type LiveOrder, openProfit } from "./account.ts";
import * as format from "./format.ts";
import type { Fill, Listing, Position, Quote } from "./messages.ts";

/** What the blotter asks for. */
export interface BlotterActions {
  readonly cancel: (id: string) => void;
  /** Close a position at the market. */
  readonly close: (position: Position) => void;
  readonly choose: (symbol: string) => void;
}

/** Looks up what is known of an instrument. */
export interface Lookup {
  readonly listing: (symbol: string) => Listing | undefined;
  readonly quote: (symbol: string) => Quote | undefined;
}

/** Positions, working orders, fills and totals. */
export class Blotter {
  readonly #positions = byId("positions", HTMLTableSectionElement);
  readonly #orders = byId("orders", HTMLTableSectionElement);
  readonly #fills = byId("fills", HTMLTableSectionElement);
  readonly #actions: BlotterActions;
  readonly #lookup: Lookup;
  readonly #positionRows = new Map<string, PositionRow>();
  readonly #orderRows = new Map<
    string,
    { readonly row: HTMLElement; readonly away: HTMLElement }
  >();
  #fillShown = 0;

  constructor(actions: BlotterActions, lookup: Lookup) {
    this.#actions = actions;
    this.#lookup = lookup;
  }

  /** Orders, fills or positions have changed. */
  change(account: Account): void {
    this.#showPositions(account);
    this.#showOrders(account);
    this.#showFills(account.fills);
    this.update(account);
  }

  /** Prices have changed. */
  update(account: Account): void {
    for (const position of account.positions.values()) {
      const [row, quote] = [
        this.#positionRows.get(position.symbol),
        this.#lookup.quote(position.symbol),
      ];
      if (row !== undefined && quote !== undefined) this.#value(row, position, quote);
    }
    for (const order of account.orders.values()) {
      const [entry, quote] = [this.#orderRows.get(order.id), this.#lookup.quote(order.symbol)];
      if (entry === undefined || quote === undefined || order.price === undefined) continue;
      const here = order.side === "buy" ? quote.ask : quote.bid;
      setText(entry.away, format.percent(Math.abs(order.price / here - 1)).replace("+", ""));
    }
    const profit = account.profit(this.#lookup.quote);
    money("profit-total", profit.total);
    money("profit-open", profit.open);
    money("profit-realised", profit.realised);
    setText(byId("exposure", HTMLElement), format.amount(profit.exposure));
  }

  #value(row: PositionRow, position: Position, quote: Quote): void {
    const decimals = this.#lookup.listing(position.symbol)?.decimals ?? 2;
    const profit = position.quantity === 0 ? position.realised : openProfit(position, quote);
    setText(row.price, format.price(quote.last, decimals));
    setText(row.profit, format.signedMoney(profit));
    tint(row.profit, profit);
  }

  #showPositions(account: Account): void {
    const open = [...account.positions.values()].filter(({ quantity }) => quantity !== 0);
    const kept = new Set(open.map(({ symbol }) => symbol));
    for (const [symbol, { row }] of this.#positionRows) {
      if (kept.has(symbol)) continue;
      row.remove();
      this.#positionRows.delete(symbol);
    }
    for (const position of open) {
      let row = this.#positionRows.get(position.symbol);
      if (row === undefined) {
        row = this.#makePosition(position.symbol, account);
        this.#positionRows.set(position.symbol, row);
        this.#positions.append(row.row);
      }
      const decimals = this.#lookup.listing(position.symbol)?.decimals ?? 2;
      const isNew = setText(row.quantity, format.count(position.quantity));
      setText(row.average, format.price(average(position), decimals));
      if (isNew) flash(row.row, "accent");
    }
    tally("positions", open.length);
  }

  #makePosition(symbol: string, account: Account): PositionRow {
    const id = (what: string) => ({ "data-testid": `position-${what}${symbol}` });
    const cell = (what: string) => el("td", { ...id(`${what}-`), class: "num" });
    const cells = {
      quantity: cell("quantity"),
      average: cell("average"),
      price: cell("price"),
      profit: cell("profit"),
    };
    const close = el(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Close ${symbol}`,
        title: "Close at the market",
      },
      "×",
    );
    close.addEventListener("click", () => {
      const position = account.positions.get(symbol);
      if (position !== undefined) this.#actions.close(position);
    });
    const row = el(
      "tr",
      id(""),
      el("th", { scope: "row" }, this.#link(symbol)),
      cells.quantity,
      cells.average,
      cells.price,
      cells.profit,
      el("td", { class: "act" }, close),
    );
    return { row, ...cells };
  }

  #showOrders(account: Account): void {
    for (const [id, { row }] of this.#orderRows) {
      const order = account.orders.get(id);
      if (order?.status === row.dataset["status"]) continue;
      row.remove();
      this.#orderRows.delete(id);
    }
    for (const order of account.orders.values()) {
      if (this.#orderRows.has(order.id)) continue;
      const entry = this.#makeOrder(order);
      this.#orderRows.set(order.id, entry);
      this.#orders.prepend(entry.row);
      flash(entry.row, "accent");
    }
    tally("orders", account.orders.size);
  }

  #makeOrder(order: LiveOrder): { row: HTMLElement; away: HTMLElement } {
    const away = el("td", { class: "num muted" });
    const decimals = this.#lookup.listing(order.symbol)?.decimals ?? 2;
    const cancel = el(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-testid": "cancel-order",
        "aria-label": `Cancel ${order.side} ${order.quantity} ${order.symbol}`,
        title: "Cancel",
        disabled: order.status === "sending",
      },
      order.status === "sending" ? "…" : "×",
    );
    cancel.addEventListener("click", () => {
      cancel.disabled = true;
      this.#actions.cancel(order.id);
    });
    const row = el(
      "tr",
      {
        "data-testid": "order-row",
        "data-id": order.id,
        "data-symbol": order.symbol,
        "data-side": order.side,
        "data-status": order.status,
      },
      el("th", { scope: "row" }, ...this.#deal(order)),
      el(
        "td",
        { class: "num" },
        order.price === undefined ? "market" : format.price(order.price, decimals),
      ),
      away,
      el("td", { class: "act" }, cancel),
    );
    return { row, away };
  }

  #showFills(fills: readonly Fill[]): void {
    const newest = fills[0]?.id ?? 0;
    if (newest < this.#fillShown || newest - this.#fillShown > fills.length)
      this.#fills.replaceChildren();
    const shown = this.#fills.childElementCount === 0 ? 0 : this.#fillShown;
    for (const fill of fills.filter(({ id }) => id > shown).toReversed()) {
      const row = this.#makeFill(fill);
      this.#fills.prepend(row);
      if (shown > 0 || fills.length === 1) flash(row, "accent");
    }
    while (this.#fills.childElementCount > fills.length) this.#fills.lastElementChild?.remove();
    this.#fillShown = newest;
    tally("fills", fills.length);
  }

  #makeFill(fill: Fill): HTMLElement {
    const decimals = this.#lookup.listing(fill.symbol)?.decimals ?? 2;
    return el(
      "tr",
      {
        "data-testid": "fill-row",
        "data-symbol": fill.symbol,
        "data-side": fill.side,
        "data-quantity": fill.quantity,
        "data-price": fill.price,
      },
      el("td", { class: "num muted" }, format.time(fill.time)),
      el("th", { scope: "row" }, ...this.#deal(fill)),
      el("td", { class: "num" }, format.price(fill.price, decimals)),
    );
  }

  #deal({ side, quantity, symbol }: Pick<Fill, "side" | "quantity" | "symbol">): Node[] {
    return [
      el("span", { class: `tag ${side}` }, side),
      document.createTextNode(` ${format.count(quantity)} `),
      this.#link(symbol),
    ];
  }

  #link(symbol: string): HTMLElement {
    const link = el("button", { type: "button", class: "link" }, symbol);
    link.addEventListener("click", () => this.#actions.choose(symbol));
    return link;
  }
}

interface PositionRow {
  readonly row: HTMLElement;
  readonly quantity: HTMLElement;
  readonly average: HTMLElement;
  readonly price: HTMLElement;
  readonly profit: HTMLElement;
}

function money(id: string, value: number): void {
  const element = byId(id, HTMLElement);
  setText(element, format.signedMoney(value));
  element.dataset["value"] = value.toFixed(2);
  tint(element, value);
}

function tint(element: HTMLElement, value: number): void {
  const sign = Math.abs(value) < 0.005 ? "flat" : value > 0 ? "up" : "down";
  if (element.dataset["trend"] !== sign) element.dataset["trend"] = sign;
}

function tally(what: string, count: number): void {
  setText(byId(`${what}-count`, HTMLElement), count === 0 ? "" : String(count));
  byId(`${what}-empty`, HTMLElement).hidden = count > 0;
}
