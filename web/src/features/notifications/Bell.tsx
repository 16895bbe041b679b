import { ActionIcon, Indicator, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { useMay } from "@/api/session";
import { IconBell } from "@/ui/icons";

const EVERY_MS = 60_000;
const COUNTED = 10; // more are `9+`: nobody needs the number, and the page has them

/** How much one has not read yet. It looks once a minute, and not while the tab is hidden. */
export function Bell() {
  const may = useMay("notification.read", "anywhere");
  const { data: unread } = useQuery({
    queryKey: ["notifications", "unread"],
    enabled: may,
    refetchInterval: EVERY_MS,
    meta: { quiet: true },
    queryFn: async () => (await data(api.GET("/api/v1/notifications", { params: { query: { unread: true, limit: COUNTED } } }))).items.length,
  });
  if (!may) return null;
  const shown = unread === COUNTED ? `${COUNTED - 1}+` : String(unread ?? 0);
  return (
    <Indicator label={shown} disabled={!unread} color="red.9" size={16}>
      <Tooltip label="Notifications">
        <ActionIcon component={Link} to="/notifications" variant="default" size="lg" aria-label={`Notifications: ${shown} unread`}>
          <IconBell size={18} aria-hidden />
        </ActionIcon>
      </Tooltip>
    </Indicator>
  );
}
