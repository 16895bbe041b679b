import { describe, expect, it } from "vitest";
import { hashOfLines, linesOfHash, LogBuffer } from "@/features/logs/buffer";
import { linesOf } from "@/features/logs/pages";
import { LogRows, type Section } from "@/features/logs/rows";

const section = (key: string, text: string, title = key): Section => {
  const lines = new LogBuffer();
  lines.append(text);
  return { key, title, ending: "", lines, fromEnd: false };
};

describe("a log's lines", () => {
  it("are whole however the pieces were cut", () => {
    const log = new LogBuffer();
    for (const piece of ["on", "e\ntwo\n", "", "thr", "ee"]) log.append(piece);
    expect(Array.from({ length: log.count }, (_, index) => log.at(index))).toEqual(["one", "two", "three"]);
    expect(log.text()).toBe("one\ntwo\nthree");
  });

  it("keep their numbers when the oldest are dropped", () => {
    const log = new LogBuffer(100);
    for (let n = 1; n <= 1_000; n += 1) log.append(`line ${n}\n`);
    expect(log.count).toBeLessThanOrEqual(100);
    expect(log.at(0)).toBe(`line ${log.firstNumber}`);
    expect(log.at(log.count - 1)).toBe("line 1000");
  });

  it("hold no more characters than they may", () => {
    const log = new LogBuffer(1_000_000, 10_000);
    for (let n = 0; n < 3_000; n += 1) log.append(`${"x".repeat(99)}\n`);
    expect(log.size).toBeLessThan(10_000 + 100);
  });

  it("are found whatever the case", () => {
    const log = new LogBuffer();
    log.append("One\ntwo\nnone");
    expect(log.search("ONE")).toEqual([0, 2]);
    expect(log.search("")).toEqual([]);
  });
});

describe("addresses of lines", () => {
  it("are read and written", () => {
    expect(linesOfHash("#L412-L420")).toEqual({ from: 412, to: 420 });
    expect(linesOfHash("L420-412")).toEqual({ from: 412, to: 420 });
    expect(linesOfHash("L7")).toEqual({ from: 7, to: 7 });
    expect(linesOfHash("#other")).toBeNull();
    expect(hashOfLines(5, 5)).toBe("L5");
    expect(hashOfLines(9, 5)).toBe("L5-L9");
  });
});

describe("a log of many calls", () => {
  const rows = new LogRows([section("a", "a1\na2"), section("empty", ""), section("b", "b1\nb2\nb3")]);

  it("has each line at its place", () => {
    expect(rows.count).toBe(8);
    const texts = Array.from({ length: rows.count }, (_, place) => rows.at(place)?.text);
    expect(texts).toEqual(["a", "a1", "a2", "empty", "b", "b1", "b2", "b3"]);
    expect(rows.at(6)).toMatchObject({ is: "line", number: 2 });
  });

  it("finds lines and titles", () => {
    expect(rows.search("b2")).toEqual([6]);
    expect(rows.search("emp")).toEqual([3]);
    expect(rows.placeOf("b", 3)).toBe(7);
    expect(rows.placeOf("b", 4)).toBe(-1);
    expect(rows.placeOf("c", 1)).toBe(-1);
  });
});

describe("an output that is read from its end", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  it("shows whole lines only, and all of them once its beginning is there", () => {
    const whole = bytes("first\nsecond ä\nthird\n");
    const last = { start: 9, bytes: whole.slice(9) };
    expect(linesOf([last]).text()).toBe("third");
    expect(linesOf([last, { start: 0, bytes: whole.slice(0, 9) }]).text()).toBe("first\nsecond ä\nthird");
  });
});
