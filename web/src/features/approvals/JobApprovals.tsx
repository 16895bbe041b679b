import { useQuery } from "@tanstack/react-query";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { ApprovalCard } from "./ApprovalCard";
import { pendingOfJob } from "./queries";

/** What a job waits for somebody to say yes to. */
export function JobApprovals({ jobId }: { jobId: string }) {
  const { data: found, error, refetch } = useQuery(pendingOfJob(jobId));
  if (error && !found) return <ErrorPanel error={error} retry={() => void refetch()} />;
  return found?.items.map((each, index) => <ApprovalCard key={each.id} approval={each} keys={index === 0} withJob={false} />);
}
