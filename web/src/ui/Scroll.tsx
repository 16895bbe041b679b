import type { ReactNode } from "react";

/** Something wide that scrolls sideways by itself, by keyboard too. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return <div className="scroll-x" role="region" aria-label={label} tabIndex={0}>{children}</div>;
}
