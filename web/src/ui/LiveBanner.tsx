import { Badge } from "@mantine/core";
import type { LiveState } from "@/api/live";
import { IconAlert, IconCheck, IconLive, IconOffline } from "./icons";

/** How fresh the page is, by icon and word. */
export function LiveBanner({ state, asOf }: { state: LiveState; asOf?: Date }) {
  const since = asOf?.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  const [Icon, says, color] = (() => {
    switch (state.is) {
      case "connecting":
        return [IconLive, "connecting", "gray"] as const;
      case "live":
        return [IconLive, state.by === "polling" ? "live, every 2 s" : "live", "green"] as const;
      case "reconnecting":
        return [IconOffline, `reconnecting (${state.inS} s)`, "yellow"] as const;
      case "offline":
        return [IconOffline, `offline, data as of ${since ?? state.since.toLocaleTimeString()}`, "red"] as const;
      case "ended":
        return [IconCheck, "ended", "gray"] as const;
      case "refused":
        return [IconAlert, `stopped: ${state.why}`, "red"] as const;
    }
  })();
  return (
    <Badge role="status" variant="outline" color={color} c="var(--mantine-color-text)" tt="none" leftSection={<Icon size={12} aria-hidden />}>
      {says}
    </Badge>
  );
}
