import { EMPTY, type JobForm } from "./form";

const KEY = "shopfloor.newjob.draft";

/** What was typed and not sent yet, in this tab: a reload or a sign-in in the middle loses nothing. */
export function readDraft(store: Storage = sessionStorage): JobForm | null {
  try {
    const found: unknown = JSON.parse(store.getItem(KEY) ?? "null");
    if (typeof found !== "object" || found === null) return null;
    const known = Object.entries(found).filter(([name, value]) => typeof value === typeof EMPTY[name as keyof JobForm]);
    return { ...EMPTY, ...Object.fromEntries(known) };
  } catch {
    return null;
  }
}

export function keepDraft(form: JobForm, store: Storage = sessionStorage): void {
  try {
    store.setItem(KEY, JSON.stringify(form));
  } catch {
    // full or forbidden: it lasts as long as the page
  }
}

export function dropDraft(store: Storage = sessionStorage): void {
  store.removeItem(KEY);
}
