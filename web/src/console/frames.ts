/** A frame as it went over the WebSocket. */
export interface Raw {
  /** Its command, or `heart-beat`. */
  readonly command: string;
  /** All of it, readable: the NUL at its end shown as `^@`. */
  readonly text: string;
}

/** What is shown of a WebSocket message that carries STOMP. */
export function describe(data: string): Raw {
  const trimmed = data.replace(/^[\r\n]+/, "");
  if (trimmed === "") return { command: "heart-beat", text: "heart-beat" };
  const command = trimmed.split(/\r?\n/, 1)[0] ?? "";
  const secret = ["CONNECT", "STOMP"].includes(command)
    ? trimmed.replace(/^(passcode:).*$/m, "$1***")
    : trimmed;
  return { command, text: secret.replaceAll("\0", "^@") };
}

/** Reads headers, one a line, `name:value`; or says which line is wrong. */
export function parseHeaders(text: string): Record<string, string> | string {
  const headers: Record<string, string> = {};
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const colon = line.indexOf(":");
    if (colon < 1) return `“${line.trim()}” is no header: write name:value`;
    headers[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
  }
  return headers;
}
