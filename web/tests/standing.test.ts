import { describe, expect, it } from "vitest";
import { dollars, parts, percents, standing } from "@/features/budgets/standing";

const budget = (some: Partial<Parameters<typeof standing>[0]>) => ({ paused: false, percent: 0, over_usd: "0", ...some });

describe("how a budget stands", () => {
  it("is near its limit from 80 per cent, over it from 100, and paused before anything else", () => {
    expect(standing(budget({ percent: 79 })).word).toBe("ok");
    expect(standing(budget({ percent: 80 })).word).toBe("near its limit");
    expect(standing(budget({ percent: 99 })).word).toBe("near its limit");
    expect(standing(budget({ percent: 100 })).word).toBe("over");
    expect(standing(budget({ percent: 12, over_usd: "0.01" })).word).toBe("over");
    expect(standing(budget({ percent: 12, paused: true })).word).toBe("paused");
  });

  it("has no money where the limit is nothing", () => {
    expect(standing(budget({ percent: null })).word).toBe("no money");
  });

  it("never fills more than its bar, and counts raises in", () => {
    const used = { spent_usd: "3", held_usd: "1", limit_usd: "5", raised_usd: "5" };
    expect(parts(used)).toEqual({ spent: 30, held: 10 });
    expect(parts({ ...used, spent_usd: "30", held_usd: "10" })).toEqual({ spent: 75, held: 25 });
    expect(parts({ spent_usd: "0", held_usd: "0", limit_usd: "0", raised_usd: "0" })).toEqual({ spent: 0, held: 0 });
  });

  it("shows small sums with four digits", () => {
    expect([dollars("0"), dollars("0.0123"), dollars("250.000000001")]).toEqual(["$0.00", "$0.0123", "$250.00"]);
  });

  it("reads per cents as people write them", () => {
    expect(percents("80, 90%; 100 ")).toEqual([80, 90, 100]);
  });
});
