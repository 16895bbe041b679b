import { Button, Center, SegmentedControl, Stack } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { Empty } from "@/ui/Empty";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { Waiting } from "@/ui/List";
import { Page } from "@/ui/Page";
import { ApprovalCard } from "./ApprovalCard";

const RENEWED_EVERY_MS = 5_000;
const SHOWN = ["pending", "approved", "rejected", "all"] as const;
export type Shown = (typeof SHOWN)[number];

export function shownOf(value: unknown): Shown {
  return SHOWN.find((each) => each === value) ?? "pending";
}

/** What waits for a person, in every project one sees; and what was answered. */
export function ApprovalsPage({ shown, setShown }: { shown: Shown; setShown: (shown: Shown) => void }) {
  const found = useInfiniteQuery({
    queryKey: ["approvals", "list", shown],
    queryFn: ({ pageParam }) =>
      data(api.GET("/api/v1/approvals", { params: { query: { ...(shown === "all" ? {} : { state: shown }), limit: 20, ...(pageParam ? { cursor: pageParam } : {}) } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    refetchInterval: RENEWED_EVERY_MS,
  });
  const items = found.data?.pages.flatMap((each) => each.items) ?? [];
  return (
    <Page title="Approvals" about="What agents may only do once somebody has said yes.">
      <SegmentedControl
        aria-label="Which" value={shown} onChange={(value) => setShown(shownOf(value))} style={{ alignSelf: "flex-start", maxWidth: "100%" }}
        data={[{ value: "pending", label: "Waiting" }, { value: "approved", label: "Approved" }, { value: "rejected", label: "Rejected" }, { value: "all", label: "All" }]}
      />
      {found.error ? <ErrorPanel error={found.error} retry={() => void found.refetch()} /> : null}
      {found.isPending ? <Waiting /> : items.length === 0 ? (
        <Empty says={shown === "pending" ? "Nothing waits for an answer." : "There is none."} cli="shopfloor approval list" />
      ) : (
        <Stack gap="md">
          {items.map((each, index) => <ApprovalCard key={each.id} approval={each} keys={index === 0} withJob />)}
          {found.hasNextPage ? <Center><Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Show more</Button></Center> : null}
        </Stack>
      )}
    </Page>
  );
}
