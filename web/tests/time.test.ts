import { describe, expect, it } from "vitest";
import { AgeMeter } from "../src/trader/age.ts";
import { Clock } from "../src/trader/clock.ts";

describe("the clock", () => {
  it("trusts the browser's as long as the round trip allows it", () => {
    const clock = new Clock();
    expect(clock.isSet).toBe(false);
    clock.sample(1000, 1004, 1010);
    expect(clock.isSet).toBe(true);
    expect(clock.market(2000)).toBe(2000);
  });

  it("takes the middle of the round trip when the clocks cannot agree", () => {
    const clock = new Clock();
    clock.sample(1000, 61_005, 1010);
    expect(clock.market(2000)).toBe(62_000);
  });

  it("prefers the shortest round trip, but not for ever", () => {
    const clock = new Clock();
    clock.sample(1000, 61_005, 1010);
    clock.sample(2000, 62_300, 2500);
    expect(clock.market(3000)).toBe(63_000);
    for (let count = 0; count < 50; count += 1) clock.sample(2000, 92_010, 2020);
    expect(clock.market(3000)).toBe(93_000);
  });

  it("is not confused by a clock that went back", () => {
    const clock = new Clock();
    clock.sample(1000, 5000, 900);
    expect(clock.isSet).toBe(false);
  });
});

describe("the age meter", () => {
  it("reads the median and the worst of the last second", () => {
    const meter = new AgeMeter();
    meter.add(0, 500);
    for (const age of [3, 1, 20]) meter.add(600, age);
    expect(meter.read(1500)).toEqual({ median: 3, worst: 20, count: 3 });
    expect(meter.read(1601)).toBeUndefined();
  });

  it("knows no negative age", () => {
    const meter = new AgeMeter();
    meter.add(0, -2);
    expect(meter.read(1)).toEqual({ median: 0, worst: 0, count: 1 });
  });
});
