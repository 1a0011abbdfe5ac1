import { describe, expect, it } from "vitest";
import { type Candle, extend, fromRow, join } from "../src/trader/candles.ts";
import type { Quote } from "../src/trader/messages.ts";

function quote(seconds: number, last: number, volume: number): Quote {
  const time = seconds * 1000 + 400;
  return {
    symbol: "A",
    time,
    bid: last,
    ask: last,
    last,
    open: last,
    high: last,
    low: last,
    volume,
  };
}

const candles: Candle[] = [
  fromRow([10, 5, 7, 4, 6, 100]),
  fromRow([15, 6, 9, 6, 8, 50]),
  fromRow([30, 8, 8, 2, 3, 10]),
];

describe("candles", () => {
  it("join to longer ones, from the first open to the last close", () => {
    expect(join(candles, 15)).toEqual([
      { time: 0, open: 5, high: 7, low: 4, close: 6, volume: 100 },
      { time: 15, open: 6, high: 9, low: 6, close: 8, volume: 50 },
      { time: 30, open: 8, high: 8, low: 2, close: 3, volume: 10 },
    ]);
    expect(join(candles, 30)).toEqual([
      { time: 0, open: 5, high: 9, low: 4, close: 8, volume: 150 },
      { time: 30, open: 8, high: 8, low: 2, close: 3, volume: 10 },
    ]);
    expect(join(candles, 5)).toEqual(candles);
    expect(join([], 60)).toEqual([]);
  });

  it("grow with each quote by what was traded since the one before", () => {
    const [last] = join(candles.slice(0, 1), 15);
    expect(extend(last, quote(11, 6, 500), quote(12, 9, 520), 15)).toEqual({
      time: 0,
      open: 5,
      high: 9,
      low: 4,
      close: 9,
      volume: 120,
    });
  });

  it("begin where the one before ended", () => {
    const last = candles[2];
    expect(extend(last, quote(33, 3, 500), quote(35, 4, 510), 5)).toEqual({
      time: 35,
      open: 3,
      high: 4,
      low: 3,
      close: 4,
      volume: 10,
    });
  });

  it("do not go back in time, nor count a market that began again", () => {
    const last = candles[2];
    expect(extend(last, quote(33, 3, 500), quote(12, 5, 20), 5)).toMatchObject({
      time: 30,
      close: 5,
      volume: 10,
    });
  });
});
