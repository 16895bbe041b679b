import { Radio, Stack, Text, TextInput } from "@mantine/core";
import type { Api } from "@/api/types";

/** `url` empty: a workspace with nothing in it. */
export type Repository = Api["RepositoryRef"];

/** Where the work is: a repository by its address, or an empty workspace. */
export function RepositoryForm({ chosen, choose }: { chosen: Repository | null; choose: (repository: Repository | null) => void }) {
  const kind = chosen === null ? "" : chosen.url === "" ? "empty" : "git";
  return (
    <Stack gap="sm">
      <Radio.Group label="Where the work is" value={kind} onChange={(value) => choose({ url: value === "git" ? "https://" : "" })}>
        <Stack gap="xs" mt="xs">
          <Radio value="git" label="A Git repository" />
          <Radio value="empty" label="An empty workspace, to see how it goes" />
        </Stack>
      </Radio.Group>
      {kind === "git" ? (
        <>
          <TextInput label="Address of the repository" type="url" value={chosen?.url ?? ""} onChange={(event) => choose({ ...chosen, url: event.currentTarget.value })} />
          <TextInput label="Branch or commit" description="Empty: its default branch." value={chosen?.ref ?? ""} onChange={(event) => choose({ url: chosen?.url ?? "", ref: event.currentTarget.value || null })} />
          <Text size="sm">A private one needs a secret of the kind git, under Settings.</Text>
        </>
      ) : null}
    </Stack>
  );
}
