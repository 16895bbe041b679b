import Anser from "anser";
import { memo, useState } from "react";
import classes from "./logs.module.css";

const FOLD_CHARS = 4_096;

// Controls that a terminal would obey, and those that turn the reading direction: shown, not obeyed.
// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;

/** One line of a log as text nodes; colours of the terminal become classes. Very long ones are folded. */
export const LineText = memo(function LineText({ text, raw, words }: { text: string; raw: boolean; words: string }) {
  const [whole, setWhole] = useState(false);
  const folded = !whole && text.length > FOLD_CHARS;
  const shown = (folded ? text.slice(0, FOLD_CHARS) : text).replace(HIDDEN, visible);
  return (
    <>
      {raw || !shown.includes("\u001b") ? <Marked text={raw ? shown.replaceAll("\u001b", "\u241b") : shown} words={words} /> : <Coloured text={shown} words={words} />}
      {folded ? (
        <button type="button" className={classes["unfold"]} onClick={() => setWhole(true)}>
          ... show all {text.length.toLocaleString("en")} characters
        </button>
      ) : null}
    </>
  );
});

function Coloured({ text, words }: { text: string; words: string }) {
  const parts = Anser.ansiToJson(text, { use_classes: true, remove_empty: true });
  return parts.map((part, index) => {
    const names = [part.fg, part.bg && `${part.bg}-bg`, ...part.decorations].filter(Boolean).map((name) => classes[String(name)]).filter(Boolean);
    // oxlint-disable-next-line react/no-array-index-key -- parts of one line have no other name
    return <span key={index} className={names.join(" ")}><Marked text={part.content} words={words} /></span>;
  });
}

function Marked({ text, words }: { text: string; words: string }) {
  if (words === "") return text;
  const lower = text.toLowerCase();
  const parts = [];
  let from = 0;
  for (let at = lower.indexOf(words); at >= 0; at = lower.indexOf(words, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + words.length)}</mark>);
    from = at + words.length;
  }
  parts.push(text.slice(from));
  return <>{parts}</>;
}

function visible(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x20 ? String.fromCodePoint(0x2400 + code) : code === 0x7f ? "\u2421" : `[U+${code.toString(16).toUpperCase()}]`;
}
