import { describe, expect, test } from "vitest";
import { absence, read, Services } from "../src/shell/services.ts";

describe("the services of a gateway", () => {
  const paths = { broker: "../messaging", echo: "./echo", topics: "../" };

  test.each([
    ["at a path", "http://gw/ui/", "ws://gw/messaging", "http://gw/ui/echo", "http://gw/"],
    [
      "with more in front, by https",
      "https://gw:8443/a/b/ui/",
      "wss://gw:8443/a/b/messaging",
      "https://gw:8443/a/b/ui/echo",
      "https://gw:8443/a/b/",
    ],
    ["with the front stripped", "http://gw/", "ws://gw/messaging", "http://gw/echo", "http://gw/"],
  ])("are found beside the pages: %s", (_, folder, broker, echo, topics) => {
    const found = read(JSON.stringify(paths), `${folder}services.json`) as Services;
    expect(found).toBeInstanceOf(Services);
    expect(found.ws("broker")).toBe(broker);
    expect(found.http("echo")).toBe(echo);
    expect(found.http("topics")).toBe(topics);
  });

  test("that are not there are said to be missing", () => {
    const found = new Services(paths, "http://gw/");
    expect(found.ws("broadcast")).toBeUndefined();
    expect(absence(found, "broadcast")).toContain('type = "broadcast"');
  });

  test.each(["", "<!doctype html>", "null", "7"])("are not known from %j", (text) => {
    const found = read(text, "http://gw/services.json");
    expect(absence(found, "echo")).toContain("http://gw/services.json");
  });

  test("have no kinds but those that are listed", () => {
    const found = read('{"echo":7}', "http://gw/services.json") as Services;
    expect(found.http("echo")).toBeUndefined();
    expect(found.http("toString" as "echo")).toBeUndefined();
  });
});
