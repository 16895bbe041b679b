import { ActionIcon, AppShell, Burger, Group, Menu, NavLink, Text, Tooltip, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useState } from "react";
import { meQuery } from "@/api/session";
import { SignInAgain } from "@/features/auth/SignInAgain";
import { useSignOut } from "@/features/auth/signOut";
import { Bell } from "@/features/notifications/Bell";
import { listenForShortcuts, useShortcut } from "@/lib/shortcuts";
import { CommandPalette } from "./CommandPalette";
import { Help } from "./Help";
import * as icons from "./icons";
import { placesOf } from "./navigation";

/** What stands around each page: navigation, palette, help, and the sign-in that comes up when the session has ended. */
export function Shell() {
  const [opened, { toggle, close }] = useDisclosure(false);
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const me = useQuery({ ...meQuery, enabled: false }).data;
  const places = placesOf(me);
  useEffect(listenForShortcuts, []);
  useEffect(close, [pathname, close]);
  useShortcut("mod+k", "Find a page or an action", useCallback(() => setPalette(true), []));
  useShortcut("?", "Show the keys", useCallback(() => setHelp(true), []));
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 220, breakpoint: "sm", collapsed: { mobile: !opened } }} padding="md">
      <a className="skip-link" href="#main">Skip to the page</a>
      <AppShell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" aria-expanded={opened} />
            <UnstyledButton component={Link} to="/"><Text fw={700}>Shopfloor</Text></UnstyledButton>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Tooltip label="Find (Ctrl or Cmd + K)">
              <ActionIcon variant="default" size="lg" aria-label="Find a page or an action" onClick={() => setPalette(true)}>
                <icons.IconSearch size={18} aria-hidden />
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Keys (?)">
              <ActionIcon variant="default" size="lg" aria-label="Show the keys" onClick={() => setHelp(true)}>
                <icons.IconHelp size={18} aria-hidden />
              </ActionIcon>
            </Tooltip>
            <Bell />
            <SchemeMenu />
            <AccountMenu name={me?.name ?? ""} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        {places.map(({ to, name, icon: Icon, keys }) => (
          <NavLink
            key={to} component={Link} to={to} label={name} leftSection={<Icon size={18} aria-hidden />}
            active={pathname === to || pathname.startsWith(`${to}/`)} aria-current={pathname.startsWith(to) ? "page" : undefined}
            title={`${name} (${keys})`}
          />
        ))}
        {places.map((place) => <GoTo key={place.keys} {...place} go={(to) => void navigate({ to })} />)}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1}><Outlet /></AppShell.Main>
      <CommandPalette opened={palette} close={() => setPalette(false)} places={places} />
      <Help opened={help} close={() => setHelp(false)} />
      <SignInAgain userId={me?.id} />
    </AppShell>
  );
}

function GoTo({ to, name, keys, go }: { to: string; name: string; keys: string; go: (to: string) => void }) {
  useShortcut(keys, `Go to ${name}`, () => go(to));
  return null;
}

const SCHEMES = [
  { value: "auto", name: "As the system", icon: icons.IconSystem },
  { value: "light", name: "Light", icon: icons.IconSun },
  { value: "dark", name: "Dark", icon: icons.IconMoon },
] as const;

function SchemeMenu() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Icon = SCHEMES.find((each) => each.value === colorScheme)?.icon ?? icons.IconSystem;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label="Light or dark"><Icon size={18} aria-hidden /></ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {SCHEMES.map(({ value, name, icon: Each }) => (
          <Menu.Item
            key={value} leftSection={<Each size={16} aria-hidden />} onClick={() => setColorScheme(value)}
            rightSection={value === colorScheme ? <icons.IconCheck size={14} aria-label="chosen" /> : null}
          >
            {name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function AccountMenu({ name }: { name: string }) {
  const signOut = useSignOut();
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Account of ${name}`}><icons.IconUser size={18} aria-hidden /></ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{name}</Menu.Label>
        <Menu.Item component={Link} to="/settings/profile" leftSection={<icons.IconUser size={16} aria-hidden />}>Profile</Menu.Item>
        <Menu.Item leftSection={<icons.IconSignOut size={16} aria-hidden />} onClick={() => signOut.mutate()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
