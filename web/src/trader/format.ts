const MINUS = "−";
const money = new Intl.NumberFormat("en-US", {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const prices = new Map<number, Intl.NumberFormat>();

/** 24,316.0 */
export function price(value: number, decimals: number): string {
  let format = prices.get(decimals);
  if (format === undefined) {
    format = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    prices.set(decimals, format);
  }
  return format.format(value);
}

/** +1,234.50, −3.00, 0.00 */
export function signedMoney(value: number): string {
  const text = money.format(Math.abs(value));
  return text === "0.00" ? text : `${value < 0 ? MINUS : "+"}${text}`;
}

/** +0.42%, −1.30% */
export function percent(value: number): string {
  const text = Math.abs(value * 100).toFixed(2);
  return text === "0.00" ? "0.00%" : `${value < 0 ? MINUS : "+"}${text}%`;
}

/** 1,234.50 */
export function amount(value: number): string {
  return money.format(value);
}

/** 1.2M */
export function short(value: number): string {
  return compact.format(value);
}

/** 1,000, -40: a plain hyphen, so that it can be read back. */
export function count(value: number): string {
  return whole.format(value);
}

/** 14:03:59, in the browser's time zone. */
export function time(unixMs: number): string {
  const date = new Date(unixMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}
