import { ActionIcon, Alert, Button, Group, Select, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useCallback, useMemo, useRef, useState } from "react";
import { text as asText, type Step, type Story } from "@/features/timeline/story";
import { argumentOf, endingOf } from "@/features/timeline/words";
import { useShortcut } from "@/lib/shortcuts";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconDown, IconSearch, IconUp } from "@/ui/icons";
import { Waiting } from "@/ui/List";
import { hashOfLines, LogBuffer, linesOfHash } from "./buffer";
import { LogViewer } from "./LogViewer";
import { LogRows, type Section } from "./rows";
import { useWholeOutput } from "./wholeOutput";

interface LogsProps {
  story: Story;
  version: number; // of the story: it changes in place
  running: boolean;
  step: string | undefined; // one step's output; undefined: everybody's
  wrap: boolean;
  hash: string;
  go: (to: { step?: string | undefined; wrap?: boolean; hash?: string }) => void;
}

/** What the job's calls have put out: all of them, or one with its whole output. */
export function LogsTab({ story, version, running, step, wrap, hash, go }: LogsProps) {
  const [follow, setFollow] = useState(running && hash === "");
  const [raw, setRaw] = useState(false);
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const search = useRef<HTMLInputElement>(null);
  const calls = useMemo(() => callsOf(story, version), [story, version]);
  const chosen = step === undefined ? undefined : calls.find((each) => each.key === step);
  const whole = useWholeOutput(chosen?.artifact ?? null);
  const rows = useMemo(() => {
    if (chosen && whole.lines) return new LogRows([{ ...section(story, chosen), title: "", lines: whole.lines, fromEnd: whole.fromEnd }]);
    return new LogRows(chosen ? [{ ...section(story, chosen), title: "" }] : calls.map((each) => section(story, each)));
    // oxlint-disable-next-line react-hooks/exhaustive-deps -- the story changes in place; its version tells
  }, [story, version, calls, chosen, whole.lines, whole.fromEnd]);
  const words = typed.trim().toLowerCase();
  const places = useMemo(() => (words === "" ? [] : rows.search(words)), [rows, words]);
  const found = places.length > 0 ? (places[at % places.length] ?? null) : null;
  const move = (by: number) => {
    setFollow(false);
    setAt((now) => (now + by + places.length) % Math.max(1, places.length));
  };
  useShortcut("f", "Follow the log", useCallback(() => setFollow((now) => !now), []));
  useShortcut("/", "Search in the log", useCallback(() => search.current?.focus(), []));
  const lines = linesOfHash(hash);
  const markedKey = chosen?.key;
  const marked = useMemo(() => (lines && markedKey !== undefined ? { key: markedKey, ...lines } : null), [lines?.from, lines?.to, markedKey]);
  const onMark = (key: string, number: number, upTo: boolean) => {
    setFollow(false);
    go({ step: key, hash: hashOfLines(upTo && marked ? marked.from : number, number) });
  };
  return (
    <Stack gap="xs">
      <Group gap="sm" align="flex-end">
        <Select
          label="Output of" size="xs" searchable w={{ base: "100%", sm: 320 }} value={chosen?.key ?? ""} allowDeselect={false}
          data={[{ value: "", label: `All ${calls.length} calls` }, ...calls.map((each) => ({ value: each.key, label: titleOf(each) }))]}
          onChange={(value) => go({ step: value || undefined, hash: "" })}
        />
        <TextInput
          ref={search} label="Search" size="xs" value={typed} leftSection={<IconSearch size={14} aria-hidden />} w={{ base: "100%", sm: 200 }}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") move(event.shiftKey ? -1 : 1);
            if (event.key === "Escape") event.currentTarget.blur();
          }}
        />
        {words === "" ? null : (
          <Group gap={4}>
            <ActionIcon variant="default" aria-label="The one before" onClick={() => move(-1)} disabled={places.length === 0}><IconUp size={14} aria-hidden /></ActionIcon>
            <ActionIcon variant="default" aria-label="The next one" onClick={() => move(1)} disabled={places.length === 0}><IconDown size={14} aria-hidden /></ActionIcon>
            <Text size="xs" role="status">{places.length === 0 ? "not found" : `${(at % places.length) + 1} of ${places.length}`}</Text>
          </Group>
        )}
        <Switch size="xs" label="Follow" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />
        <Switch size="xs" label="Wrap" checked={wrap} onChange={(event) => go({ wrap: event.currentTarget.checked })} />
        <Switch size="xs" label="Raw" checked={raw} onChange={(event) => setRaw(event.currentTarget.checked)} />
        {chosen?.artifact ? (
          <Button component="a" size="compact-xs" variant="default" href={`/api/v1/artifacts/${chosen.artifact}/content`} download>Download all of it</Button>
        ) : null}
      </Group>
      {step !== undefined && !chosen ? <Alert color="yellow" title="No such call">This job has no call {step} with an output; below is everybody's.</Alert> : null}
      {whole.pages.error ? <ErrorPanel error={whole.pages.error} retry={() => void whole.pages.refetch()} /> : null}
      {whole.fromEnd ? (
        <Group gap="sm">
          <Text size="xs">Its end; {whole.start.toLocaleString("en")} bytes stand before it, so lines are counted from the end.</Text>
          {whole.full ? <Text size="xs">That is all a page shows: download the rest.</Text> : (
            <Button size="compact-xs" variant="default" loading={whole.pages.isFetchingNextPage} onClick={() => void whole.pages.fetchNextPage()}>Earlier lines</Button>
          )}
        </Group>
      ) : null}
      {chosen?.artifact && whole.pages.isPending ? <Waiting /> : rows.count === 0 ? (
        <Text c="dimmed" role="status">{running ? "Nothing was put out yet." : "Its calls put out nothing."}</Text>
      ) : (
        <LogViewer
          rows={rows} follow={follow} onFollow={setFollow} wrap={wrap} raw={raw} words={words} found={found} marked={marked} onMark={onMark}
        />
      )}
    </Stack>
  );
}

function callsOf(story: Story, _version: number): Step[] {
  return [...story.steps.values()]
    .filter((each) => each.kind === "tool" && each.name !== "finish")
    .toSorted((a, b) => (a.startedAt ?? "").localeCompare(b.startedAt ?? ""));
}

const finished = new WeakMap<object, LogBuffer>(); // a result never changes: its lines are split once
const NOTHING = new LogBuffer();

function section(story: Story, step: Step): Section {
  return { key: step.key, title: titleOf(step), ending: endingOf(step), lines: linesOfStep(story, step), fromEnd: false };
}

function linesOfStep(story: Story, step: Step): LogBuffer {
  if (step.result === null) return story.outputs.get(step.key)?.lines ?? NOTHING;
  let lines = finished.get(step.result);
  if (!lines) {
    lines = new LogBuffer();
    lines.append(asText(step.result["text"]));
    finished.set(step.result, lines);
  }
  return lines;
}

function titleOf(step: Step): string {
  return `turn ${step.turn} · ${step.name} ${argumentOf(step)}`.slice(0, 160);
}
