import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef, useState } from "react";
import { api, data } from "@/api/client";
import type { LiveEvent, LiveState } from "@/api/live";
import type { Api } from "@/api/types";
import { useLiveJob } from "@/api/useLive";
import { addEarlier, addEvents, addJournal, emptyStory, type Story } from "@/features/timeline/story";
import { type Job, isOver } from "./queries";

const STEPS_A_PAGE = 200;
const MOST_PAGES = 25;
const EVENTS_BACK = 1_000; // what lies before is told by the journal
const EVENTS_A_PAGE = 200;
const PAGES_A_CLICK = 20; // most events of a long job are output, which has no note
const RENEW_AFTER_MS = 700;

/** The journal of a job as it is when the page opens, and from which event to follow. */
export function useJournal(job: Job) {
  return useQuery({
    queryKey: ["journal", job.id], // not under "jobs": it is read once
    staleTime: Infinity, // what comes later comes as events
    gcTime: 0,
    queryFn: async ({ signal }): Promise<{ rows: Api["StepReply"][]; after: number; cut: boolean }> => {
      const after = Math.max(0, job.last_seq - EVENTS_BACK); // before the rows are read: what overlaps is told twice, and counts once
      const rows: Api["StepReply"][] = [];
      let cursor: string | null | undefined;
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const query = { limit: STEPS_A_PAGE, ...(cursor ? { cursor } : {}) };
        const found = await data(api.GET("/api/v1/jobs/{job_id}/steps", { params: { path: { job_id: job.id }, query }, signal }));
        rows.push(...found.items);
        cursor = found.next_cursor;
        if (!cursor) return { rows, after, cut: false };
      }
      return { rows, after, cut: true };
    },
  });
}

/** Notes before those that are shown: how many events lie there, and what reads them. */
export interface Earlier {
  events: number;
  loading: boolean;
  load: () => void;
}

export interface Following {
  story: Story;
  version: number; // grows with each change: the story itself is changed in place
  live: LiveState;
  asOf: Date | undefined;
  earlier: Earlier;
}

/** The story of a job from its journal, and live after that. Its other facts are read anew when events change them. */
export function useStory(job: Job, journal: { rows: Api["StepReply"][]; after: number }): Following {
  const queries = useQueryClient();
  // Once: what is read anew later (after a sign-in, say) must not replace what the events have told since.
  const [story] = useState(() => {
    const made = emptyStory();
    addJournal(made, journal.rows);
    return made;
  });
  const [version, setVersion] = useState(0);
  const asOf = useRef<Date>(undefined);
  const due = useRef<ReturnType<typeof setTimeout>>(undefined);
  const renew = useCallback(() => {
    due.current ??= setTimeout(() => {
      due.current = undefined;
      for (const what of ["one", "runs", "usage"]) void queries.invalidateQueries({ queryKey: ["jobs", what, job.id] });
      void queries.invalidateQueries({ queryKey: ["approvals"] });
    }, RENEW_AFTER_MS);
  }, [queries, job.id]);
  const onEvents = (events: LiveEvent[]) => {
    addEvents(story, events);
    asOf.current = new Date();
    setVersion((now) => now + 1);
    if (events.some((each) => each.kind !== "tool.output")) renew();
  };
  const follows = !isOver(job) || job.last_seq > journal.after; // an ended job's events end by themselves
  const first = useRef(follows);
  const live = useLiveJob(job.id, { after: journal.after, on: first.current, onEvents });
  const [from, setFrom] = useState(journal.after);
  const reading = useMutation({
    mutationFn: async () => {
      let start = from;
      for (let page = 0, found = 0; start > 0 && found === 0 && page < PAGES_A_CLICK; page += 1) {
        const after = Math.max(0, start - EVENTS_A_PAGE);
        const query = { after: String(after), limit: start - after };
        const events = await data(api.GET("/api/v1/jobs/{job_id}/events", { params: { path: { job_id: job.id }, query } }));
        found = addEarlier(story, events.items);
        start = after;
      }
      setFrom(start);
      setVersion((now) => now + 1);
    },
  });
  const earlier = { events: from, loading: reading.isPending, load: () => reading.mutate() };
  return { story, version, live, asOf: asOf.current, earlier };
}
