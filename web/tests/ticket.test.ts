import { describe, expect, it } from "vitest";
import type { Listing, Quote } from "../src/trader/messages.ts";
import { type Draft, estimate, read, toTick } from "../src/trader/ticket-rules.ts";

const quote: Quote = {
  symbol: "A",
  time: 0,
  bid: 9.9,
  ask: 10.1,
  last: 10,
  open: 10,
  high: 10,
  low: 10,
  volume: 0,
};
const listing: Listing = {
  symbol: "A",
  name: "A",
  sector: "S",
  decimals: 2,
  tick: 0.05,
  quote,
  hour: [],
};
const draft: Draft = { side: "buy", kind: "limit", quantity: "10", price: "9.95" };

describe("the ticket", () => {
  it("reads what was typed", () => {
    expect(read(draft, listing)).toEqual({
      symbol: "A",
      side: "buy",
      kind: "limit",
      quantity: 10,
      price: 9.95,
    });
    expect(read({ ...draft, quantity: " 1,000 ", kind: "market", price: "" }, listing)).toEqual({
      symbol: "A",
      side: "buy",
      kind: "market",
      quantity: 1000,
    });
  });

  it.each([
    ["no quantity", { quantity: "" }, /whole number/],
    ["part of a unit", { quantity: "1.5" }, /whole number/],
    ["nothing", { quantity: "0" }, /whole number/],
    ["less than nothing", { quantity: "-1" }, /whole number/],
    ["too much", { quantity: "100001" }, /whole number/],
    ["words", { quantity: "ten" }, /whole number/],
    ["no price", { price: "" }, /must be a number/],
    ["a price of words", { price: "cheap" }, /must be a number/],
    ["a negative price", { price: "-1" }, /must be a number/],
    ["a price between two ticks", { price: "9.97" }, /multiple of 0\.05/],
  ])("refuses %s", (_, change, reason) => {
    expect(read({ ...draft, ...change }, listing)).toMatch(reason);
  });

  it("rounds to ticks without crumbs", () => {
    expect(toTick(9.97, listing)).toBe(9.95);
    expect(toTick(0.1 + 0.2, listing)).toBe(0.3);
  });

  it("estimates at the price of the other side, or at the limit", () => {
    expect(estimate({ ...draft, kind: "market" }, quote)).toBeCloseTo(101);
    expect(estimate({ ...draft, kind: "market", side: "sell" }, quote)).toBeCloseTo(99);
    expect(estimate(draft, quote)).toBeCloseTo(99.5);
    expect(estimate({ ...draft, quantity: "" }, quote)).toBeUndefined();
  });
});
