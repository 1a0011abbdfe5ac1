import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig, type Plugin } from "vite";

const here = import.meta.dirname;

/** Puts the shared head and header of all pages where a page has `<!-- head -->` and `<!-- header -->`. */
function shell(): Plugin {
  const part = (name: string) => readFileSync(resolve(here, `src/shell/${name}.html`), "utf8");
  return {
    name: "shell",
    transformIndexHtml: {
      order: "pre",
      handler: (html, { path }) =>
        html
          .replace("<!-- head -->", part("head"))
          .replace("<!-- header -->", part("header"))
          .replace(
            `class="nav-link" href=".${path === "/" ? "/index.html" : path}"`,
            (link) => `${link} aria-current="page"`,
          ),
    },
  };
}

export default defineConfig({
  // The pages may stand at any path, and proxies may put more in front of it.
  base: "./",
  plugins: [shell()],
  build: {
    // The gateway may forbid inline code; small assets stay files of their own.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: ["index.html", "trader.html", "echo.html", "broadcast.html", "console.html"].map(
        (page) => resolve(here, page),
      ),
    },
  },
  server: {
    proxy: Object.fromEntries(
      ["/messaging", "/echo", "/broadcast", "/services.json", "/about.json"].map((path) => [
        // `npm run dev` serves the pages; the services are those of a gateway on its usual port.
        `^${path}$`,
        { target: "http://127.0.0.1:8080", ws: true, changeOrigin: true },
      ]),
    ),
  },
});
