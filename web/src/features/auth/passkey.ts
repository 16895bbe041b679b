import { api, data } from "@/api/client";

type Json = Record<string, unknown>;

/** Whether this browser can do passkeys here: it takes HTTPS or localhost. */
export const passkeysWork = typeof PublicKeyCredential !== "undefined" && typeof PublicKeyCredential.parseRequestOptionsFromJSON === "function";

/** Asks the browser for a passkey. Null: the person closed its dialog. */
export async function showPasskey(options: Json): Promise<Json | null> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(inner(options) as unknown as PublicKeyCredentialRequestOptionsJSON);
  return orNull(() => navigator.credentials.get({ publicKey }));
}

/** Makes a passkey on this device. Null: the person closed the browser's dialog. */
export async function makePasskey(options: Json): Promise<Json | null> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(inner(options) as unknown as PublicKeyCredentialCreationOptionsJSON);
  return orNull(() => navigator.credentials.create({ publicKey }));
}

export async function passkeyOptions(): Promise<Json> {
  return (await data(api.POST("/api/v1/auth/passkeys/options"))) as Json;
}

function inner(options: Json): Json {
  return (options["publicKey"] ?? options) as Json;
}

async function orNull(ask: () => Promise<Credential | null>): Promise<Json | null> {
  try {
    const found = await ask();
    return found ? ((found as PublicKeyCredential).toJSON() as unknown as Json) : null;
  } catch (error) {
    if (error instanceof DOMException && ["NotAllowedError", "AbortError"].includes(error.name)) return null;
    throw error;
  }
}
