import { ago, moment } from "@/lib/format";

/** A moment as `3 minutes ago`; the exact time is its title. */
export function When({ at, never = "never" }: { at: string | null | undefined; never?: string }) {
  return at ? <time dateTime={at} title={moment(at)}>{ago(at)}</time> : <>{never}</>;
}
