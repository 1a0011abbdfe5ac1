import { describe, expect, it } from "vitest";
import * as format from "../src/trader/format.ts";

describe("numbers", () => {
  it.each([
    [format.price(24316, 1), "24,316.0"],
    [format.price(4.328, 4), "4.3280"],
    [format.signedMoney(1234.5), "+1,234.50"],
    [format.signedMoney(-3), "−3.00"],
    [format.signedMoney(-0.001), "0.00"],
    [format.percent(0.0042), "+0.42%"],
    [format.percent(-0.013), "−1.30%"],
    [format.percent(-0.00001), "0.00%"],
    [format.amount(99.5), "99.50"],
    [format.short(2_149_950), "2.1M"],
    [format.count(-1000), "-1,000"],
  ])("%s is %s", (shown, expected) => {
    expect(shown).toBe(expected);
  });
});
