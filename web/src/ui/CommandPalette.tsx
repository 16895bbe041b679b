import { Modal, NavLink, Stack, Text, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type KeyboardEvent, useState } from "react";
import { useShortcuts } from "@/lib/shortcuts";
import { IconSearch } from "./icons";
import type { Place } from "./navigation";

interface Entry {
  name: string;
  hint: string;
  run: () => void;
}

/** Every page and every action of this page, by a few letters of its name. */
export function CommandPalette({ opened, close, places }: { opened: boolean; close: () => void; places: Place[] }) {
  return (
    <Modal opened={opened} onClose={close} withCloseButton={false} padding="xs" attributes={{ content: { "aria-label": "Find a page or an action" } }}>
      {opened ? <Choices close={close} places={places} /> : null}
    </Modal>
  );
}

function Choices({ close, places }: { close: () => void; places: Place[] }) {
  const navigate = useNavigate();
  const shortcuts = useShortcuts();
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const pages = places.map(({ to, name, keys }): Entry => ({ name, hint: keys, run: () => void navigate({ to }) }));
  const actions = shortcuts
    .filter((each) => !each.keys.startsWith("g ") && each.keys !== "mod+k")
    .map((each): Entry => ({ name: each.does, hint: each.keys, run: each.run }));
  const found = [...pages, ...actions].filter((each) => matches(each.name, words));
  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    close();
    setTimeout(entry.run); // after the dialog has given the focus back
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      setAt((now) => (now + step + found.length) % Math.max(1, found.length));
    }
    if (event.key === "Enter") choose(found[at]);
  };
  return (
    <Stack gap="xs">
      <TextInput
        data-autofocus value={words} placeholder="Where to, or what to do" aria-label="Where to, or what to do" role="combobox"
        aria-expanded aria-controls="palette" aria-activedescendant={found[at] ? `palette-${at}` : undefined}
        leftSection={<IconSearch size={16} aria-hidden />} onKeyDown={onKeyDown}
        onChange={(event) => {
          setWords(event.currentTarget.value);
          setAt(0);
        }}
      />
      <div id="palette" role="listbox" aria-label="Found">
        {found.map((each, index) => (
          <NavLink
            key={`${each.name} ${each.hint}`} id={`palette-${index}`} role="option" aria-selected={index === at} active={index === at} tabIndex={-1}
            component="button" label={each.name} rightSection={<Text size="xs">{each.hint}</Text>} onClick={() => choose(each)}
          />
        ))}
      </div>
      {found.length === 0 ? <Text size="sm" role="status">Nothing is called that.</Text> : null}
    </Stack>
  );
}

/** Whether the letters stand in the name in this order. */
export function matches(name: string, letters: string): boolean {
  let from = 0;
  const lower = name.toLowerCase();
  for (const letter of letters.toLowerCase().replaceAll(" ", "")) {
    const found = lower.indexOf(letter, from);
    if (found < 0) return false;
    from = found + 1;
  }
  return true;
}
