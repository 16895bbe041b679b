import { queryOptions } from "@tanstack/react-query";
import { api, data, tagged } from "@/api/client";
import type { Api } from "@/api/types";

export type Budget = Api["BudgetReply"];

/** What a changed budget renews. */
export const BUDGETS = [["budgets"], ["budget"]];

export const budgetsPage = (cursor: string | undefined) => data(api.GET("/api/v1/budgets", { params: { query: cursor ? { cursor } : {} } }));

export const budgetQuery = (id: string) =>
  queryOptions({
    queryKey: ["budget", id],
    queryFn: () => tagged(api.GET("/api/v1/budgets/{budget_id}", { params: { path: { budget_id: id } } })),
  });
