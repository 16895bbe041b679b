import { Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, data, keepCsrfToken } from "@/api/client";
import type { Api } from "@/api/types";
import { DataTable } from "@/ui/DataTable";
import { Dialog } from "@/ui/Dialog";
import { List } from "@/ui/List";
import { Page } from "@/ui/Page";
import { Status } from "@/ui/Status";
import { When } from "@/ui/When";

/** Where you are signed in. */
export function SessionsPage() {
  const navigate = useNavigate();
  const queries = useQueryClient();
  const everywhere = (
    <Dialog
      button="Sign out everywhere" title="Sign out everywhere?" send="Sign out everywhere" danger renews={[]}
      submit={async () => {
        await api.POST("/api/v1/auth/sign-out-everywhere");
        keepCsrfToken(null);
        await navigate({ to: "/sign-in" });
        queries.clear();
      }}
    >
      {() => <Text size="sm">Every session of yours ends, this one included. Your API keys go on.</Text>}
    </Dialog>
  );
  return (
    <Page title="Sessions" actions={everywhere}>
      <List queryKey={["sessions"]} page={(cursor) => data(api.GET("/api/v1/me/sessions", { params: { query: cursor ? { cursor } : {} } }))} empty={<Text>No session: this page was opened with a key.</Text>}>
        {(items: Api["SessionReply"][]) => (
          <DataTable
            label="Sessions" rows={items} id={(each) => each.id}
            columns={[
              { name: "From", cell: (each) => <Text size="sm" className="wrap-anywhere">{each.address} {each.agent}</Text> },
              { name: "How", cell: (each) => each.methods.join(", ") },
              { name: "Signed in", cell: (each) => <When at={each.signed_in_at} /> },
              { name: "Last seen", cell: (each) => <When at={each.last_seen_at} /> },
              {
                name: "Actions",
                cell: (each) =>
                  each.current ? <Status is="good">this one</Status> : (
                    <Dialog small button="End" about={`${each.address} ${each.agent}`} title="End this session?" send="End it" danger renews={[["sessions"]]} says="The session is over." submit={() => api.DELETE("/api/v1/me/sessions/{session_id}", { params: { path: { session_id: each.id } } })}>
                      {() => <Text size="sm">Whoever uses it has to sign in again.</Text>}
                    </Dialog>
                  ),
              },
            ]}
          />
        )}
      </List>
    </Page>
  );
}
