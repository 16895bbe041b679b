import { Anchor, Badge, Button, Checkbox, Group, Paper, SegmentedControl, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Diff, Hunk, parseDiff } from "react-diff-view";
import "react-diff-view/style/index.css";
import { api } from "@/api/client";
import { isOver, type Job } from "@/features/jobs/queries";
import { Checks } from "@/features/timeline/Checks";
import { Empty } from "@/ui/Empty";
import { ErrorPanel } from "@/ui/ErrorPanel";
import { IconDownload } from "@/ui/icons";
import { Waiting } from "@/ui/List";
import classes from "./diff.module.css";
import { type ChangedFile, filesOf, FOLDED_FROM_LINES, MOST_BYTES } from "./files";

/** What the job changed, file by file, with the platform's checks beside it. */
export function ChangesTab({ job, split, setSplit }: { job: Job; split: boolean; setSplit: (split: boolean) => void }) {
  const over = isOver(job);
  const { data: patch, error, refetch, isPending } = useQuery({
    queryKey: ["jobs", "diff", job.id, job.result_commit],
    queryFn: async () => (await api.GET("/api/v1/jobs/{job_id}/diff", { params: { path: { job_id: job.id } }, parseAs: "text" })).data as unknown as string,
    staleTime: 60_000,
  });
  const files = useMemo(() => (patch !== undefined && patch.length <= MOST_BYTES ? filesOf(parseDiff(patch)) : []), [patch]);
  if (error) return <ErrorPanel error={error} retry={() => void refetch()} />;
  if (isPending) return <Waiting />;
  if (patch === "" || patch === undefined) {
    return <Empty says={over ? "It changed no file." : "There is a diff once the job has ended."} cli={`shopfloor job diff ${job.id}`} />;
  }
  return (
    <Stack gap="md">
      <Checks job={job} />
      <Group gap="sm">
        <SegmentedControl
          size="xs" aria-label="How to lay it out" value={split ? "split" : "unified"} onChange={(value) => setSplit(value === "split")}
          data={[{ value: "unified", label: "Unified" }, { value: "split", label: "Side by side" }]}
        />
        <Button
          component="a" size="compact-sm" variant="default" href={`/api/v1/jobs/${job.id}/diff`} download={`${job.id}.patch`}
          leftSection={<IconDownload size={14} aria-hidden />}
        >
          Download the patch
        </Button>
      </Group>
      {patch.length > MOST_BYTES ? <Text>This diff is too long for a page: download it.</Text> : (
        <div className={classes["both"]}>
          <FileList files={files} />
          <Stack gap="md" className={classes["files"]}>{files.map((file) => <OneFile key={file.path} file={file} split={split} />)}</Stack>
        </div>
      )}
    </Stack>
  );
}

function FileList({ files }: { files: ChangedFile[] }) {
  return (
    <nav aria-label="Changed files" className={classes["tree"]}>
      <Text size="sm" fw={600}>{files.length} {files.length === 1 ? "file" : "files"}</Text>
      <ul>
        {files.map((file) => (
          <li key={file.path} style={{ paddingLeft: `${Math.min(6, file.depth) * 0.6}rem` }}>
            <Anchor
              size="sm" component="button" type="button" className="wrap-anywhere" title={file.path}
              onClick={() => document.getElementById(file.id)?.scrollIntoView({ block: "start" })}
            >
              {file.name}
            </Anchor>
            <Text span size="xs" c="dimmed"> +{file.added} -{file.deleted}</Text>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function OneFile({ file, split }: { file: ChangedFile; split: boolean }) {
  const [viewed, setViewed] = useState(false);
  const [opened, setOpened] = useState(file.added + file.deleted < FOLDED_FROM_LINES);
  return (
    <Paper withBorder id={file.id} component="section" aria-label={file.path} className={classes["file"]}>
      <Group justify="space-between" p="xs" wrap="nowrap" className={classes["head"]}>
        <Group gap="xs">
          <Text size="sm" ff="monospace" className="wrap-anywhere">{file.renamedFrom ? `${file.renamedFrom} → ${file.path}` : file.path}</Text>
          <Badge size="xs" variant="default" tt="none">{file.what}</Badge>
          <Text size="xs" c="dimmed">+{file.added} -{file.deleted}</Text>
        </Group>
        <Checkbox size="xs" label="Viewed" checked={viewed} onChange={(event) => setViewed(event.currentTarget.checked)} />
      </Group>
      {viewed ? null : file.parsed.isBinary || file.parsed.hunks.length === 0 ? (
        <Text size="sm" p="xs" c="dimmed">{file.parsed.isBinary ? "A binary file." : "No line differs: its name or mode does."}</Text>
      ) : opened ? (
        <div className="scroll-x" tabIndex={0} role="region" aria-label={`Lines of ${file.path}`}>
          <Diff viewType={split ? "split" : "unified"} diffType="modify" hunks={file.parsed.hunks} className={classes["diff"] ?? ""}>
            {(hunks) => hunks.map((hunk) => <Hunk key={hunk.content} hunk={hunk} />)}
          </Diff>
        </div>
      ) : (
        <Button m="xs" size="compact-sm" variant="default" onClick={() => setOpened(true)}>Show {file.added + file.deleted} changed lines</Button>
      )}
    </Paper>
  );
}
