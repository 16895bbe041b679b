import { Badge } from "@mantine/core";
import { IconAlert, IconBan, IconCheck, IconClock, IconDead, IconRunning, IconWaiting, IconX } from "@/ui/icons";
import type { Job } from "./queries";

const LOOKS = {
  queued: { icon: IconClock, color: "gray" },
  running: { icon: IconRunning, color: "blue" },
  waiting: { icon: IconWaiting, color: "yellow" },
  succeeded: { icon: IconCheck, color: "green" },
  failed: { icon: IconX, color: "red" },
  cancelled: { icon: IconBan, color: "gray" },
  dead: { icon: IconDead, color: "red" },
};

/** A job's state by icon and word, and whether the platform's own checks agree. */
export function JobStatus({ job }: { job: Pick<Job, "state" | "verified" | "waiting_reason" | "cancel_requested_at"> }) {
  const unsure = job.state === "succeeded" && job.verified !== true;
  const { icon: Icon, color } = unsure ? { icon: IconAlert, color: "yellow" } : LOOKS[job.state];
  return (
    <Badge variant="outline" tt="none" color={color} c="var(--mantine-color-text)" leftSection={<Icon size={12} aria-hidden />} style={{ flexShrink: 0 }}>
      {wordsOf(job)}
    </Badge>
  );
}

export function wordsOf(job: Pick<Job, "state" | "verified" | "waiting_reason" | "cancel_requested_at">): string {
  if (job.state === "succeeded") return job.verified === true ? "succeeded, verified" : job.verified === false ? "succeeded, checks failed" : "succeeded, unverified";
  if (job.state === "waiting") return job.waiting_reason ? `waiting: ${job.waiting_reason}` : "waiting";
  if (job.state === "running" && job.cancel_requested_at) return "cancelling";
  return job.state;
}
