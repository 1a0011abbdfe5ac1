import { el } from "./dom.ts";

/** Puts this gateway's address into the commands for a shell, and a button to copy each. */
export function finishCommands(): void {
  for (const pre of document.querySelectorAll("pre[data-command]")) {
    const command = (pre.textContent ?? "").replaceAll("HOST", location.host);
    pre.textContent = command;
    // The clipboard is for secure origins only.
    if (navigator.clipboard === undefined) continue;
    const button = el("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
      setTimeout(() => {
        button.textContent = "Copy";
      }, 1500);
    });
    pre.prepend(button);
  }
}

/** The address of a WebSocket service of this gateway. */
export function serviceUrl(path: string): string {
  return `${location.protocol.replace("http", "ws")}//${location.host}${path}`;
}
