import { useVirtualizer } from "@tanstack/react-virtual";
import { type MouseEvent, useEffect, useLayoutEffect, useRef } from "react";
import { LineText } from "./LineText";
import classes from "./logs.module.css";
import type { LogRow, LogRows } from "./rows";

const ROW_PX = 20;
const NEAR_THE_END_PX = 40;

export interface Marked {
  key: string; // the step
  from: number;
  to: number;
}

interface ViewerProps {
  rows: LogRows;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  wrap: boolean;
  raw: boolean;
  words: string; // lower case; "" for none
  found: number | null; // the place that the search is at
  marked: Marked | null;
  onMark: (key: string, number: number, upTo: boolean) => void;
}

/** Draws the rows that are in sight, however many there are. */
export function LogViewer({ rows, follow, onFollow, wrap, raw, words, found, marked, onMark }: ViewerProps) {
  const frame = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.count,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
    useFlushSync: false,
  });
  useEffect(() => virtual.measure(), [virtual, wrap]);
  useLayoutEffect(() => {
    if (follow && frame.current) frame.current.scrollTop = frame.current.scrollHeight;
  });
  useEffect(() => {
    if (found !== null) virtual.scrollToIndex(found, { align: "center" });
  }, [found, virtual]);
  const shownFor = useRef<string | null>(null); // the address that was scrolled to: once, not at each new line
  useEffect(() => {
    if (!marked) return;
    const name = `${marked.key}#${marked.from}`;
    const place = rows.placeOf(marked.key, marked.from);
    if (place < 0 || shownFor.current === name) return;
    shownFor.current = name;
    virtual.scrollToIndex(place, { align: "center" });
  }, [marked, rows, virtual]);
  const before = useRef(0);
  const onScroll = () => {
    const at = frame.current;
    if (!at) return;
    const up = at.scrollTop < before.current;
    before.current = at.scrollTop;
    const nearEnd = at.scrollHeight - at.scrollTop - at.clientHeight < NEAR_THE_END_PX;
    if (follow && up && !nearEnd) onFollow(false);
  };
  return (
    <div
      ref={frame} className={classes["frame"]} onScroll={onScroll} tabIndex={0} role="log" aria-live="off" aria-label="Log"
      data-lines={rows.count}
    >
      <div className={`${classes["inside"]} ${wrap ? classes["wrapped"] : ""}`} style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((item) => {
          const row = rows.at(item.index);
          if (!row) return null;
          return (
            <div
              key={item.key} ref={wrap ? virtual.measureElement : undefined} data-index={item.index} className={classes["row"]}
              style={{ transform: `translateY(${item.start}px)`, width: wrap ? "100%" : undefined }}
              data-title={row.is === "title" || undefined} data-marked={isMarked(row, marked) || undefined} data-found={item.index === found || undefined}
            >
              <Row row={row} raw={raw} words={words} onMark={onMark} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

function Row({ row, raw, words, onMark }: { row: LogRow; raw: boolean; words: string; onMark: ViewerProps["onMark"] }) {
  if (row.is === "title") return <span className={classes["text"]}><LineText text={row.text} raw words="" /> {row.section.ending}</span>;
  const onClick = (event: MouseEvent) => onMark(row.section.key, row.number, event.shiftKey);
  return (
    <>
      <button
        type="button" className={classes["number"]} onClick={onClick} tabIndex={-1} disabled={row.section.fromEnd}
        aria-label={`Address of line ${row.number}`}
      >
        {row.number}
      </button>
      <span className={classes["text"]}><LineText text={row.text} raw={raw} words={words} /></span>
    </>
  );
}

function isMarked(row: LogRow, marked: Marked | null): boolean {
  return marked !== null && row.is === "line" && row.section.key === marked.key && row.number >= marked.from && row.number <= marked.to;
}
