import type { Fill, Order, Position, Quote, Reply, Ticket } from "./messages.ts";

/** An order that is on its way to the desk, or works there. */
export type LiveOrder = Ticket & {
  readonly id: string;
  readonly status: "sending" | "working";
  readonly time: number;
};

/** What a reply of the desk means to the trader. */
export type News =
  | { readonly kind: "filled"; readonly fill: Fill }
  | { readonly kind: "working" | "cancelled" | "rejected"; readonly order: Order }
  | { readonly kind: "unconfirmed"; readonly order: LiveOrder }
  | { readonly kind: "refused"; readonly reason: string }
  /** Something was missed: ask the desk for the state. */
  | { readonly kind: "gap" };

/** Profit, in money. */
export interface Profit {
  /** Of positions, at what they could be closed for now. */
  readonly open: number;
  /** Of what was closed. */
  readonly realised: number;
  readonly total: number;
  /** The worth of all positions, long or short. */
  readonly exposure: number;
}

/** Fills shown, newest first; the desk remembers as many. */
const FILLS_MAX = 100;

/** The trader's orders, fills and positions, as the desk tells them. */
export class Account {
  version = 0;
  readonly orders = new Map<string, LiveOrder>();
  readonly positions = new Map<string, Position>();
  fills: readonly Fill[] = [];

  /** An order is on its way. */
  send(id: string, ticket: Ticket, time: number): void {
    this.orders.set(id, { ...ticket, id, status: "sending", time });
  }

  apply(reply: Reply): readonly News[] {
    switch (reply.type) {
      case "state":
        return this.#replace(reply);
      case "order":
      case "fill":
        return this.#advance(reply);
      case "alive":
        return reply.version === this.version ? [] : [{ kind: "gap" }];
      case "error":
        if (reply.id !== undefined) this.orders.delete(reply.id);
        return [{ kind: "refused", reason: reply.reason }];
      case "history":
        return [];
    }
  }

  #replace(state: Extract<Reply, { type: "state" }>): readonly News[] {
    const sent = [...this.orders.values()].filter((order) => order.status === "sending");
    this.version = state.version;
    this.fills = state.fills;
    this.positions.clear();
    for (const position of state.positions) this.positions.set(position.symbol, position);
    this.orders.clear();
    for (const order of state.orders) this.orders.set(order.id, working(order));
    const known = new Set([...this.orders.keys(), ...this.fills.map((fill) => fill.order)]);
    // The desk works in order: what it does not know by now got lost with a connection.
    return sent
      .filter((order) => !known.has(order.id))
      .map((order) => ({ kind: "unconfirmed", order }));
  }

  #advance(reply: Extract<Reply, { type: "order" | "fill" }>): readonly News[] {
    if (reply.version <= this.version) {
      // The reply to an order that was sent twice.
      if (reply.type === "order" && reply.order.status !== "working") {
        this.orders.delete(reply.order.id);
      }
      return [];
    }
    if (reply.version !== this.version + 1) return [{ kind: "gap" }];
    this.version = reply.version;
    if (reply.type === "fill") {
      this.fills = [reply.fill, ...this.fills].slice(0, FILLS_MAX);
      this.positions.set(reply.position.symbol, reply.position);
      return [{ kind: "filled", fill: reply.fill }];
    }
    const { order } = reply;
    this.orders.delete(order.id);
    if (order.status === "working") this.orders.set(order.id, working(order));
    return order.status === "filled" ? [] : [{ kind: order.status, order }];
  }

  /** Profit of all positions at these quotes. */
  profit(quote: (symbol: string) => Quote | undefined): Profit {
    let [open, realised, exposure] = [0, 0, 0];
    for (const position of this.positions.values()) {
      realised += position.realised;
      const now = quote(position.symbol);
      if (now === undefined) continue;
      open += openProfit(position, now);
      exposure += Math.abs(position.quantity) * now.last;
    }
    return { open, realised, total: open + realised, exposure };
  }
}

/** What closing a position now would bring: a long one is sold at the bid, a short one bought back
 * at the ask. */
export function openProfit(position: Position, quote: Quote): number {
  const price = position.quantity >= 0 ? quote.bid : quote.ask;
  return position.quantity * price - position.cost;
}

/** What a unit of a position cost. */
export function average(position: Position): number {
  return position.quantity === 0 ? 0 : position.cost / position.quantity;
}

function working(order: Order): LiveOrder {
  return { ...order, status: "working" };
}
