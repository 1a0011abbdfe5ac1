import { expect, describe as group, it } from "vitest";
import { describe, parseHeaders } from "../src/console/frames.ts";

group("a frame", () => {
  it("is shown whole, with its NUL", () => {
    const { command, text } = describe("\nSEND\ndestination:/topic/a\n\nhi\0");
    expect(command).toBe("SEND");
    expect(text).toBe("SEND\ndestination:/topic/a\n\nhi^@");
  });

  it("may be a heart-beat", () => {
    expect(describe("\n").command).toBe("heart-beat");
    expect(describe("\r\n").command).toBe("heart-beat");
  });

  it("keeps a passcode to itself", () => {
    const { text } = describe("CONNECT\nlogin:ann\npasscode:secret\nhost:h\n\n\0");
    expect(text).toBe("CONNECT\nlogin:ann\npasscode:***\nhost:h\n\n^@");
    expect(describe("SEND\n\npasscode:x\0").text).toContain("passcode:x");
  });
});

group("headers", () => {
  it("are read one a line", () => {
    expect(parseHeaders("content-type: text/plain\n\nreply-to:/temp-queue/a:b\n")).toEqual({
      "content-type": "text/plain",
      "reply-to": "/temp-queue/a:b",
    });
    expect(parseHeaders("")).toEqual({});
  });

  it.each(["nonsense", ":value"])("are refused when they are none: %s", (line) => {
    expect(parseHeaders(line)).toContain(line);
  });
});
