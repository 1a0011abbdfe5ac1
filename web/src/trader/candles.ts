import type { CandleRow, Quote } from "./messages.ts";

export interface Candle {
  /** Start, in Unix seconds. */
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
}

export function fromRow([time, open, high, low, close, volume]: CandleRow): Candle {
  return { time, open, high, low, close, volume };
}

/** Joins short candles, oldest first, to candles of `seconds` seconds. */
export function join(candles: readonly Candle[], seconds: number): Candle[] {
  const joined: Candle[] = [];
  for (const candle of candles) {
    const time = candle.time - (candle.time % seconds);
    const last = joined.at(-1);
    if (last?.time === time) joined[joined.length - 1] = merge(last, candle);
    else joined.push({ ...candle, time });
  }
  return joined;
}

/** The candle that a quote belongs to: the last one grown, or a new one. */
export function extend(
  last: Candle | undefined,
  before: Quote | undefined,
  quote: Quote,
  seconds: number,
): Candle {
  const at = Math.floor(quote.time / 1000);
  const time = at - (at % seconds);
  const price = quote.last;
  const volume = before === undefined ? 0 : Math.max(0, quote.volume - before.volume);
  const tick = { time, open: price, high: price, low: price, close: price, volume };
  if (last === undefined || time > last.time) {
    // A quote that is not of a trade starts no jump: its price is the last one's.
    return {
      ...tick,
      open: last?.close ?? price,
      high: Math.max(price, last?.close ?? price),
      low: Math.min(price, last?.close ?? price),
    };
  }
  return merge(last, { ...tick, time: last.time });
}

function merge(a: Candle, b: Candle): Candle {
  return {
    time: a.time,
    open: a.open,
    high: Math.max(a.high, b.high),
    low: Math.min(a.low, b.low),
    close: b.close,
    volume: a.volume + b.volume,
  };
}
