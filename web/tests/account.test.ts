import { describe, expect, it } from "vitest";
import { Account, average, openProfit } from "../src/trader/account.ts";
import type { Fill, Order, Position, Quote, Reply, Ticket } from "../src/trader/messages.ts";

const ticket: Ticket = { symbol: "A", side: "buy", kind: "limit", quantity: 10, price: 5 };

function order(status: Order["status"], id = "o1"): Order {
  return { ...ticket, id, status, time: 0 };
}

function fill(id: number, order = "o1"): Fill {
  return { id, order, symbol: "A", side: "buy", quantity: 10, price: 5, time: 0 };
}

function position(quantity: number, cost: number, realised = 0): Position {
  return { symbol: "A", quantity, cost, realised };
}

function quote(bid: number, ask: number): Quote {
  return { symbol: "A", time: 0, bid, ask, last: bid, open: bid, high: ask, low: bid, volume: 0 };
}

function state(version: number, rest: Partial<Extract<Reply, { type: "state" }>> = {}): Reply {
  return {
    type: "state",
    time: 0,
    version,
    instruments: [],
    orders: [],
    fills: [],
    positions: [],
    ...rest,
  };
}

describe("an account", () => {
  it("follows an order from the ticket to the fill", () => {
    const account = new Account();
    account.apply(state(4));
    account.send("o1", ticket, 0);
    expect(account.orders.get("o1")?.status).toBe("sending");
    expect(account.apply({ type: "order", version: 5, order: order("working") })).toMatchObject([
      { kind: "working" },
    ]);
    expect(account.orders.get("o1")?.status).toBe("working");
    const news = account.apply({
      type: "fill",
      version: 6,
      fill: fill(1),
      position: position(10, 50),
    });
    expect(news).toMatchObject([{ kind: "filled" }]);
    expect(account.apply({ type: "order", version: 7, order: order("filled") })).toEqual([]);
    expect(account.orders.size).toBe(0);
    expect(account.fills).toHaveLength(1);
    expect(account.positions.get("A")?.quantity).toBe(10);
  });

  it("forgets an order that is rejected or cancelled, and says so", () => {
    for (const status of ["rejected", "cancelled"] as const) {
      const account = new Account();
      account.send("o1", ticket, 0);
      const news = account.apply({ type: "order", version: 1, order: order(status) });
      expect(news).toMatchObject([{ kind: status }]);
      expect(account.orders.size).toBe(0);
    }
  });

  it("forgets an order that the desk refuses", () => {
    const account = new Account();
    account.send("o1", ticket, 0);
    expect(account.apply({ type: "error", reason: "no", id: "o1" })).toEqual([
      { kind: "refused", reason: "no" },
    ]);
    expect(account.orders.size).toBe(0);
  });

  it("notices that news was missed, and takes nothing from behind the gap", () => {
    const account = new Account();
    account.apply(state(4));
    const late: Reply = { type: "fill", version: 6, fill: fill(2), position: position(20, 100) };
    expect(account.apply(late)).toEqual([{ kind: "gap" }]);
    expect(account.positions.size).toBe(0);
    expect(account.apply({ type: "alive", version: 6, time: 0, sent: 0 })).toEqual([
      { kind: "gap" },
    ]);
    account.apply(state(6, { fills: [fill(2)], positions: [position(20, 100)] }));
    expect(account.apply({ type: "alive", version: 6, time: 0, sent: 0 })).toEqual([]);
    expect(account.positions.get("A")?.quantity).toBe(20);
  });

  it("ignores what it knows already", () => {
    const account = new Account();
    account.apply(state(6));
    expect(account.apply({ type: "order", version: 6, order: order("working") })).toEqual([]);
    expect(account.orders.size).toBe(0);
  });

  it("tells which orders got lost with a connection", () => {
    const account = new Account();
    for (const id of ["lost", "works", "done"]) account.send(id, ticket, 0);
    const news = account.apply(
      state(9, { orders: [order("working", "works")], fills: [fill(1, "done")] }),
    );
    expect(news).toMatchObject([{ kind: "unconfirmed", order: { id: "lost" } }]);
    expect([...account.orders.keys()]).toEqual(["works"]);
  });

  it("values what it has at what closing it would bring", () => {
    expect(openProfit(position(10, 50), quote(6, 7))).toBe(10);
    expect(openProfit(position(-10, -50), quote(6, 7))).toBe(-20);
    expect(average(position(-10, -50))).toBe(5);
    expect(average(position(0, 0))).toBe(0);
    const account = new Account();
    account.apply(
      state(1, {
        positions: [position(10, 50, 3), { symbol: "B", quantity: 0, cost: 0, realised: -1 }],
      }),
    );
    const profit = account.profit((symbol) => (symbol === "A" ? quote(6, 7) : undefined));
    expect(profit).toEqual({ open: 10, realised: 2, total: 12, exposure: 60 });
  });
});
