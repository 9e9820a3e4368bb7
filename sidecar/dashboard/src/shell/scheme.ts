/* Mantine's view of the colour scheme; the value itself lives in prefs. */

import type { MantineColorSchemeManager } from "@mantine/core";
import { getPrefs, setPrefs, watchPrefs } from "../prefs";

let stop: () => void = () => undefined;

export const schemeManager: MantineColorSchemeManager = {
  get: () => getPrefs().scheme,
  set: (scheme) => {
    if (scheme !== getPrefs().scheme) {
      setPrefs({ scheme });
    }
  },
  subscribe: (update) => {
    stop = watchPrefs(() => update(getPrefs().scheme));
  },
  unsubscribe: () => stop(),
  clear: () => setPrefs({ scheme: "auto" }),
};
