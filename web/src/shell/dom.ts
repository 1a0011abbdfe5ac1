type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Makes an element; attributes that are `undefined` or `false` are left out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** The element of this id, which the page must have. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/** Sets the text, and touches nothing when it is the same. */
export function setText(element: Element, text: string): boolean {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Lights an element up and lets it fade. */
export function flash(element: Element, color: "up" | "down" | "accent"): void {
  if (calm.matches) return;
  element.animate(
    [{ backgroundColor: `var(--${color}-flash)` }, { backgroundColor: "transparent" }],
    { duration: 650, easing: "ease-out" },
  );
}
