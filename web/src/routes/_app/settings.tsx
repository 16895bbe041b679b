import { NavLink, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { createFileRoute, Link, Outlet, useLocation } from "@tanstack/react-router";
import { meQuery } from "@/api/session";
import { SECTIONS } from "@/features/settings/sections";
import classes from "@/features/settings/settings.module.css";

export const Route = createFileRoute("/_app/settings")({ component: Settings });

function Settings() {
  const { pathname } = useLocation();
  const me = useQuery({ ...meQuery, enabled: false }).data;
  const sections = SECTIONS.filter((each) => each.permission === null || me?.permissions.has(each.permission));
  return (
    <div className={classes["both"]}>
      <nav aria-label="Settings">
        <Stack gap={0}>
          {sections.map(({ to, name }) => (
            <NavLink key={to} component={Link} to={to} label={name} active={pathname === to} aria-current={pathname === to ? "page" : undefined} />
          ))}
        </Stack>
      </nav>
      <div className={classes["page"]}><Outlet /></div>
    </div>
  );
}
