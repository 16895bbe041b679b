import { useEffect, useState } from "react";
import { duration } from "@/lib/format";
import { isOver, type Job } from "./queries";

/** How long the job took, or takes: ticking while it goes on. */
export function Elapsed({ job }: { job: Job }) {
  const [now, setNow] = useState(Date.now);
  const over = isOver(job);
  useEffect(() => {
    if (over) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [over]);
  const start = Date.parse(job.started_at ?? job.created_at);
  const end = job.finished_at ? Date.parse(job.finished_at) : Math.max(now, start);
  return <span>{duration((end - start) / 1000)}</span>;
}
