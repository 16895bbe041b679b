import { useEffect, useRef, useState } from "react";
import { live, type LiveEvent, type LiveState } from "./live";
import { jobWays } from "./ways";

interface Watching {
  after?: number; // the last seq that the page has already
  on?: boolean; // false: nothing more will come
  onEvents: (events: LiveEvent[]) => void;
}

/** Follows a job's events while the component is there. Returns how the connection does, for the LiveBanner. */
export function useLiveJob(jobId: string, { after = 0, on = true, onEvents }: Watching): LiveState {
  const [state, setState] = useState<LiveState>({ is: "connecting" });
  const handler = useRef(onEvents);
  const start = useRef(after);
  useEffect(() => {
    handler.current = onEvents;
  });
  useEffect(() => {
    if (!on) {
      setState({ is: "ended" });
      return undefined;
    }
    return live({ after: start.current, ways: jobWays(jobId), onEvents: (events) => handler.current(events), onState: setState });
  }, [jobId, on]);
  return state;
}
