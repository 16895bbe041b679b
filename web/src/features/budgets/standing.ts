import type { Budget } from "./queries";

const NEAR_PERCENT = 80;
const WHOLE_PERCENT = 100;

type Figures = Pick<Budget, "paused" | "percent" | "over_usd" | "spent_usd" | "held_usd" | "limit_usd" | "raised_usd">;

/** How a budget stands in one word, and how that looks. */
export function standing(budget: Pick<Figures, "paused" | "percent" | "over_usd">): { is: "good" | "warning" | "bad"; word: string } {
  if (budget.paused) return { is: "bad", word: "paused" };
  if (budget.percent === null) return { is: "bad", word: "no money" }; // a limit of nothing
  if (budget.percent >= WHOLE_PERCENT || Number(budget.over_usd) > 0) return { is: "bad", word: "over" };
  if (budget.percent >= NEAR_PERCENT) return { is: "warning", word: "near its limit" };
  return { is: "good", word: "ok" };
}

/** What is spent and held of the limit with its raises, in per cent of the whole bar: never more than 100 together. */
export function parts(budget: Pick<Figures, "spent_usd" | "held_usd" | "limit_usd" | "raised_usd">): { spent: number; held: number } {
  const limit = Number(budget.limit_usd) + Number(budget.raised_usd);
  const used = Number(budget.spent_usd) + Number(budget.held_usd);
  const whole = Math.max(limit, used);
  if (whole <= 0) return { spent: 0, held: 0 };
  return { spent: (Number(budget.spent_usd) / whole) * WHOLE_PERCENT, held: (Number(budget.held_usd) / whole) * WHOLE_PERCENT };
}

/** `$1.25` of the API's exact decimal text; four digits where cents would say nothing. */
export function dollars(usd: string): string {
  const n = Number(usd);
  return `$${n.toFixed(n !== 0 && Math.abs(n) < 0.1 ? 4 : 2)}`;
}

/** `80, 90, 100` as numbers; what is no whole number from 1 to 1000 is told by the server. */
export function percents(text: string): number[] {
  return text.split(/[\s,;%]+/).filter(Boolean).map(Number);
}
