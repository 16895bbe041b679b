import type { components } from "./schema";

/** The shapes of the API, by name: `Api["JobReply"]`. */
export type Api = components["schemas"];
