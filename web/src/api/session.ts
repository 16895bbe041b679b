import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, data } from "./client";
import type { components } from "./schema";

export type Me = components["schemas"]["Me"] & { permissions: ReadonlySet<string>; anywhere: ReadonlySet<string> };

/** Who is signed in, and what they may. Fails with 401 when nobody is. */
export const meQuery = queryOptions({
  queryKey: ["me"],
  staleTime: 60_000,
  retry: false,
  queryFn: async (): Promise<Me> => {
    const [me, rights] = await Promise.all([data(api.GET("/api/v1/me")), data(api.GET("/api/v1/me/permissions"))]);
    const everywhere = new Set(rights.permissions);
    const anywhere = new Set([...everywhere, ...rights.projects.flatMap((each) => each.permissions)]);
    return { ...me, permissions: everywhere, anywhere };
  },
});

/** Whether who is signed in may do this in the whole organization; `anywhere`: in some project at least. */
export function useMay(permission: string, where: "organization" | "anywhere" = "organization"): boolean {
  const me = useQuery({ ...meQuery, enabled: false }).data;
  return (where === "anywhere" ? me?.anywhere : me?.permissions)?.has(permission) ?? false;
}
