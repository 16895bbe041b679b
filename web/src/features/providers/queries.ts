import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";

/** What a changed provider renews. */
export const PROVIDERS = [["providers"], ["models"]];

const MOST = 200;

export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: () => data(api.GET("/api/v1/models", { params: { query: { limit: MOST } } })),
  staleTime: 60_000,
});
