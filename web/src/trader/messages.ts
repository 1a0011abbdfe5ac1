/**
 * What the page and the order desk say to each other: JSON in STOMP bodies.
 *
 * Requests go to `/queue/orders`, with `reply-to:/temp-queue/trader`; replies come to that queue.
 * Quotes come on `/topic/quotes.<SYMBOL>`. The same words stand in `crates/demo/src/messages.rs`.
 */

/** What an instrument costs at a moment. */
export interface Quote {
  readonly symbol: string;
  /** When it was made, in Unix milliseconds of the market's clock. */
  readonly time: number;
  /** What a seller gets. */
  readonly bid: number;
  /** What a buyer pays. */
  readonly ask: number;
  /** The price of the last trade. */
  readonly last: number;
  /** The first price of the session. */
  readonly open: number;
  readonly high: number;
  readonly low: number;
  /** Units traded in the session. */
  readonly volume: number;
}

export interface Listing {
  readonly symbol: string;
  readonly name: string;
  readonly sector: string;
  /** Digits after the decimal point that show every price. */
  readonly decimals: number;
  /** The smallest step of the price. */
  readonly tick: number;
  readonly quote: Quote;
  /** The course of the last hour, oldest first. */
  readonly hour: readonly number[];
}

export type Side = "buy" | "sell";
export type Kind = "market" | "limit";

export interface Ticket {
  readonly symbol: string;
  readonly side: Side;
  readonly quantity: number;
  readonly kind: Kind;
  /** Of a limit order. */
  readonly price?: number;
}

export interface Order extends Ticket {
  /** Chosen by the page. */
  readonly id: string;
  readonly status: "working" | "filled" | "cancelled" | "rejected";
  /** Why it was rejected. */
  readonly reason?: string;
  readonly time: number;
}

/** An order carried out. */
export interface Fill {
  readonly id: number;
  /** The id of the order. */
  readonly order: string;
  readonly symbol: string;
  readonly side: Side;
  readonly quantity: number;
  readonly price: number;
  readonly time: number;
}

export interface Position {
  readonly symbol: string;
  /** Negative when more was sold than bought. */
  readonly quantity: number;
  /** What was paid for it; negative when it was sold. */
  readonly cost: number;
  /** Profit of what was closed. */
  readonly realised: number;
}

/** Start in Unix seconds, open, high, low, close, volume. */
export type CandleRow = readonly [number, number, number, number, number, number];

/** `trader` is a random secret kept by the browser, which identifies the trader. */
export type Request =
  | { readonly type: "hello"; readonly trader: string }
  | {
      readonly type: "alive";
      readonly trader: string;
      readonly version: number;
      /** Comes back unchanged. */
      readonly sent: number;
    }
  | ({ readonly type: "order"; readonly trader: string; readonly id: string } & Ticket)
  | { readonly type: "cancel"; readonly trader: string; readonly id: string }
  | { readonly type: "history"; readonly trader: string; readonly symbol: string };

/** `version` counts what happened to the trader; a gap in it means that news was missed. */
export type Reply =
  | {
      readonly type: "state";
      readonly time: number;
      readonly version: number;
      readonly instruments: readonly Listing[];
      readonly orders: readonly Order[];
      /** Newest first. */
      readonly fills: readonly Fill[];
      readonly positions: readonly Position[];
    }
  | { readonly type: "order"; readonly version: number; readonly order: Order }
  | {
      readonly type: "fill";
      readonly version: number;
      readonly fill: Fill;
      readonly position: Position;
    }
  | {
      readonly type: "alive";
      readonly time: number;
      readonly version: number;
      readonly sent: number;
    }
  | {
      readonly type: "history";
      readonly symbol: string;
      /** Length of a candle. */
      readonly seconds: number;
      readonly candles: readonly CandleRow[];
    }
  | { readonly type: "error"; readonly reason: string; readonly id?: string };
