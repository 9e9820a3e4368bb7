/* Mantine's view of the colour scheme; the value itself lives in prefs. */

import type { MantineColorSchemeManager } from "@mantine/core";
import { getPrefs, setPrefs } from "../prefs";

export const SchemeSync: MantineColorSchemeManager = {
  get: () => getPrefs().scheme,
  set: (scheme) => setPrefs({ scheme }),
  subscribe: () => undefined,
  unsubscribe: () => undefined,
  clear: () => setPrefs({ scheme: "auto" }),
};
