import { Button, Code, Group, Stack, Text, Title } from "@mantine/core";
import { useMemo, useState } from "react";
import type { Job } from "@/features/jobs/queries";
import type { Earlier } from "@/features/jobs/useStory";
import { argumentOf, endingOf } from "./words";
import { count, duration, moment, usd } from "@/lib/format";
import { IconAlert, IconCheck, IconModel, IconNote, IconRunning, IconTool, IconX } from "@/ui/icons";
import { Checks } from "./Checks";
import { text as asText, type Note, type Step, type Story } from "./story";
import classes from "./timeline.module.css";
import { type Row, rowsOf, span } from "./tree";

const SHOWN_AT_FIRST = 200;

interface ActivityProps {
  job: Job;
  story: Story;
  version: number; // of the story: it changes in place
  earlier: Earlier;
  runId: string | null;
  chosen: string | undefined;
  choose: (step: string | undefined) => void;
  toLog: (step: string) => void;
}

/** What the job did, turn by turn, on a time line; the chosen step beside it. */
export function ActivityTab({ job, story, version, earlier, runId, chosen, choose, toLog }: ActivityProps) {
  const [shown, setShown] = useState(SHOWN_AT_FIRST);
  // oxlint-disable-next-line react-hooks/exhaustive-deps -- the story changes in place; its version tells
  const rows = useMemo(() => rowsOf(story, runId), [story, version, runId]);
  const step = chosen === undefined ? undefined : story.steps.get(chosen);
  const from = Date.parse(job.started_at ?? job.created_at);
  const to = job.finished_at ? Date.parse(job.finished_at) : Date.now();
  const hidden = Math.max(0, rows.length - shown);
  return (
    <Stack gap="md">
      <Checks job={job} />
      <div className={classes["both"]}>
        <div>
          {hidden > 0 ? <Button size="compact-sm" variant="default" mb="xs" onClick={() => setShown((now) => now + SHOWN_AT_FIRST)}>{hidden} earlier</Button> : null}
          {hidden === 0 && earlier.events > 0 ? (
            <Button size="compact-sm" variant="default" mb="xs" loading={earlier.loading} onClick={earlier.load}>
              Notes of the first {earlier.events.toLocaleString("en")} events
            </Button>
          ) : null}
          {rows.length === 0 ? <Text c="dimmed" role="status">Nothing has happened yet.</Text> : (
            <ol className={classes["rows"]} aria-label="Timeline">
              {rows.slice(hidden).map((row) => (
                <li key={row.is === "step" ? row.step.key : `note ${row.note.seq}`}>
                  {row.is === "step" ? (
                    <StepRow row={row} step={row.step} chosen={row.step.key === chosen} choose={choose} place={span(row.step, from, to)} />
                  ) : <NoteRow note={row.note} />}
                </li>
              ))}
            </ol>
          )}
        </div>
        {step ? <StepDetail step={step} live={story.outputs.get(step.key)?.lines.text() ?? ""} toLog={toLog} /> : (
          <Text c="dimmed" size="sm" className={classes["detail"]}>Choose a step to see what was asked, what came of it, and what it cost.</Text>
        )}
      </div>
    </Stack>
  );
}

interface StepRowProps {
  row: Row;
  step: Step;
  chosen: boolean;
  choose: (step: string | undefined) => void;
  place: { left: number; width: number };
}

function StepRow({ row, step, chosen, choose, place }: StepRowProps) {
  const failed = step.result?.["ok"] === false;
  const Icon = step.state === "running" ? IconRunning : failed ? IconX : step.kind === "model" ? IconModel : IconTool;
  const says = step.kind === "model" ? step.text.split("\n")[0] || "calls tools" : argumentOf(step);
  return (
    <button
      type="button" className={classes["row"]} data-step={step.key} data-kind={step.kind} data-failed={failed || undefined} aria-current={chosen ? "true" : undefined}
      style={{ paddingLeft: `${0.5 + row.depth * 1.1}rem` }} onClick={() => choose(chosen ? undefined : step.key)}
    >
      <Icon size={14} aria-hidden />
      <span className={classes["name"]}>{step.kind === "model" ? `Turn ${step.turn}` : step.name}</span>
      <span className={classes["says"]}>{says}</span>
      <span className={classes["facts"]}>{factsOf(step)}</span>
      <span className={classes["track"]} aria-hidden><span style={{ left: `${place.left}%`, width: `${place.width}%` }} /></span>
    </button>
  );
}

function factsOf(step: Step): string {
  const took = step.startedAt && step.endedAt ? duration((Date.parse(step.endedAt) - Date.parse(step.startedAt)) / 1000) : step.state;
  const parts = step.kind === "model" ? [step.tokens > 0 ? `${count(step.tokens)} tok` : "", step.costNanos > 0 ? usd(step.costNanos) : ""] : [endingOf(step).replace("· ", "")];
  return [...parts, took].filter(Boolean).join(" · ");
}

function NoteRow({ note }: { note: Note }) {
  const Icon = note.tone === "plain" ? (note.kind.startsWith("checks.after") ? IconCheck : IconNote) : IconAlert;
  return (
    <div className={classes["note"]} data-seq={note.seq} data-tone={note.tone} title={moment(note.at)}>
      <Icon size={14} aria-hidden /><span className="wrap-anywhere">{note.says}</span>
    </div>
  );
}

function StepDetail({ step, live, toLog }: { step: Step; live: string; toLog: (step: string) => void }) {
  const output = step.result === null ? live : asText(step.result["text"]);
  const asked = JSON.stringify(step.arguments, null, 2);
  return (
    <section className={classes["detail"]} aria-label="The chosen step">
      <Title order={2} className="wrap-anywhere">{step.kind === "model" ? `Turn ${step.turn}` : step.name}</Title>
      <Text size="sm" c="dimmed" className="wrap-anywhere">
        {step.kind === "model" ? `${step.name} · ` : `turn ${step.turn} ${endingOf(step)} · `}{factsOf(step)}{step.startedAt ? ` · ${moment(step.startedAt)}` : ""}
      </Text>
      {step.kind === "model" ? (
        <Text className={classes["said"]}>{step.text || "It said nothing, and called tools."}</Text>
      ) : (
        <>
          <Title order={3}>Asked</Title>
          <Code block tabIndex={0} className={classes["code"]}>{typeof step.arguments["command"] === "string" ? step.arguments["command"] : asked}</Code>
          <Title order={3}>Came of it</Title>
          <Code block tabIndex={0} className={classes["code"]}>{output.length > SHORT ? `${output.slice(0, SHORT)}\n[... more in the log ...]` : output || "nothing yet"}</Code>
          <Group><Button size="compact-sm" variant="default" onClick={() => toLog(step.key)}>Open in the log</Button></Group>
        </>
      )}
    </section>
  );
}

const SHORT = 6_000;
