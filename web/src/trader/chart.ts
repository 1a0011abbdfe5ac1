import {
  CandlestickSeries,
  ColorType,
  createChart,
  HistogramSeries,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  LineSeries,
  LineStyle,
  type UTCTimestamp,
} from "lightweight-charts";
import { byId } from "../shell/dom.ts";
import { average, type LiveOrder } from "./account.ts";
import { type Candle, extend, join } from "./candles.ts";
import * as format from "./format.ts";
import type { Listing, Position, Quote } from "./messages.ts";

type Style = "candles" | "line";

/** The live chart of the chosen instrument, with the trader's own prices marked. */
export class Chart {
  readonly #element = byId("chart", HTMLElement);
  readonly #chart: IChartApi;
  readonly #candles: ISeriesApi<"Candlestick">;
  readonly #line: ISeriesApi<"Line">;
  readonly #volume: ISeriesApi<"Histogram">;
  #marks: IPriceLine[] = [];
  #marked = "";
  #seconds = 15;
  #style: Style = "candles";
  /** What the desk sent, for other lengths of candles. */
  #base: Candle[] = [];
  #baseSeconds = 5;
  #shown: Candle[] = [];
  #before: Quote | undefined;

  constructor() {
    this.#chart = createChart(this.#element, {
      autoSize: true,
      layout: { attributionLogo: true, fontFamily: "inherit", fontSize: 11 },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.22 } },
      timeScale: {
        borderVisible: false,
        timeVisible: true,
        secondsVisible: false,
        rightOffset: 4,
        barSpacing: 7,
        tickMarkFormatter: (time: UTCTimestamp) => format.time(time * 1000).slice(0, 5),
      },
      localization: { timeFormatter: (time: UTCTimestamp) => format.time(time * 1000) },
      handleScroll: { vertTouchDrag: false },
    });
    this.#volume = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.#line = this.#chart.addSeries(LineSeries, { lineWidth: 2, visible: false });
    this.#paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#paint();
      this.#show();
    });
    onChoice("intervals", (value) => {
      this.#seconds = Number(value);
      this.#show();
      this.#chart.timeScale().applyOptions({ barSpacing: 7 });
      this.#chart.timeScale().scrollToRealTime();
    });
    onChoice("styles", (value) => {
      this.#style = value === "line" ? "line" : "candles";
      this.#candles.applyOptions({ visible: this.#style === "candles" });
      this.#line.applyOptions({ visible: this.#style === "line" });
    });
  }

  /** Clears the chart for another instrument. */
  choose(listing: Listing): void {
    this.#base = [];
    this.#before = undefined;
    const priceFormat = {
      type: "price",
      precision: listing.decimals,
      minMove: listing.tick,
    } as const;
    this.#candles.applyOptions({ priceFormat });
    this.#line.applyOptions({ priceFormat });
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
    this.#show();
  }

  /** The history has come. */
  history(candles: readonly Candle[], seconds: number): void {
    this.#base = [...candles];
    this.#baseSeconds = seconds;
    this.#show();
    this.#chart.timeScale().scrollToRealTime();
  }

  /** Lets the last candle grow. Before the history has come there is none. */
  update(quote: Quote): void {
    const [before, base] = [this.#before, this.#base.at(-1)];
    this.#before = quote;
    if (base === undefined) return;
    const grown = extend(base, before, quote, this.#baseSeconds);
    if (grown.time === base.time) this.#base.pop();
    this.#base.push(grown);

    const last = this.#shown.at(-1);
    const shown = extend(last, before, quote, this.#seconds);
    if (shown.time === last?.time) this.#shown.pop();
    this.#shown.push(shown);
    this.#candles.update(bar(shown));
    this.#line.update(point(shown));
    this.#volume.update(this.#column(shown));
    this.#element.dataset["candles"] = String(this.#shown.length);
  }

  /** Marks the prices of the trader's position and working orders. */
  mark(position: Position | undefined, orders: readonly LiveOrder[]): void {
    const lines = orders
      .filter((order) => order.price !== undefined)
      .map(({ side, quantity, price }) => ({
        price: price ?? 0,
        color: color(side === "buy" ? "--up" : "--down"),
        title: `${side} ${format.count(quantity)}`,
        lineStyle: LineStyle.Dashed,
      }));
    if (position !== undefined && position.quantity !== 0) {
      lines.push({
        price: average(position),
        color: color("--accent"),
        title: `${position.quantity > 0 ? "long" : "short"} ${format.count(Math.abs(position.quantity))}`,
        lineStyle: LineStyle.Dotted,
      });
    }
    const text = JSON.stringify(lines);
    if (text === this.#marked) return;
    this.#marked = text;
    for (const mark of this.#marks) this.#candles.removePriceLine(mark);
    this.#marks = lines.map((line) =>
      this.#candles.createPriceLine({ ...line, lineWidth: 1, axisLabelVisible: true }),
    );
  }

  #show(): void {
    this.#shown = join(this.#base, this.#seconds);
    this.#candles.setData(this.#shown.map(bar));
    this.#line.setData(this.#shown.map(point));
    this.#volume.setData(this.#shown.map((candle) => this.#column(candle)));
    this.#element.dataset["candles"] = String(this.#shown.length);
  }

  #column(candle: Candle) {
    const tint = color(candle.close >= candle.open ? "--up-flash" : "--down-flash");
    return { time: candle.time as UTCTimestamp, value: candle.volume, color: tint };
  }

  #paint(): void {
    const [up, down, grid] = [color("--up"), color("--down"), color("--line")];
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: color("--panel") },
        textColor: color("--muted"),
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
    });
    this.#candles.applyOptions({
      upColor: up,
      downColor: down,
      wickUpColor: up,
      wickDownColor: down,
    });
    this.#line.applyOptions({ color: color("--accent") });
    this.#marked = "";
  }
}

function bar({ time, open, high, low, close }: Candle) {
  return { time: time as UTCTimestamp, open, high, low, close };
}

function point({ time, close }: Candle) {
  return { time: time as UTCTimestamp, value: close };
}

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function onChoice(id: string, then: (value: string) => void): void {
  byId(id, HTMLFieldSetElement).addEventListener("change", ({ target }) => {
    if (target instanceof HTMLInputElement) then(target.value);
  });
}
