import type { LogBuffer } from "./buffer";

/** The output of one step as a part of a log. */
export interface Section {
  key: string; // the step's
  title: string; // "" for a log of one step
  ending: string; // how it ended; "" while it runs
  lines: LogBuffer;
  fromEnd: boolean; // its beginning isn't loaded: lines are numbered backwards
}

export type LogRow = { is: "title"; section: Section; text: string } | { is: "line"; section: Section; index: number; number: number; text: string };

/** Sections one after the other, reached by place without a list of all lines. */
export class LogRows {
  private readonly starts: number[] = [];
  readonly count: number;

  constructor(readonly sections: Section[]) {
    let at = 0;
    for (const section of sections) {
      this.starts.push(at);
      at += (section.title === "" ? 0 : 1) + section.lines.count;
    }
    this.count = at;
  }

  at(place: number): LogRow | null {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.starts[middle] ?? 0) <= place) low = middle;
      else high = middle - 1;
    }
    const section = this.sections[low];
    if (!section) return null;
    const inside = place - (this.starts[low] ?? 0);
    const titled = section.title === "" ? 0 : 1;
    if (inside < titled) return { is: "title", section, text: section.title };
    const index = inside - titled;
    const number = section.fromEnd ? index - section.lines.count : index + section.lines.firstNumber;
    return { is: "line", section, index, number, text: section.lines.at(index) };
  }

  /** The place of a line of a section; -1 when it isn't held. */
  placeOf(key: string, number: number): number {
    const which = this.sections.findIndex((each) => each.key === key);
    const section = this.sections[which];
    if (!section || section.fromEnd) return -1;
    const index = number - section.lines.firstNumber;
    if (index < 0 || index >= section.lines.count) return -1;
    return (this.starts[which] ?? 0) + (section.title === "" ? 0 : 1) + index;
  }

  search(words: string, most = 10_000): number[] {
    const found: number[] = [];
    this.sections.forEach((section, which) => {
      const first = (this.starts[which] ?? 0) + (section.title === "" ? 0 : 1);
      if (section.title.toLowerCase().includes(words) && section.title !== "") found.push(first - 1);
      for (const index of section.lines.search(words, most - found.length)) found.push(first + index);
    });
    return found;
  }
}
