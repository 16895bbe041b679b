import { setNonce } from "get-nonce";

/** The nonce of this page: only what carries it may style. Browsers hide it from selectors, not from the property. */
export const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";

setNonce(nonce); // for the parts that insert style sheets by themselves
