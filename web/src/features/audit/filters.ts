/** What the audit log can be asked for; each is a part of the page's address. */
export const FILTERS = ["actor", "action", "target", "project", "since", "until", "request_id", "result"] as const;

export type AuditFilters = Partial<Record<(typeof FILTERS)[number], string>>;
