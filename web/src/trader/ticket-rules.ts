import type { Kind, Listing, Quote, Side, Ticket } from "./messages.ts";

/** The fields of the order ticket, as typed. */
export interface Draft {
  readonly side: Side;
  readonly kind: Kind;
  readonly quantity: string;
  readonly price: string;
}

export const QUANTITY_MAX = 100_000;

/** The order that a draft means, or what is wrong with it. The desk checks again. */
export function read(draft: Draft, listing: Listing): Ticket | string {
  const { side, kind } = draft;
  const { symbol } = listing;
  const quantity = number(draft.quantity);
  if (!Number.isInteger(quantity) || quantity < 1 || quantity > QUANTITY_MAX) {
    return "Quantity must be a whole number from 1 to 100,000";
  }
  if (kind === "market") return { symbol, side, kind, quantity };
  const price = number(draft.price);
  if (!(price > 0)) return "Limit price must be a number";
  const onTick = toTick(price, listing);
  if (Math.abs(onTick - price) > listing.tick / 1000) {
    return `Limit price must be a multiple of ${listing.tick.toFixed(listing.decimals)}`;
  }
  return { symbol, side, kind, quantity, price: onTick };
}

/** The nearest price that the instrument can have. */
export function toTick(price: number, { tick, decimals }: Listing): number {
  return Number((Math.round(price / tick) * tick).toFixed(decimals));
}

/** What the order costs or brings if it is carried out at once. */
export function estimate(draft: Draft, quote: Quote): number | undefined {
  const quantity = number(draft.quantity);
  const here = draft.side === "buy" ? quote.ask : quote.bid;
  const price = draft.kind === "market" ? here : number(draft.price);
  const value = quantity * price;
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

function number(text: string): number {
  const trimmed = text.trim().replaceAll(",", "");
  return trimmed === "" ? Number.NaN : Number(trimmed);
}
