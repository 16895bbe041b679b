import type { Api } from "@/api/types";

export interface ModelSum {
  model: string;
  calls: number;
  costNanos: number;
  input: number;
  cached: number;
  output: number;
}

/** What each model came to; the classes of tokens are disjoint, so cached ones are not part of the input. */
export function byModel(calls: Api["CallReply"][]): ModelSum[] {
  const sums = new Map<string, ModelSum>();
  for (const call of calls) {
    const sum = sums.get(call.model) ?? { model: call.model, calls: 0, costNanos: 0, input: 0, cached: 0, output: 0 };
    sum.calls += 1;
    sum.costNanos += call.cost_nanos;
    for (const [name, tokens] of Object.entries(call.usage ?? {})) {
      if (name === "requests") continue;
      if (name.includes("cache_read")) sum.cached += tokens;
      else if (name.includes("output") || name.includes("reasoning")) sum.output += tokens;
      else sum.input += tokens;
    }
    sums.set(call.model, sum);
  }
  return [...sums.values()].toSorted((a, b) => b.costNanos - a.costNanos);
}
