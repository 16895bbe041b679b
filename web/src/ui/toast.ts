import { notifications } from "@mantine/notifications";
import { told } from "@/api/errors";

/** Says that something is done; it goes by itself. */
export function saySaved(message: string): void {
  notifications.show({ message, color: "green", autoClose: 5_000 });
}

/** Says what failed; it stays until it is closed, since it says what to do. */
export function sayFailed(error: unknown): void {
  const { title, detail, id } = told(error);
  const request = id && id !== "about:blank" ? ` (request ${id})` : "";
  notifications.show({ title, message: `${detail}${request}`, color: "red", autoClose: false, role: "alert" });
}
