import type { components } from "./schema";

export type Problem = components["schemas"]["Problem"];
export type FieldError = NonNullable<Problem["errors"]>[number];

/** An answer that was no success, as problem+json tells it. */
export class ApiError extends Error {
  readonly problem: Problem;
  readonly retryAfterS: number | null;

  constructor(problem: Problem, retryAfterS: number | null = null) {
    super(problem.detail);
    this.name = "ApiError";
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }

  get status(): number {
    return this.problem.status;
  }

  get code(): string {
    return this.problem.code;
  }

  /** What to quote when asking for help. */
  get id(): string {
    return this.problem.instance.replace("urn:shopfloor:request:", "");
  }
}

/** What a page shows of any error: what happened, why and what to do, and the id for whoever reads the logs. */
export interface Told {
  title: string;
  detail: string;
  id: string | null;
  retryable: boolean;
}

export function told(error: unknown): Told {
  if (error instanceof ApiError) {
    const { title, detail, retryable } = error.problem;
    return { title, detail, id: error.id, retryable };
  }
  const detail = error instanceof Error ? error.message : String(error);
  return {
    title: "This page met a defect of its own",
    detail: `${detail}. Reload the page; if it comes back, tell whoever runs this server what you did.`,
    id: null,
    retryable: true,
  };
}

/** The errors of single fields, by the name of the field in the body: for forms. */
export function fieldErrors(error: unknown): Record<string, string> {
  if (!(error instanceof ApiError)) return {};
  const found = error.problem.errors ?? [];
  return Object.fromEntries(found.map((each) => [each.pointer.replace(/^\//, "").replaceAll("/", "."), each.detail]));
}

/** The problem of an answer; one of our own where the answer is no problem+json (a proxy's page, a cut connection). */
export function problemOf(body: unknown, status: number): Problem {
  if (typeof body === "object" && body !== null && "code" in body && "detail" in body) return body as Problem;
  return {
    type: "about:blank",
    title: "The server did not answer as it should",
    status,
    detail: `Something between this page and the server answered with status ${status}. Try again in a moment; if it stays, tell whoever runs this server.`,
    code: "not-our-answer",
    retryable: true,
    instance: "about:blank",
  };
}

export function unreachable(): ApiError {
  return new ApiError({
    type: "about:blank",
    title: "The server can't be reached",
    status: 0,
    detail: "The connection failed before an answer came. Check your network and whether the server runs, then try again.",
    code: "unreachable",
    retryable: true,
    instance: "about:blank",
  });
}
