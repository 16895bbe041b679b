import createClient, { type Middleware } from "openapi-fetch";
import { ApiError, problemOf, unreachable } from "./errors";
import type { paths } from "./schema";

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);
const CSRF_URL = "/api/v1/auth/csrf";

let csrfToken: string | null = null;
let whenSignedOut: (() => Promise<boolean>) | null = null;
let signingIn: Promise<boolean> | null = null;

/** Sign-in's answer has the token; else it is fetched before the first change. */
export function keepCsrfToken(token: string | null): void {
  csrfToken = token;
}

/**
 * What to do when the session has ended in the middle of the work: ask for a sign-in where one is, and say whether it
 * came to be. The request that found out is sent again then, so that no form is lost.
 */
export function onSignedOut(ask: (() => Promise<boolean>) | null): void {
  whenSignedOut = ask;
}

/** Requests of pages that are open to everybody: a 401 is their answer, not the end of a session. */
const OPEN = /^\/api\/v1\/auth\/(sign-in|second-factor|setup|password\/(forgot|reset)|invitations|email\/verify|passkeys|oidc)/;

async function send(request: Request): Promise<Response> {
  const again = request.clone();
  const path = new URL(request.url).pathname;
  let response = await once(request, path);
  if (response.status === 401 && whenSignedOut && !OPEN.test(path) && path !== CSRF_URL) {
    signingIn ??= whenSignedOut().finally(() => {
      signingIn = null;
    });
    if (await signingIn) response = await once(again, path);
  }
  return response;
}

async function once(request: Request, path: string): Promise<Response> {
  if (SAFE.has(request.method) || OPEN.test(path)) return reach(request);
  const again = request.clone();
  request.headers.set("X-CSRF-Token", await csrf());
  const response = await reach(request);
  if (response.status !== 403 || (await codeOf(response)) !== "request-forged") return response;
  csrfToken = null; // another tab has signed in anew: this session has another token
  again.headers.set("X-CSRF-Token", await csrf());
  return reach(again);
}

async function csrf(): Promise<string> {
  if (csrfToken !== null) return csrfToken;
  const response = await reach(new Request(new URL(CSRF_URL, location.origin)));
  if (!response.ok) return "";
  csrfToken = ((await response.json()) as { csrf_token: string }).csrf_token;
  return csrfToken;
}

async function reach(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
}

async function codeOf(response: Response): Promise<string> {
  try {
    return String(((await response.clone().json()) as { code?: string }).code);
  } catch {
    return "";
  }
}

const throwing: Middleware = {
  async onResponse({ response }) {
    if (response.ok || response.status === 304) return undefined;
    const body: unknown = await response.json().catch(() => null);
    const after = Number(response.headers.get("Retry-After"));
    throw new ApiError(problemOf(body, response.status), Number.isFinite(after) && after > 0 ? after : null);
  },
};

/** The API, typed by its own document. Every call either has `data`, or throws an ApiError. */
export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });
api.use(throwing);

/** The data of an answer that has some. */
export async function data<T>(answer: Promise<{ data?: T; response: Response }>): Promise<NonNullable<T>> {
  return (await answer).data as NonNullable<T>;
}

/** The data and the ETag of an answer: what `ifMatch` takes when it is changed. */
export async function tagged<T>(answer: Promise<{ data?: T; response: Response }>): Promise<{ data: NonNullable<T>; etag: string }> {
  const { data: found, response } = await answer;
  return { data: found as NonNullable<T>, etag: response.headers.get("ETag") ?? "" };
}

/** For a change of what one has read: refused with 412 if somebody else was faster. */
export function ifMatch(etag: string): { "If-Match": string } {
  return { "If-Match": etag };
}

/** For what must not happen twice, however often it is sent. Make one for each thing that a person means to do. */
export function idempotencyKey(): { "Idempotency-Key": string } {
  return { "Idempotency-Key": crypto.randomUUID() };
}

/** The same where the answer holds its `version`, as the rows of a list do. */
export function ifVersion(version: number): { "If-Match": string } {
  return ifMatch(`"${version}"`);
}
