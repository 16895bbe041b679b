const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;

/** `2m 14s`; whole seconds. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < MINUTE_S) return `${s}s`;
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)}m ${s % MINUTE_S}s`;
  if (s < DAY_S) return `${Math.floor(s / HOUR_S)}h ${Math.floor((s % HOUR_S) / MINUTE_S)}m`;
  return `${Math.floor(s / DAY_S)}d ${Math.floor((s % DAY_S) / HOUR_S)}h`;
}

/** `3 minutes ago`, `in 2 days`. */
export function ago(at: string | Date, now: Date = new Date()): string {
  const s = (new Date(at).getTime() - now.getTime()) / 1000;
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (Math.abs(s) < MINUTE_S) return words.format(Math.round(s), "second");
  if (Math.abs(s) < HOUR_S) return words.format(Math.round(s / MINUTE_S), "minute");
  if (Math.abs(s) < DAY_S) return words.format(Math.round(s / HOUR_S), "hour");
  return words.format(Math.round(s / DAY_S), "day");
}

/** The moment in the reader's own zone, to the second. */
export function moment(at: string | Date): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Dollars of nano-dollars: cents are kept, and as much more as a small sum needs. */
export function usd(nanos: number): string {
  const dollars = nanos / 1e9;
  const digits = dollars !== 0 && Math.abs(dollars) < 0.1 ? 4 : 2;
  return `$${dollars.toFixed(digits)}`;
}

/** `18.2k`. */
export function count(n: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(n);
}
