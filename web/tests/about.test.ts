import { describe, expect, test } from "vitest";
import { type About, configuration, read, who } from "../src/start/about.ts";

const about = (more: Partial<About>): About => ({
  version: "1",
  login: "none",
  local: false,
  ...more,
});

describe("what the gateway says of itself", () => {
  test.each<[Partial<About>, string]>([
    [
      { local: true },
      "Everybody on this machine may connect, and no other machine. There are no users.",
    ],
    [{}, "Everybody who reaches it may connect. There are no users."],
    [
      { login: "optional", local: true },
      "Everybody on this machine may connect, and no other machine. Users may log in.",
    ],
    [{ login: "required" }, "Users log in."],
  ])("names who may come in: %j", (more, expected) => {
    expect(who(about(more))).toBe(expected);
  });

  test("names its file to operators alone", () => {
    expect(configuration(about({}))).toContain("Operators");
    expect(configuration(about({ operator: {} }))).toContain("`passerelle init`");
    expect(configuration(about({ operator: { file: "/etc/gw.toml" } }))).toContain("/etc/gw.toml");
  });

  test.each(["", "<!doctype html>", "null", "7", "{}"])("is nothing in %j", (text) => {
    expect(read(text)).toBeUndefined();
  });
});
