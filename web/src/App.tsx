import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { MutationCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRouter, RouterProvider } from "@tanstack/react-router";
import { ApiError } from "./api/errors";
import { nonce } from "./lib/nonce";
import { routeTree } from "./routeTree.gen";
import { contrast, theme } from "./theme";
import { ErrorPanel } from "./ui/ErrorPanel";
import { Waiting } from "./ui/List";
import { NotFound } from "./ui/NotFound";
import { sayFailed } from "./ui/toast";

const MOST_TRIES = 2;

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (failures, error) => failures < MOST_TRIES && error instanceof ApiError && error.problem.retryable,
    },
  },
  // What a form doesn't show at its fields is said at the edge of the page; `meta: { quiet: true }` shows it itself.
  mutationCache: new MutationCache({
    onError: (error, _variables, _context, mutation) => {
      if (mutation.meta?.["quiet"] !== true) sayFailed(error);
    },
  }),
});

const router = createRouter({
  routeTree,
  context: { queries },
  defaultPreload: "intent",
  defaultPreloadStaleTime: 0,
  scrollRestoration: true,
  defaultErrorComponent: ({ error, reset }) => <ErrorPanel error={error} retry={reset} />,
  defaultNotFoundComponent: NotFound,
  defaultPendingComponent: Waiting,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

export function App() {
  return (
    <MantineProvider theme={theme} cssVariablesResolver={contrast} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <QueryClientProvider client={queries}>
        <Notifications position="bottom-right" />
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  );
}
