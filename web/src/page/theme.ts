// Light, dark, or as the system says; the choice is remembered on this device.

export type Theme = "auto" | "light" | "dark";
const KEY = "pyruvllm.theme";
const ORDER: Theme[] = ["auto", "light", "dark"];

export function currentTheme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return ORDER.find((theme) => theme === kept) ?? "auto";
  } catch {
    return "auto";
  }
}

/** Marks the root element, which the colours hang on. */
export function applyTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function nextTheme(): Theme {
  const next = ORDER[(ORDER.indexOf(currentTheme()) + 1) % ORDER.length]!;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // without localStorage the choice lasts as long as the page
  }
  applyTheme(next);
  return next;
}
