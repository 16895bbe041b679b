/**
 * The lines of one log, appended to piece by piece. Numbers start at 1 and never change; what is too much is dropped
 * from the beginning, so that a log that never ends can't eat the browser.
 */
export class LogBuffer {
  private lines: string[] = [];
  private open = ""; // the last line, as long as it has no end
  private gone = 0; // lines dropped from the beginning
  private chars = 0;

  constructor(
    private readonly mostLines = 200_000,
    private readonly mostChars = 24_000_000,
  ) {}

  append(piece: string): void {
    if (piece === "") return;
    const parts = (this.open + piece).split("\n");
    this.open = parts.pop() ?? "";
    for (const part of parts) {
      this.lines.push(part);
      this.chars += part.length;
    }
    this.trim();
  }

  /** Lines before all others: pages backwards. Only for a log whose numbers count from its end. */
  prepend(text: string): void {
    const parts = text.split("\n");
    for (const part of parts) this.chars += part.length;
    this.lines = parts.concat(this.lines);
  }

  get count(): number {
    return this.lines.length + (this.open === "" ? 0 : 1);
  }

  get firstNumber(): number {
    return this.gone + 1;
  }

  get size(): number {
    return this.chars + this.open.length;
  }

  /** By its place among those that are held, from 0. */
  at(index: number): string {
    return this.lines[index] ?? (index === this.lines.length ? this.open : "");
  }

  /** Places of the lines that hold the words, whatever their case. */
  search(words: string, most = 10_000): number[] {
    const lower = words.toLowerCase();
    const found: number[] = [];
    if (lower === "") return found;
    for (let index = 0; index < this.count && found.length < most; index += 1) {
      if (this.at(index).toLowerCase().includes(lower)) found.push(index);
    }
    return found;
  }

  text(): string {
    return this.open === "" ? this.lines.join("\n") : [...this.lines, this.open].join("\n");
  }

  private trim(): void {
    if (this.lines.length <= this.mostLines && this.chars <= this.mostChars) return;
    // A tenth at a time: dropping line by line would move the array for each.
    let drop = Math.max(this.lines.length - this.mostLines, Math.ceil(this.mostLines / 10));
    drop = Math.min(drop, this.lines.length - 1);
    if (drop <= 0) return;
    for (let index = 0; index < drop; index += 1) this.chars -= (this.lines[index] ?? "").length;
    this.lines = this.lines.slice(drop);
    this.gone += drop;
  }
}

/** `#L412` or `#L412-L420`: first and last, in order. */
export function linesOfHash(hash: string): { from: number; to: number } | null {
  const found = /^#?L(\d{1,9})(?:-L?(\d{1,9}))?$/.exec(hash);
  if (!found) return null;
  const [a, b] = [Number(found[1]), Number(found[2] ?? found[1])];
  return { from: Math.min(a, b), to: Math.max(a, b) };
}

export function hashOfLines(from: number, to: number): string {
  return from === to ? `L${from}` : `L${Math.min(from, to)}-L${Math.max(from, to)}`;
}
