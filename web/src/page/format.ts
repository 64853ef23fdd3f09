// Figures as a person reads them.

const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const count = (value: number): string => number.format(value);

/** "1 passage", "12 passages". */
export const plural = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`;

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${value >= 100 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** An error's message as a sentence: a capital first, a stop last. */
export const sentence = (message: string): string => message.charAt(0).toUpperCase() + message.slice(1).replace(/([^.!?…])$/, "$1.");

/** Milliseconds: two figures below ten, whole above, seconds from ten thousand on. */
export function milliseconds(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : count(Math.round(value))} ms`;
}

/** Seconds of one run of a kernel: in µs below a millisecond. */
export const duration = (seconds: number): string => (seconds < 1e-3 ? `${(seconds * 1e6).toFixed(seconds < 1e-4 ? 1 : 0)} µs` : `${(seconds * 1e3).toFixed(2)} ms`);

export const percent = (value: number): string => `${Math.round(value * 100)} %`;

/** "14:05" today, "3 Feb" before. */
export function moment(ms: number): string {
  const date = new Date(ms);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

export const fullMoment = (ms: number): string => full.format(new Date(ms));

/** Today's date as 2026-11-23, for file names. */
export function fileDate(date = new Date()): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
