/*
 * The nonce that nginx put into the page.  Styles made at run time carry it:
 * Mantine's and CodeMirror's are told; the scroll lock of modals asks this name.
 */

export const nonce =
  document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";

(globalThis as unknown as { __webpack_nonce__: string }).__webpack_nonce__ = nonce;
