import { byId, flash, setText } from "../shell/dom.ts";
import * as format from "./format.ts";
import type { Listing, Position, Quote, Ticket } from "./messages.ts";
import { type Draft, estimate, QUANTITY_MAX, read, toTick } from "./ticket-rules.ts";

/** The order ticket. */
export class TicketForm {
  readonly #form = byId("ticket", HTMLFormElement);
  readonly #quantity = byId("quantity", HTMLInputElement);
  readonly #price = byId("limit-price", HTMLInputElement);
  readonly #bid = byId("ticket-bid", HTMLElement);
  readonly #ask = byId("ticket-ask", HTMLElement);
  readonly #estimate = byId("estimate", HTMLElement);
  readonly #estimateLabel = byId("estimate-label", HTMLElement);
  readonly #position = byId("ticket-position", HTMLElement);
  readonly #submit = byId("submit-order", HTMLButtonElement);
  readonly #message = byId("ticket-message", HTMLElement);
  #listing: Listing | undefined;
  #quote: Quote | undefined;
  #isLive = false;

  constructor(place: (ticket: Ticket) => void) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#listing === undefined || !this.#isLive) return;
      const ticket = read(this.#draft(), this.#listing);
      if (typeof ticket === "string") this.say(ticket, "error");
      else place(ticket);
    });
    this.#form.addEventListener("input", () => this.#render());
    this.#form.addEventListener("click", ({ target }) => {
      if (target instanceof HTMLButtonElement) this.#press(target);
    });
    for (const input of [this.#quantity, this.#price]) {
      input.addEventListener("keydown", (event) => {
        const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        this.#step(input, by);
      });
    }
  }

  choose(listing: Listing, quote: Quote): void {
    this.#listing = listing;
    this.#quote = quote;
    this.#price.value = "";
    setText(byId("ticket-symbol", HTMLElement), listing.symbol);
    this.#render();
  }

  update(quote: Quote): void {
    const before = this.#quote;
    this.#quote = quote;
    this.#render();
    if (before !== undefined && before.ask !== quote.ask) {
      flash(this.#ask, quote.ask > before.ask ? "up" : "down");
    }
    if (before !== undefined && before.bid !== quote.bid) {
      flash(this.#bid, quote.bid > before.bid ? "up" : "down");
    }
  }

  hold(position: Position | undefined): void {
    setText(this.#position, position === undefined ? "0" : format.count(position.quantity));
  }

  setLive(isLive: boolean): void {
    if (this.#isLive === isLive) return;
    this.#isLive = isLive;
    this.#render();
  }

  say(text: string, kind: "ok" | "error" | "info"): void {
    setText(this.#message, text);
    this.#message.dataset["kind"] = kind;
  }

  #draft(): Draft {
    const data = new FormData(this.#form);
    return {
      side: data.get("side") === "sell" ? "sell" : "buy",
      kind: data.get("kind") === "limit" ? "limit" : "market",
      quantity: this.#quantity.value,
      price: this.#price.value,
    };
  }

  #press(button: HTMLButtonElement): void {
    const { quantity, step, by } = button.dataset;
    if (quantity !== undefined) this.#quantity.value = quantity;
    else if (step !== undefined) this.#step(byId(step, HTMLInputElement), Number(by));
    else return;
    this.#render();
  }

  #step(input: HTMLInputElement, by: number): void {
    if (this.#listing === undefined || this.#quote === undefined) return;
    if (input === this.#price) {
      const from = Number(input.value) || this.#quote.last;
      input.value = toTick(from + by * this.#listing.tick, this.#listing).toFixed(
        this.#listing.decimals,
      );
    } else {
      const from = Number(input.value) || 0;
      const size = from + Math.min(by, 0) >= 1000 ? 100 : from + Math.min(by, 0) >= 100 ? 10 : 1;
      input.value = String(Math.min(Math.max(from + by * size, 1), QUANTITY_MAX));
    }
    this.#render();
  }

  #render(): void {
    const [listing, quote, draft] = [this.#listing, this.#quote, this.#draft()];
    if (listing === undefined || quote === undefined) return;
    const { decimals, symbol } = listing;
    setText(this.#bid, format.price(quote.bid, decimals));
    setText(this.#ask, format.price(quote.ask, decimals));
    const isLimit = draft.kind === "limit";
    if (this.#price.disabled === isLimit) {
      this.#price.disabled = !isLimit;
      for (const button of this.#form.querySelectorAll<HTMLButtonElement>(
        "[data-step=limit-price]",
      )) {
        button.disabled = !isLimit;
      }
      // A limit starts from the price on the own side of the market, where it would wait.
      const here = draft.side === "buy" ? quote.bid : quote.ask;
      this.#price.value = isLimit ? here.toFixed(decimals) : "";
    }
    const worth = estimate(this.#draft(), quote);
    setText(this.#estimateLabel, draft.side === "buy" ? "Estimated cost" : "Estimated proceeds");
    setText(this.#estimate, worth === undefined ? "–" : format.amount(worth));
    const verb = draft.side === "buy" ? "Buy" : "Sell";
    const quantity = Number(draft.quantity.replaceAll(",", "")) || 0;
    const how = isLimit ? `at ${this.#price.value || "–"}` : "at market";
    const label = this.#isLive
      ? `${verb} ${format.count(quantity)} ${symbol} ${how}`
      : "Waiting for the market…";
    setText(this.#submit, label);
    this.#submit.disabled = !this.#isLive;
    this.#submit.classList.toggle("buy", draft.side === "buy");
    this.#submit.classList.toggle("sell", draft.side === "sell");
  }
}
