import { useEffect, useSyncExternalStore } from "react";

export interface Shortcut {
  keys: string; // `c`, `?`, `g j` for one after the other, `mod+k`
  does: string; // for the list under `?`
  run: () => void;
}

const known = new Map<symbol, Shortcut>();
const watchers = new Set<() => void>();
let list: Shortcut[] = [];
let first = "";
let firstAt = 0;
const SECOND_KEY_WITHIN_MS = 1_000;

/** Keys while this component is there. Off while somebody types, and while a dialog is open. */
export function useShortcut(keys: string, does: string, run: () => void, on = true): void {
  useEffect(() => {
    if (!on) return undefined;
    const id = Symbol(keys);
    known.set(id, { keys, does, run });
    changed();
    return () => {
      known.delete(id);
      changed();
    };
  }, [keys, does, run, on]);
}

/** What works now, for the help. */
export function useShortcuts(): Shortcut[] {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => list,
  );
}

function changed(): void {
  list = [...known.values()];
  for (const watcher of watchers) watcher();
}

/** Call once. */
export function listenForShortcuts(): () => void {
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  const mod = event.ctrlKey || event.metaKey;
  const key = mod ? `mod+${event.key.toLowerCase()}` : event.key;
  if (!mod && (isTyping(event.target) || document.querySelector('[role="dialog"]'))) return;
  const pair = Date.now() - firstAt < SECOND_KEY_WITHIN_MS ? `${first} ${key}` : "";
  const found = [...known.values()].toReversed(); // the newest part of the page wins
  const shortcut = found.find((each) => each.keys === pair) ?? found.find((each) => each.keys === key);
  first = shortcut ? "" : key;
  firstAt = shortcut ? 0 : Date.now();
  if (!shortcut) return;
  event.preventDefault();
  shortcut.run();
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}
