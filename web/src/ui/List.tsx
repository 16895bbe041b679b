import { Button, Center, Skeleton, Stack } from "@mantine/core";
import { useInfiniteQuery, type QueryKey } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorPanel } from "./ErrorPanel";

interface PageOf<T> {
  items: T[];
  next_cursor?: string | null;
}

interface ListProps<T> {
  queryKey: QueryKey;
  page: (cursor: string | undefined) => Promise<PageOf<T>>;
  children: (items: T[]) => ReactNode;
  empty: ReactNode;
}

/** A list by keyset pages: its rows, what stands there when there are none, and a button for the next page. */
export function List<T>({ queryKey, page, children, empty }: ListProps<T>) {
  const found = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam }) => page(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next_cursor ?? undefined,
  });
  if (found.isPending) return <Waiting />;
  if (found.isError && !found.data) return <ErrorPanel error={found.error} retry={() => void found.refetch()} />;
  const items = found.data.pages.flatMap((each) => each.items);
  if (items.length === 0) return <>{empty}</>;
  return (
    <Stack gap="md">
      {found.isError ? <ErrorPanel error={found.error} retry={() => void found.refetch()} /> : null}
      <div className="scroll-x">{children(items)}</div>
      {found.hasNextPage ? (
        <Center>
          <Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
            Show more
          </Button>
        </Center>
      ) : null}
    </Stack>
  );
}

export function Waiting() {
  return (
    <Stack gap="xs" aria-busy="true" aria-label="Loading">
      {[0, 1, 2].map((each) => <Skeleton key={each} height={36} />)}
    </Stack>
  );
}
