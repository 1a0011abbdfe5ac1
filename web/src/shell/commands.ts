import { el } from "./dom.ts";
import type { Kind, Services } from "./services.ts";

/** Puts the addresses of the services into the commands for a shell, and a button to copy each. */
export function finishCommands(services: Services): void {
  for (const pre of document.querySelectorAll("pre[data-command]")) {
    const kinds = new Set<string>();
    const command = (pre.textContent ?? "").replace(
      /\b(http|ws):\/\/HOST\/([a-z]+)/g,
      (_, scheme: "http" | "ws", kind: string) => {
        const address = services[scheme](kind as Kind);
        if (address === undefined) kinds.add(kind);
        // Without the slash of a service that is at the root: more may follow.
        return quote(address?.replace(/\/$/, "") ?? "");
      },
    );
    if (kinds.size > 0) {
      pre.textContent = `# not here: the gateway has no service of type ${[...kinds].join(", ")}`;
      continue;
    }
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

/** As one word of a shell. */
function quote(word: string): string {
  return /^[\w:/.~@+=,-]*$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
