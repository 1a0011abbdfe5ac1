import assert from 'node:assert/strict';

/** What a page, a script or a style sheet refers to, as it stands there. */
function references(type, text) {
  const found = (pattern) => [...text.matchAll(pattern)].map((match) => match[1]);
  if (type.startsWith('text/html')) return found(/(?:src|href)="([^"#]+)"/g).filter((link) => !link.startsWith('data:'));
  if (type.startsWith('text/javascript')) return found(/(?:from|import)\s*\(?["'`](\.[^"'`]+)["'`]/g);
  if (type.startsWith('text/css')) return found(/url\(["']?([^"')]+)["']?\)/g).filter((link) => !link.startsWith('data:'));
  return [];
}

/**
 * Reads the page at `address` and all that is reached from it, as a browser would: everything is
 * there, and nothing lies outside `folder`.
 *
 * @param {(url: string) => Promise<Response>} get
 * @returns {Promise<Map<string, Response>>} what was read, by address
 */
export async function walk(address, folder = address, get = fetch) {
  const read = new Map();
  const waiting = [address];
  while (waiting.length > 0) {
    const url = waiting.pop();
    if (read.has(url)) continue;
    assert.ok(url.startsWith(folder), `${url} is outside ${folder}`);
    const response = await get(url);
    assert.equal(response.status, 200, url);
    read.set(url, response);
    const text = await response.text();
    for (const link of references(response.headers.get('content-type'), text)) {
      waiting.push(new URL(link, response.url || url).href.replace(/#.*/, ''));
    }
  }
  // The four pages, and scripts and styles.
  assert.ok(read.size > 10, [...read.keys()].join('\n'));
  return read;
}
