// Writes what the gateway sends to clients that accept it: a .br and a .gz beside each file that
// gets smaller by it.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const root = join(import.meta.dirname, "../dist");
const variants = {
  ".br": (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
  ".gz": (bytes) => gzipSync(bytes, { level: 9 }),
};

for (const name of readdirSync(root, { recursive: true })) {
  const file = join(root, name);
  if (!statSync(file).isFile() || /\.(br|gz)$/.test(name)) continue;
  const bytes = readFileSync(file);
  for (const [suffix, compress] of Object.entries(variants)) {
    const smaller = compress(bytes);
    if (smaller.length < bytes.length * 0.9) writeFileSync(file + suffix, smaller);
  }
}
