import { Anchor, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Page } from "./Page";

export function NotFound() {
  return (
    <Page title="There is nothing here">
      <Text>The address is wrong, what it led to is gone, or it is not for you to see.</Text>
      <Anchor component={Link} to="/">Go to the first page</Anchor>
    </Page>
  );
}
