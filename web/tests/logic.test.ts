import { describe, expect, it } from "vitest";
import { ApiError, fieldErrors, problemOf, told } from "@/api/errors";
import { safeReturn } from "@/features/auth/links";
import { ago, duration, usd } from "@/lib/format";
import { matches } from "@/ui/CommandPalette";

const problem = {
  type: "/errors/invalid-input",
  title: "The request does not fit",
  status: 422,
  detail: "1 field does not fit what is documented. `errors` says which and why.",
  code: "invalid-input",
  retryable: false,
  instance: "urn:shopfloor:request:0199",
  errors: [{ in: "body" as const, pointer: "/name", detail: "too short", code: "string_too_short" }],
};

describe("errors", () => {
  it("say what the server said, with the id for its log", () => {
    expect(told(new ApiError(problem))).toEqual({ title: problem.title, detail: problem.detail, id: "0199", retryable: false });
  });

  it("name the fields of a form", () => {
    expect(fieldErrors(new ApiError(problem))).toEqual({ name: "too short" });
  });

  it("of a proxy's own page still say what to do", () => {
    expect(problemOf("<html>", 502).detail).toContain("status 502");
  });
});

describe("the way back after signing in", () => {
  it.each(["/jobs?tab=logs#L4", "/settings/keys"])("goes to %s", (to) => expect(safeReturn(to)).toBe(to));
  it.each(["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", undefined, "/sign-in?return_to=/"])(
    "does not go to %s",
    (to) => expect(safeReturn(to)).toBe("/"),
  );
});

describe("figures", () => {
  it("are durations in the largest two units", () => {
    expect([0, 59, 134, 3_600, 90_000].map(duration)).toEqual(["0s", "59s", "2m 14s", "1h 0m", "1d 1h"]);
  });

  it("are dollars, with more digits for small sums", () => {
    expect([0, 310_000_000, 1_100_000, 2_000_000_000].map(usd)).toEqual(["$0.00", "$0.31", "$0.0011", "$2.00"]);
  });

  it("are times from now", () => {
    expect(ago("2026-01-01T00:00:00Z", new Date("2026-01-01T00:03:00Z"))).toBe("3 minutes ago");
  });
});

describe("the palette", () => {
  it("finds a page by letters in order", () => {
    expect([matches("Providers and models", "pmod"), matches("Jobs", "sj")]).toEqual([true, false]);
  });
});
